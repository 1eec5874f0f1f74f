"""A bundle's card, written from its ``model.toml``: ``python -m gnetseg_zoo.model_card BUNDLE...``.

Writes ``docs/models/NAME.md`` for every bundle, and the list of all shipped ones; nothing in
them is typed by hand. ``--speed`` first measures how long a frame takes here and keeps that
in ``model.toml``; ``--data index.csv`` first draws the best and the worst photos
(``contact_sheet.py``), of persons and only of sources that may be passed on. Needs what the
daemon needs; for ``--data`` also Pillow.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

from gnetseg_zoo.chip import check
from gnetseg_zoo.config import ConfigError
from gnetseg_zoo.describe import named
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.files import write_whole
from gnetseg_zoo.networks import NetworkError
from gnetseg_zoo.scoring.bundle_scores import write_speed
from gnetsegd.errors import ModelError
from gnetsegd.model import SHIPPED, load_bundle

CARDS = Path("docs/models")
PICTURES = Path("docs/img/models")
HEAD = "<!-- Written by python -m gnetseg_zoo.model_card from model.toml: change that, not this. -->"
PERSON_SCORES = (
    "Centre square of the photo, area-resized. mIoU is the mean of the person's and the background's "
    "intersection over union, each summed over all pixels of the slice; boundary F tells how much of the "
    "outline is met within 0.75 % of the diagonal; false person is the mean share of person pixels where "
    "nobody is."
)
JUDGED_SCORES = (
    "Photos that their licences keep out of training; of full bodies, which all have a clean licence, photos "
    "that only chose. Centre square, area-resized. mIoU is the mean of the person's and the background's "
    "intersection over union, each summed over all pixels of the domain; persons that the mask does not know "
    "of are left out. The headline is the mean of the domains' mIoU. False person is the mean share of the "
    "picture that is called a person where nobody is; flicker the share of still pixels that change label."
)
JUDGED_VAL_SCORES = JUDGED_SCORES.replace(
    "Photos that their licences keep out of training; of full bodies, which all have a clean licence, photos "
    "that only chose.",
    "Photos of every licence that nothing was learnt from; rooms and mixed have very few.",
)
SCENE_SCORES = (
    "The whole photo stretched to the network's square. IoU is summed over all labelled pixels of the split; "
    "mIoU is its mean over the classes that occur. Unlabelled pixels are left out."
)

WORDS = {
    "miou": "mIoU",
    "iou": "IoU",
    "person_iou": "person IoU",
    "background_iou": "background IoU",
    "boundary_f": "boundary F",
}


SHOWN_ELSEWHERE = (
    *("architecture", "mmacs", "parameters", "curve"),
    *("begin_from", "begin_from_sha256", "teacher", "distillation"),
)
"""Keys of ``[training]`` that have a place of their own on the card."""


def card(table: dict[str, Any], *, size_bytes: int, picture: bool) -> str:
    """The card of a bundle whose ``model.toml`` reads as ``table``.

    ``size_bytes``: of the network's file; ``picture``: whether ``docs/img/models`` has one.
    """
    name, entry, mask = table["id"], table["input"], table["mask"]
    training, data = table.get("training", {}), table.get("data", {})
    lines = [HEAD, "", f"# {name}", "", f"{table.get('title', '')}.", ""]
    lines += ["| | |", "|---|---|"]
    lines += [f"| input | {entry['format']}, {entry['width']}x{entry['height']}, one byte a value |"]
    lines += [f"| mask | {mask['width']}x{mask['height']}, one byte a pixel: {_labels(mask['classes'])} |"]
    for key, words in (("architecture", "layers"), ("mmacs", "MMAC a frame"), ("parameters", "weights")):
        if key in training:
            lines.append(f"| {words} | {_number(training[key])} |")
    lines += [f"| file | {size_bytes:,} bytes |", f"| licence of the weights | {table.get('licence', '')} |"]
    lines += [*_speed(table.get("speed")), ""]
    lines += _scores(table.get("scores", {}))
    if picture:
        words = f"best and worst photos of {name}"
        lines += [f"![{words}](../img/models/{name}.jpg)", ""]
        lines += ["Only photos whose licence lets them be passed on are shown.", ""]
    if data:
        lines += ["## Trained with", "", "| source | photos | terms |", "|---|---|---|"]
        for s in data.get("sources", []):
            through = f" (through {s['through']})" if "through" in s else ""
            lines.append(f"| {s['name']}{through} | {s['photos']:,} | {s['licence']} |")
        lines += ["", data.get("note", ""), ""]
    if training:
        lines += ["## How it was trained", "", "| | |", "|---|---|"]
        for key in (k for k in training if k not in SHOWN_ELSEWHERE):
            value = str(training[key]) if key == "seed" else _number(training[key])
            lines.append(f"| {key.replace('_', ' ')} | {value} |")
        lines += _origin(training)
        lines += ["", *_curve(training.get("curve", []))]
    lines += _chip(training.get("config", ""))
    return "\n".join(lines).rstrip() + "\n"


def _origin(training: dict[str, Any]) -> list[str]:
    """The bundle begun from and the teacher, a line each where there is one."""
    lines = []
    if "begin_from" in training:
        digest = training.get("begin_from_sha256")
        lines.append(f"| begun from | {training['begin_from']}{f', sha256 {digest}' if digest else ''} |")
    if "teacher" in training:
        share = f"; its share of the target: {d}" if (d := training.get("distillation")) else ""
        lines.append(f"| teacher | {training['teacher']}{share} |")
    return lines


def _labels(classes: list[str]) -> str:
    return ", ".join(f"{n} {name}" for n, name in enumerate(classes))


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _speed(speed: dict[str, Any] | None) -> list[str]:
    if not speed:
        return ["| a frame takes | not measured |"]
    words = f"{speed['ms']} ms of one core ({speed['runtime']}), measured on {speed['machine']}"
    return [f"| a frame takes | {words} |"]


def _scores(scores: dict[str, Any]) -> list[str]:
    slices = {name: numbers for name, numbers in scores.items() if isinstance(numbers, dict)}
    if not slices:
        return ["Not scored yet.", ""]
    heads = list(dict.fromkeys(key for numbers in slices.values() for key in numbers))
    lines = [f"## Scores, split {scores.get('split', 'unknown')}", ""]
    titles = [WORDS.get(head, head.replace("_", " ")) for head in heads]
    lines += ["| | " + " | ".join(titles) + " |", "|---" * (len(heads) + 1) + "|"]
    for name, numbers in slices.items():
        lines.append(f"| {name} | " + " | ".join(_number(numbers.get(head, "")) for head in heads) + " |")
    judged = JUDGED_VAL_SCORES if scores.get("split") == "val" else JUDGED_SCORES
    words = PERSON_SCORES if "persons" in slices else SCENE_SCORES
    if "headline" in slices.get("persons", {}):
        words = judged
    return [*lines, "", words, ""]


def _curve(rows: list[dict[str, Any]]) -> list[str]:
    """How the averaged weights, as floats, scored on the validation split while they were trained."""
    if not rows:
        return []
    heads = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["The averaged weights, as floats, on the validation split meanwhile:", ""]
    lines += ["| " + " | ".join(head.replace("_", " ") for head in heads) + " |", "|---" * len(heads) + "|"]
    lines += ["| " + " | ".join(_number(row.get(head, "")) for head in heads) + " |" for row in rows]
    return [*lines, ""]


def index(tables: list[dict[str, Any]]) -> str:
    """The page that lists the bundles whose ``model.toml`` read as ``tables``."""
    lines = [HEAD, "", "# The shipped bundles", ""]
    lines += ["| bundle | input | mask | MMAC | ms | scores | false person |", "|---" * 7 + "|"]
    for table in sorted(tables, key=lambda t: str(t["id"])):
        entry, scores, name = table["input"], table.get("scores", {}), table["id"]
        mmacs, ms = table.get("training", {}).get("mmacs", ""), table.get("speed", {}).get("ms", "")
        lines.append(
            f"| [{name}]({name}.md) | {entry['format']} {entry['width']}x{entry['height']} "
            f"| {len(table['mask']['classes'])} classes | {mmacs} | {ms} "
            f"| {_headline(scores)} | {scores.get('empty', {}).get('false_person', '')} |"
        )
    lines += [
        "",
        "ms: of one core, of the machine that each card names. Scores: mIoU on the split that the card",
    ]
    lines += ["names; persons and scenes are other photos, and cannot be compared.", ""]
    return "\n".join(lines)


def _headline(scores: dict[str, Any]) -> str:
    shown = [n for n in ("portrait", "fullbody", "scene", "persons", "all") if "miou" in scores.get(n, {})]
    words = [f"{name} {scores[name]['miou']}" for name in shown]
    overall = scores.get("persons", {}).get("headline")
    return ", ".join(words if overall is None else [f"headline {overall}", *words])


def write_index() -> Path:
    """Write the page of all shipped bundles; gives where. Raises :class:`OSError`."""
    tables = [tomllib.loads(path.read_text("utf-8")) for path in SHIPPED.glob("*/model.toml")]
    write_whole(CARDS / "README.md", index(tables).encode())
    return CARDS / "README.md"


def _chip(config: str) -> list[str]:
    try:
        verdicts = check(named(Path(config).stem))
    except (ConfigError, NetworkError):
        return []  # a bundle of somebody's own: its network is not described here
    lines = ["## The accelerator chip", "", "| | limit | |", "|---|---|---|"]
    return lines + [f"| {'fits' if v.fits else 'does not fit'} | {v.limit} | {v.reason} |" for v in verdicts]


def write_card(folder: Path, size_bytes: int) -> Path:
    """Write the card of the bundle in ``folder``; gives where. Raises :class:`OSError`."""
    table = tomllib.loads((folder / "model.toml").read_text("utf-8"))
    path = CARDS / f"{table['id']}.md"
    text = card(table, size_bytes=size_bytes, picture=(PICTURES / f"{table['id']}.jpg").is_file())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
    return path


def main(arguments: list[str] | None = None) -> int:
    """The command, run in the repository's folder; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.model_card", description=__doc__)
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE", help="a bundle's folder or shipped name")
    parser.add_argument("--speed", action="store_true", help="measure here and keep it in model.toml")
    parser.add_argument("--data", type=Path, help="index.csv: draw the picture anew")
    given = parser.parse_args(arguments)
    try:
        for name in given.bundles:
            bundle = load_bundle(name)
            if given.speed:
                from gnetseg_zoo.scoring.speed import measure

                write_speed(bundle.path, measure(bundle))
            if given.data and "person" in bundle.labels:
                from gnetseg_zoo.contact_sheet import draw

                PICTURES.mkdir(parents=True, exist_ok=True)
                draw(bundle, given.data, "val", PICTURES / f"{bundle.id}.jpg")
            print(write_card(bundle.path, len(bundle.content)))
        print(write_index())
    except (ModelError, ZooError) as error:
        return told(error)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; the card was not written", file=sys.stderr)
        return os.EX_IOERR
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Bundles beside each other, and a bundle beside the floats that it was made from.

``python -m gnetseg_zoo.compare BUNDLE BUNDLE... --data index.csv --split val`` prints one table:
a row a bundle (integer against softmax, Y against YUV and RGB, small against large).

``python -m gnetseg_zoo.compare BUNDLE --float configs/NAME.toml --data index.csv`` adds the
averaged weights of ``build/train/NAME`` as floats and what 8-bit integers lose against them;
more than ``--bound`` (0.003 mIoU) ends with exit code 1. ``--twin`` adds the RGB network that
a YUV444 one becomes (``colour.py``), to be compared with the floats. Needs numpy, Pillow and a TFLite
runtime; for ``--float`` torch too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from gnetseg_zoo.config import load_config
from gnetseg_zoo.datasets.samples import DataError
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.evaluate import score_data
from gnetseg_zoo.scoring.evaluate_classes import ALL, Scores
from gnetseg_zoo.scoring.labeller import Labeller, of_bundle
from gnetsegd.errors import ModelError
from gnetsegd.model import load_bundle

MOST_LOST = 0.003
"""mIoU that 8-bit integers may cost."""
MIOU = "miou"
EXIT_BEYOND = 1


def headline(scores: Scores) -> float:
    """mIoU over all photos of ``scores``. Raises :class:`DataError` where only empty rooms were scored."""
    for name in (ALL, "persons"):
        if name in scores:
            return float(scores[name][MIOU])
    raise DataError("no photo with a person was scored; give a split that has some")


def lost(float_scores: Scores, integer_scores: Scores) -> float:
    """mIoU (0..1) that the integers are below the floats; negative where they are above."""
    return round(headline(float_scores) - headline(integer_scores), 4)


def columns(scores: Scores) -> dict[str, float]:
    """The figures of one row: each slice's mIoU (or a class's IoU), and false person."""
    out = {}
    for name, numbers in scores.items():
        for key in (MIOU, "iou", "false_person"):
            if key in numbers:
                out["false person" if key == "false_person" else name] = float(numbers[key])
    if "boundary_f" in scores.get("persons", {}):
        out["boundary F"] = float(scores["persons"]["boundary_f"])
    return out


def table(rows: dict[str, Scores]) -> str:
    """``rows`` (scores by name) for people, a line each."""
    figures = {name: columns(scores) for name, scores in rows.items()}
    heads = list(dict.fromkeys(head for row in figures.values() for head in row))
    cells = [["", *heads]]
    for name, row in figures.items():
        cells.append([name, *(f"{row[head]:.4f}" if head in row else "-" for head in heads)])
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = []
    for first, *others in cells:
        right = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *right]))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.compare", description=__doc__)
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE", help="a bundle's folder or shipped name")
    parser.add_argument("--data", type=Path, required=True, help="index.csv of the photos, or a folder")
    parser.add_argument("--split", default="val")
    parser.add_argument("--sequence", help="only this drive of the split (labelled scenes)")
    parser.add_argument("--float", type=Path, metavar="CONFIG", dest="config", help="the floats beside it")
    parser.add_argument("--run", type=Path, help="folder of their training run (build/train/NAME)")
    parser.add_argument("--twin", action="store_true", help="with --float: its RGB twin too")
    parser.add_argument("--bound", type=float, default=MOST_LOST, help="mIoU that integers may lose")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args(arguments)
    if given.twin and not given.config:
        parser.error("--twin is made of floats; name them with --float")
    if given.config and len(given.bundles) != 1:
        parser.error("--float takes one bundle: the one that was exported from it")
    try:
        networks = [of_bundle(load_bundle(name)) for name in given.bundles]
        if given.config:
            networks += _floats(given.config, given.run, twin=given.twin)
        rows = {}
        for network in networks:
            if network.name in rows:
                raise DataError(f"two bundles are called {network.name!r}; export one under another name")
            rows[network.name] = score_data(network, given.data, given.split, given.sequence)
        loss = lost(rows[networks[1].name], rows[networks[0].name]) if given.config else None
    except (ModelError, ZooError) as error:
        return told(error)
    except OSError as error:
        print(f"error: {error.filename or given.run}: {error.strerror or error}", file=sys.stderr)
        return os.EX_IOERR
    print(table(rows))
    if loss is not None:
        verdict = "beyond" if loss > given.bound else "within"
        print(f"integers lose {loss:.4f} mIoU against floats, {verdict} the bound of {given.bound:g}")
    if given.json:
        found: dict[str, object] = {"split": given.split, "bundles": rows}
        if loss is not None:
            found |= {"lost": loss, "bound": given.bound}
        print(json.dumps(found))
    return EXIT_BEYOND if loss is not None and loss > given.bound else 0


class _FloatError(ZooError, RuntimeError):
    """The floats cannot be had."""


def _floats(config: Path, run: Path | None, *, twin: bool) -> list[Labeller]:
    loaded = load_config(config)
    try:
        # Only here is torch needed.
        from gnetseg_zoo.scoring.float_network import of_checkpoint, twin_of_checkpoint
        from gnetseg_zoo.training.checkpoint import CheckpointError
    except ImportError as error:
        raise _FloatError(f"--float needs torch ({error}); pip install '.[train]'") from error
    run = run or Path("build/train") / loaded.name
    try:
        return [of_checkpoint(loaded, run), *([twin_of_checkpoint(loaded, run)] if twin else [])]
    except CheckpointError as error:
        raise _FloatError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())

# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Turn a checkpoint into a bundle: ``python -m gnetseg_zoo.export configs/NAME.toml --data index.csv``.

Needs torch, tensorflow, tf_keras, tomli-w and a TFLite runtime. Folds normalisation,
copies the weights into tf_keras, quantises to 8-bit integers with real frames, checks
that input and mask have scale 1.0 and zero point 0, scores the result on the validation
split, and writes ``model.tflite`` and ``model.toml``.

``--scores`` (softmax only) leaves the argmax out: the output is the scores of all
classes, of which the daemon makes labels on the host.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tomli_w
import torch

from gnetseg_zoo.chip import check
from gnetseg_zoo.config import Config, load_config
from gnetseg_zoo.costs import macs, parameters
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.exporting.export_data import ExportData, Scores, calibration_frames, export_data
from gnetseg_zoo.exporting.provenance import provenance, with_inherited
from gnetseg_zoo.exporting.quantise import Frames, tflite_file
from gnetseg_zoo.exporting.runtimes import share_differing
from gnetseg_zoo.files import write_whole
from gnetseg_zoo.networks import NetworkError
from gnetseg_zoo.scoring.bundle_scores import with_scores
from gnetseg_zoo.scoring.float_network import averaged_model
from gnetseg_zoo.scoring.labeller import of_bundle
from gnetseg_zoo.training.checkpoint import CHECKPOINT, fingerprint, load_checkpoint
from gnetseg_zoo.training.log import LOG, PERSON_COLUMNS, PHOTO_COLUMNS, SCENE_COLUMNS
from gnetsegd.errors import ModelError
from gnetsegd.model import ModelBundle, load_bundle

MOST_DIFFERING = 0.005
"""Share of the mask's pixels in which the two TFLite runtimes may differ. Some do: they round ties of the
requantisation differently, and a label that lies halfway between two integers falls to either side."""
NOTE = (
    "The licence above is that of the weights. The photos they were trained on are not part of this "
    "bundle and keep their own terms: several sources are for research use or state none, so check that "
    "training on them is allowed where you use the model."
)


PHOTO_TEACHERS = (
    "MediaPipe selfie segmentation (Apache-2.0) on the photos for any use and, trained on from it, "
    "person-floats on the others; DeepLabv3 (Apache-2.0) on groups"
)


def check_chip(config: Config) -> None:
    """Raises :class:`NetworkError` if the network is for the chip and breaks one of its limits."""
    broken = [v for v in check(config.build_network()) if not v.fits]
    if config.accelerator and broken:
        limits = "; ".join(f"{v.limit}: {v.reason}" for v in broken)
        raise NetworkError(
            f"{config.name}: the accelerator cannot compute this network: {limits}. Change [network] or "
            f"set accelerator = false"
        )


def runtimes_differ(content: bytes, frames: Frames, most: float = MOST_DIFFERING) -> dict[str, float]:
    """What ``model.toml`` says of the two runtimes: the share (0..1) of pixels on which they differ.

    Empty, with a printed sentence, where one of them is not installed. Raises
    :class:`ModelError` above ``most`` (0..1); where that is not the usual bound, it is told, too.
    """
    share = share_differing(content, np.stack(frames))
    if share is None:
        print(
            "not checked: whether tflite-runtime and ai-edge-litert give the same masks, since only one "
            "of them is installed; run make .venv/.done and export again",
            flush=True,
        )
        return {}
    if share > most:
        raise ModelError(
            f"tflite-runtime and ai-edge-litert differ on {share:.2%} of the mask's pixels (at most "
            f"{most:.2%}), so scores under one may not hold under the other; train further, or score it "
            f"under both and allow it with --most-differing"
        )
    told = {"runtimes_differ": round(share, 6)}
    return told if most == MOST_DIFFERING else told | {"runtimes_differ_allowed": most}


def learning_curve(log: Path) -> list[dict[str, float | int]]:
    """Minutes, pictures and scores of every line of a run's log; empty without one.

    A finished run that is begun again adds a line without training on: that one is left out.
    """
    if not log.is_file():
        return []
    with log.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    kept = {
        "minutes": float,
        "images": int,
        "size": int,
        **dict.fromkeys(PERSON_COLUMNS + PHOTO_COLUMNS + SCENE_COLUMNS, float),
    }
    rows = [{k: kept[k](v) for k, v in line.items() if k in kept and v} for line in lines]
    stood = ("minutes", "images")
    return [
        row
        for before, row in zip([{}, *rows], rows, strict=False)
        if [row.get(key) for key in stood] != [before.get(key) for key in stood]
    ]


def manifest(config: Config, content: bytes, data: ExportData, state: dict[str, Any]) -> dict[str, Any]:
    """Everything in ``model.toml`` but the scores.

    Raises :class:`ModelError` if the bundle that training began from is not shipped.
    """
    network = config.build_network()
    size = network.output_size
    origin = provenance(config.training, state)
    sources = data.sources()
    if "begin_from" in origin:
        sources = with_inherited(sources, str(origin["begin_from"]))
    return {
        "schema": 1,
        "id": config.name,
        "title": config.title,
        "file": "model.tflite",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": config.licence,
        "input": {"width": network.size, "height": network.size, "format": network.input_format},
        "mask": {"width": size, "height": size, "encoding": "u8", "classes": config.network.classes},
        "data": {"note": NOTE, "sources": sources},
        "training": {
            "config": f"{config.name}.toml",
            "architecture": f"{network.architecture}: {network.pattern}",
            "encoding": network.encoding,
            "mmacs": round(macs(network) / 1e6, 1),
            "parameters": parameters(network),
            "seed": config.seed,
            "minutes": round(state["elapsed_s"] / 60, 1),
            "steps": state["step"],
            "images": state["images"],
            "weights": "exponential average",
            **origin,
            **({"teacher": PHOTO_TEACHERS} if config.data == "photos" else {}),
            "torch": torch.__version__,
            "tensorflow": tf.__version__,
        },
    }


def check_labels(bundle: ModelBundle, frames: Frames) -> None:
    """Raises :class:`ModelError` if every pixel of the masks of ``frames`` has the same label."""
    network = of_bundle(bundle)
    found = {int(label) for frame in frames for label in np.unique(network.labels(frame))}
    if len(found) == 1:
        raise ModelError(
            f"the mask is {bundle.labels[found.pop()]!r} everywhere on all {len(frames)} calibration frames, "
            f"so the network has learnt nothing; train further, or at a lower learning_rate"
        )


class Scorer(Protocol):
    """Whatever scores a bundle."""

    def score(self, bundle: ModelBundle) -> Scores:
        """Its scores by name."""


def write_bundle(folder: Path, content: bytes, table: dict[str, Any], data: Scorer, frames: Frames) -> Scores:
    """Check and score the network in a folder beside, then put it in place; gives the scores.

    Raises :class:`ModelError` when the network breaks its promise: the former bundle then stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        trial = Path(beside)
        (trial / table["file"]).write_bytes(content)
        (trial / "model.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
        bundle = load_bundle(str(trial))
        check_labels(bundle, frames)
        scores = data.score(bundle)
    folder.mkdir(exist_ok=True)
    write_whole(folder / table["file"], content)
    write_whole(folder / "model.toml", with_scores(tomli_w.dumps(table), "val", scores).encode())
    return scores


def write_scores_bundle(folder: Path, content: bytes, table: dict[str, Any]) -> None:
    """A bundle whose output is scores; nothing scores it."""
    folder.mkdir(parents=True, exist_ok=True)
    table["mask"]["encoding"] = "scores"
    write_whole(folder / table["file"], content)
    write_whole(folder / "model.toml", tomli_w.dumps(table).encode())


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.export", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument(
        "--data", required=True, help="index.csv of the photos (several parted by commas), or their folder"
    )
    parser.add_argument("--run", type=Path, help="folder of the training run (build/train/NAME)")
    parser.add_argument("--output", type=Path, help="folder of the bundle (gnetsegd/models/NAME)")
    parser.add_argument("--scores", action="store_true", help="give softmax's scores in place of the mask")
    parser.add_argument(
        "--most-differing",
        type=float,
        default=MOST_DIFFERING,
        metavar="SHARE",
        help=f"of mask pixels (0..1) in which the two runtimes may differ ({MOST_DIFFERING})",
    )
    given = parser.parse_args(arguments)
    try:
        config = load_config(given.config)
        check_chip(config)
        run = given.run or Path("build/train") / config.name
        state = load_checkpoint(run / CHECKPOINT, fingerprint(config.build_network()))
        data = export_data(config, given.data)
        frames = calibration_frames(data)
        content = tflite_file(averaged_model(config, state), frames, scores=given.scores)
        table = manifest(config, content, data, state)
        table["training"] |= {"curve": learning_curve(run / LOG)}
        table["training"] |= runtimes_differ(content, frames, given.most_differing)
        if given.scores:
            output = given.output or Path("build/scores") / config.name
            write_scores_bundle(output, content, table)
            scores: Scores = {}
        else:
            output = given.output or Path("gnetsegd/models") / config.name
            scores = write_bundle(output, content, table, data, frames)
    except (ModelError, ZooError) as error:
        return told(error)
    except OSError as error:
        print(f"error: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        return os.EX_IOERR
    print(f"{output}: {len(content)} bytes, {scores}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

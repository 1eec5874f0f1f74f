# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Weights to a bundle: ``python -m gnetseg_zoo.selfie.export NAME.toml --source SELFIE --data INDEX``.

Needs tensorflow, tf_keras, tomli-w, OpenCV and LiteRT. Quantises with training photos, checks
that input and mask have scale 1 and zero point 0 and that both runtimes load the file and agree,
scores it on the clean val photos and writes ``model.tflite`` and ``model.toml``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from gnetseg_zoo.datasets.pictures import Pixels
from gnetseg_zoo.datasets.samples import DataError, source_key
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.export import runtimes_differ, write_bundle
from gnetseg_zoo.exporting.export_data import Scores
from gnetseg_zoo.exporting.quantise import quantise
from gnetseg_zoo.judging.judge import judge
from gnetseg_zoo.judging.photos import TRAIN, VAL, Photo, load_photos
from gnetseg_zoo.scoring.labeller import of_bundle
from gnetseg_zoo.selfie.graph import (
    FIRST,
    Step,
    Weights,
    cheaper,
    for_bytes,
    load_ranges,
    load_weights,
    mega_macs,
    read_tflite,
)
from gnetseg_zoo.selfie.keras_model import build_keras
from gnetseg_zoo.selfie.plan import LOG, WEIGHTS, Plan, load_plan
from gnetseg_zoo.selfie.squares import calibration
from gnetsegd.errors import ModelError
from gnetsegd.model import ModelBundle

NOTE = (
    "The licence above is that of the weights. They are those of MediaPipe's selfie segmentation "
    "(Google, Apache-2.0), changed: rebuilt, trained on and quantised. Every photo that taught them may be "
    "used for any purpose, commercial ones among them; the photos are not part of this bundle, NOTICE names "
    "their makers. No mask came from a research-only or copyleft source."
)
ORIGINS = {
    "ccp_hand": "github.com/bearpaw/clothing-co-parsing",
    "ccp_teacher": "github.com/bearpaw/clothing-co-parsing",
    "us_officials": "github.com/CivilServiceUSA",
    "synthetic_portraits": "github.com/antgroup/echomimic_v2",
}
"""Of sources whose photos have no address of their own."""
ORIGIN = "MediaPipe selfie segmentation, selfie_segmentation.tflite, Apache-2.0"


class Photos:
    """What ``write_bundle`` scores a bundle on."""

    def __init__(self, photos: Sequence[Photo]) -> None:
        self._photos = photos

    def score(self, bundle: ModelBundle) -> Scores:
        """The domains of ``judging.judge`` on these photos."""
        (found,) = judge([of_bundle(bundle)], self._photos, ())
        domains: Scores = found["domains"]
        return {"persons": {"headline": found["headline"]}} | domains


def calibration_frames(photos: Sequence[Photo], plan: Plan) -> list[Pixels]:
    """uint8 [s, s, channels] in the network's own format."""
    mode = {"Y": "L", "YUV444": "YCbCr", "RGB": "RGB"}[plan.input]
    pictures = calibration(photos, plan.size)
    frames = [np.asarray(Image.fromarray(p).convert(mode)) for p in pictures]
    return [f.reshape(plan.size, plan.size, -1) for f in frames]


def manifest(
    plan: Plan, content: bytes, photos: Sequence[Photo], steps: Sequence[Step], weights: Weights, source: Path
) -> dict[str, Any]:
    """Everything in ``model.toml`` but the scores."""
    counts = Counter((source_key(p.sample), p.sample.licence) for p in photos)
    square = {"width": plan.size, "height": plan.size}
    return {
        "schema": 1,
        "id": plan.name,
        "title": plan.title,
        "file": "model.tflite",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "Apache-2.0",
        "input": {**square, "format": plan.input},
        "mask": {**square, "encoding": "u8", "classes": ["background", "person"]},
        "data": {
            "note": NOTE,
            "sources": [{"name": n, "photos": c, "licence": how} for (n, how), c in sorted(counts.items())],
        },
        "training": {
            "config": f"{plan.name}.toml",
            "architecture": "MediaPipe selfie segmentation: depthwise encoder, gated decoder, hard-swish",
            "encoding": "integer",
            "mmacs": round(mega_macs(steps, weights, plan.size), 1),
            "parameters": int(sum(k.size + b.size for k, b in weights.values())),
            "seed": plan.seed,
            "weights": "exponential average",
            "origin": ORIGIN,
            "origin_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "tensorflow": tf.__version__,
        },
    }


def write_credits(path: Path, photos: Sequence[Photo], indices: Sequence[Path]) -> None:
    """Whose photos taught the network: a line each with its licence and where it is from. Raises OSError."""
    addresses: dict[str, str] = {}
    for index in indices:
        known = index.parent / "credits.csv"
        if known.is_file():
            with known.open(newline="", encoding="utf-8") as file:
                addresses |= {row["coco_id"]: row["flickr_url"] for row in csv.DictReader(file)}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("photo", "licence", "origin"))
        for photo in sorted(photos, key=lambda p: p.key):
            source = photo.sample.source
            origin = ORIGINS.get(source) or addresses.get(Path(photo.path).stem.lstrip("0").zfill(12), "")
            if not origin:
                raise DataError(f"{photo.path}: nobody knows where it is from; it may not teach a network")
            writer.writerow((photo.key, photo.sample.licence, origin))


def curve(log: Path) -> list[dict[str, float | int]]:
    """The lines of a run's log; empty without one."""
    if not log.is_file():
        return []
    with log.open(newline="", encoding="utf-8") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    return [{k: v for k, v in row.items() if k != "loss"} | {"step": int(row["step"])} for row in rows]


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.selfie.export", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", required=True, help="index.csv of the photos, several parted by commas")
    parser.add_argument("--source", type=Path, required=True, help="MediaPipe's selfie_segmentation.tflite")
    parser.add_argument("--run", type=Path, help="folder of the training run (build/train/NAME)")
    parser.add_argument("--weights", type=Path, help="weights.npz to export, in place of the run's")
    parser.add_argument("--output", type=Path, help="folder of the bundle (gnetsegd/models/NAME)")
    given = parser.parse_args(arguments)
    try:
        plan = load_plan(given.config)
        run = given.run or Path("build/train") / plan.name
        indices = [Path(part) for part in given.data.split(",")]
        photos = load_photos(indices, TRAIN)
        steps = cheaper(read_tflite(given.source)[0])
        trained = given.weights or run / WEIGHTS
        weights, ranges = for_bytes(load_weights(trained)), load_ranges(trained)
        if weights[FIRST][0].shape[1] != (1 if plan.input == "Y" else 3):
            raise DataError(f"{given.config}: its input is {plan.input}, which these weights are not for")
        frames = calibration_frames(photos, plan)
        content = quantise(build_keras(steps, weights, plan.size, ranges), frames)
        table = manifest(plan, content, photos, steps, weights, given.source)
        table["training"] |= {"curve": curve(run / LOG)} | runtimes_differ(
            content, frames[::4], plan.most_differing
        )
        output = given.output or Path("gnetsegd/models") / plan.name
        output.mkdir(parents=True, exist_ok=True)
        write_credits(output / "credits.csv", photos, indices)
        scores = write_bundle(output, content, table, Photos(load_photos(indices, VAL)), frames[::4])
    except (ModelError, ZooError) as error:
        return told(error)
    except OSError as error:
        print(f"error: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        return os.EX_IOERR
    print(f"{output}: {len(content)} bytes, {scores}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

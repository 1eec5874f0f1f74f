"""MediaPipe selfie segmentation beside our networks, and as their teacher.

``python -m gnetseg_zoo.peer --data index.csv --split val [--grey] [--json]`` scores it by the
protocol of ``evaluate.py``; ``--write-masks FOLDER`` writes its soft masks of whole photos
instead. Needs numpy, Pillow and mediapipe 0.10.21 (the extra ``peer``: a wheel for Python
3.9 to 3.12 that contains the network, Apache-2.0; later wheels do not).

The score: centre square of the photo, area-resized to the peer's own 256x256 pixels, in
colour, or with ``--grey`` its luminance three times over; the soft mask resized to our
224x224 (bilinear) and a person where it is at least 0.5.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gnetseg_zoo.datasets.pictures import hard_mask, open_pair, square
from gnetseg_zoo.datasets.samples import Sample, load_index
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.scoring.scores import Scoreboard
from gnetseg_zoo.training.teacher_masks import Soft, Teacher, write_masks

NAME = "mediapipe-selfie-0.10.21"
PEER_PX = 256
MASK_PX = 224
"""Side of the masks that are compared: that of our networks."""
PERSON_FROM = 0.5


class PeerMissing(ZooError, RuntimeError):
    """The peer's package is not installed; the message says how to get it."""

    exit_code = os.EX_UNAVAILABLE


def open_peer() -> Teacher:
    """The network of the mediapipe wheel. Raises :class:`PeerMissing`."""
    try:
        module: Any = importlib.import_module("mediapipe.python.solutions.selfie_segmentation")
    except ImportError as error:
        raise PeerMissing(
            f"mediapipe is not installed here ({error}); in an environment of its own: pip install '.[peer]'"
        ) from error
    network = module.SelfieSegmentation(model_selection=0)

    def mask(pixels: npt.NDArray[np.uint8]) -> Soft:
        out: Soft = network.process(pixels).segmentation_mask
        return out

    return mask


def score_peer(teacher: Teacher, samples: list[Sample], *, grey: bool) -> dict[str, dict[str, float | int]]:
    """The scores of ``scores.py`` of the peer on ``samples``: those of ``evaluate.score`` but boundary F.

    Raises :class:`DataError` for a photo or mask that cannot be used.
    """
    board = Scoreboard()
    for sample in samples:
        photo, mask = open_pair(sample, "Y" if grey else "RGB")
        pixels = np.asarray(square(photo, PEER_PX).convert("RGB"), np.uint8)
        soft = Image.fromarray(teacher(pixels).astype(np.float32))
        soft = soft.resize((MASK_PX, MASK_PX), Image.Resampling.BILINEAR)
        board.add(sample.domain, np.asarray(soft) >= PERSON_FROM, hard_mask(mask, MASK_PX))
    return board.summary()


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.peer", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="index.csv of the photos")
    parser.add_argument("--split", default="val")
    parser.add_argument("--grey", action="store_true", help="give it the luminance alone")
    parser.add_argument("--write-masks", type=Path, metavar="FOLDER", help="write soft masks, do not score")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args(arguments)
    try:
        samples = load_index(given.data, given.split)
        teacher = open_peer()
        if given.write_masks:
            count = write_masks(teacher, samples, given.data.parent, given.write_masks)
            print(f"{given.write_masks}: {count} masks")
            return 0
        scores = score_peer(teacher, samples, grey=given.grey)
    except ZooError as error:
        return told(error)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; the masks are not complete", file=sys.stderr)
        return os.EX_IOERR
    for name, numbers in scores.items():
        print(f"{name:10}" + "  ".join(f"{key} {value}" for key, value in numbers.items()))
    if given.json:
        colour = "grey" if given.grey else "RGB"
        print(json.dumps({"model": NAME, "input": colour, "split": given.split, **scores}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Score a bundle: ``python -m gnetseg_zoo.evaluate --model BUNDLE --data index.csv --split val --json``.

Needs numpy, Pillow and a TFLite runtime. The protocol: centre square of the photo,
area-resized to the network's input, Y by BT.601 full range; see ``scores.py`` and
``boundary.py`` for the numbers. Labelled driving scenes (CamVid, Cityscapes) are
scored per class on the whole photo, see ``evaluate_classes.py``. With ``--json`` the
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gnetseg_zoo.boundary import BoundaryScores
from gnetseg_zoo.bundle_scores import write_scores
from gnetseg_zoo.datasets.matting_human import load_matting_human
from gnetseg_zoo.evaluate_classes import Scores, is_labelled, load_labelled, score_classes
from gnetseg_zoo.pictures import Pixels, hard_mask, network_input, open_pair
from gnetseg_zoo.runtime import Network
from gnetseg_zoo.samples import EMPTY, DataError, Sample, load_index
from gnetseg_zoo.scores import Scoreboard
from gnetsegd.errors import ModelError
from gnetsegd.model import ModelBundle, load_bundle


@dataclass(frozen=True)
class Result:
    """One photo scored. ``score``: its own mIoU, or for a person-free one its false person share."""

    sample: Sample
    pixels: npt.NDArray[np.uint8]
    predicted: npt.NDArray[np.bool_]
    truth: npt.NDArray[np.bool_]
    score: float


@dataclass(frozen=True)
class Masker:
    """Whatever computes masks: ``mask`` takes uint8 [size, size, channels] and gives bool [size, size]."""

    input_format: str
    size: int
    mask: Callable[[Pixels], npt.NDArray[np.bool_]]


def masker(bundle: ModelBundle, module: str | None = None) -> Masker:
    """The bundle's network, its masks true where a person is.

    ``module``: the TFLite runtime, as :func:`gnetseg_zoo.runtime.interpreter_class` takes it.
    Raises :class:`ModelError` for a network that breaks its promise.
    """
    network = Network(bundle, module=module)
    person = person_label(bundle)
    size = bundle.input.width
    if (bundle.input.height, bundle.mask.width, bundle.mask.height) != (size, size, size):
        raise ModelError(
            f"{bundle.path}: only a square network with a mask of its input's size is scored here"
        )
    return Masker(bundle.input.pixel_format, size, lambda pixels: network.mask(pixels) == person)


def results(masks: Masker, samples: list[Sample], board: Scoreboard) -> Iterator[Result]:
    """Have ``masks`` look at every sample, counting into ``board``.

    Raises :class:`DataError` for a photo or mask that cannot be used.
    """
    for sample in samples:
        photo, mask = open_pair(sample, masks.input_format)
        pixels = network_input(photo, masks.size)
        predicted, truth = masks.mask(pixels), hard_mask(mask, masks.size)
        yield Result(sample, pixels, predicted, truth, board.add(sample.domain, predicted, truth))


def person_label(bundle: ModelBundle) -> int:
    """The integer of the class "person". Raises :class:`ModelError` if the bundle has none."""
    if "person" not in bundle.labels:
        raise ModelError(
            f"{bundle.path}: has the classes {', '.join(bundle.labels)} and no 'person'; "
            "score it on data of its own"
        )
    return bundle.labels.index("person")


def score(bundle: ModelBundle, samples: list[Sample]) -> Scores:
    """All scores of ``bundle`` on ``samples`` as plain numbers. Raises as :func:`masker`, :func:`results`."""
    return score_masks(masker(bundle), samples)


def score_masks(masks: Masker, samples: list[Sample]) -> Scores:
    """All scores of what ``masks`` gives for ``samples``; see ``scores.py`` and ``boundary.py``."""
    board, edges = Scoreboard(), BoundaryScores()
    for result in results(masks, samples, board):
        if result.sample.domain != EMPTY:
            edges.add(result.sample.domain, result.predicted, result.truth)
    scores = board.summary()
    for domain, f in edges.summary().items():
        scores[domain]["boundary_f"] = f
    return scores


def score_data(bundle: ModelBundle, data: Path, split: str, sequence: str | None = None) -> Scores:
    """The scores on ``data``: labelled scenes (CamVid, Cityscapes), or persons (an index, Matting Human).

    Raises :class:`ModelError` and :class:`DataError` as the two ways of scoring do.
    """
    if is_labelled(data) or "person" not in bundle.labels:
        photos = load_labelled(data, split, sequence)
        return score_classes(bundle, photos.photos, photos.classes)
    if sequence is not None:
        raise DataError(f"{data}: photos of persons have no sequences; leave --sequence {sequence} out")
    return score(bundle, load_persons(data, split))


def load_persons(data: Path, split: str) -> list[Sample]:
    """The samples of ``split`` of an index, or of a folder of Matting Human. Raises :class:`DataError`."""
    if not data.is_dir():
        return load_index(data, split)
    chosen = [s for s in load_matting_human(data) if s.split == split]
    if not chosen:
        raise DataError(f"{data}: no photo has split {split!r}; there are train, val")
    return chosen


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.evaluate", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of the bundle, or the name of a shipped one")
    parser.add_argument(
        "--data", type=Path, required=True, help="index.csv of the photos, or a data set's folder"
    )
    parser.add_argument("--split", default="val")
    parser.add_argument("--sequence", help="only this drive of the split (labelled scenes)")
    parser.add_argument("--write", action="store_true", help="put the scores into the bundle's model.toml")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args(arguments)
    try:
        bundle = load_bundle(given.model)
        scores = score_data(bundle, given.data, given.split, given.sequence)
        if given.write:
            write_scores(bundle.path, given.split, scores)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return os.EX_DATAERR
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; the scores were not written", file=sys.stderr)
        return os.EX_IOERR
    width = 2 + max(len(name) for name in scores)
    for name, numbers in scores.items():
        print(f"{name:{width}}" + "  ".join(f"{key} {value}" for key, value in numbers.items()))
    if given.json:
        print(json.dumps({"model": bundle.id, "split": given.split, **scores}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Score a bundle: ``python -m gnetseg_zoo.evaluate --model BUNDLE --data a.csv,b.csv --split test --json``.

With ``--split test``, or several indices, persons are judged by domain and beside what is
free elsewhere (``--beside``); see ``judging``. One index with another split gives the scores
by the index's own domains that a bundle's ``model.toml`` has.

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
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnetseg_zoo.datasets.data import open_persons
from gnetseg_zoo.datasets.pictures import hard_mask, network_input, open_pair
from gnetseg_zoo.datasets.samples import EMPTY, DataError, Sample
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.judging.judge import judge
from gnetseg_zoo.judging.peers import PEERS, open_peer
from gnetseg_zoo.judging.photos import TEST, load_photos
from gnetseg_zoo.scoring.boundary import BoundaryScores
from gnetseg_zoo.scoring.bundle_scores import write_scores
from gnetseg_zoo.scoring.evaluate_classes import Scores, is_labelled, load_labelled, score_scenes
from gnetseg_zoo.scoring.labeller import PERSON, Labeller, of_bundle
from gnetseg_zoo.scoring.scores import Scoreboard
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


def results(network: Labeller, samples: list[Sample], board: Scoreboard) -> Iterator[Result]:
    """Have ``network`` look at every sample, counting into ``board``.

    A mask smaller than the input is enlarged by repeating its pixels. Raises
    :class:`ModelError` for a network that is not for persons and :class:`DataError` for a
    photo or mask that cannot be used.
    """
    person, times, size = network.person(), network.enlargement(), network.input.width
    for sample in samples:
        photo, mask = open_pair(sample, network.input.pixel_format)
        pixels = network_input(photo, size)
        predicted = (network.labels(pixels) == person).repeat(times, axis=0).repeat(times, axis=1)
        truth = hard_mask(mask, size)
        yield Result(sample, pixels, predicted, truth, board.add(sample.domain, predicted, truth))


def score(bundle: ModelBundle, samples: list[Sample]) -> Scores:
    """All scores of ``bundle`` on ``samples`` as plain numbers. Raises as ``Network`` and :func:`results`."""
    return score_persons(of_bundle(bundle), samples)


def score_persons(network: Labeller, samples: list[Sample]) -> Scores:
    """All scores of ``network`` on ``samples``; see ``scores.py`` and ``boundary.py``."""
    board, edges = Scoreboard(), BoundaryScores()
    for result in results(network, samples, board):
        if result.sample.domain != EMPTY:
            edges.add(result.sample.domain, result.predicted, result.truth)
    scores = board.summary()
    for domain, f in edges.summary().items():
        scores[domain]["boundary_f"] = f
    return scores


def score_data(network: Labeller, data: Path, split: str, sequence: str | None = None) -> Scores:
    """The scores on ``data``: labelled scenes (CamVid, Cityscapes), or persons (an index, Matting Human).

    Raises :class:`ModelError` and :class:`DataError` as the two ways of scoring do.
    """
    if is_labelled(data) or PERSON not in network.classes:
        photos = load_labelled(data, split, sequence)
        return score_scenes(network, photos.photos, photos.classes)
    if sequence is not None:
        raise DataError(f"{data}: photos of persons have no sequences; leave --sequence {sequence} out")
    return score_persons(network, open_persons("matting_human" if data.is_dir() else "persons", data, split))


def judge_bundle(
    bundle: ModelBundle, indices: list[Path], split: str, beside: list[str], folders: list[Path]
) -> dict[str, Any]:
    """``{"headline", "domains", "beside": {PEER: {"headline", "domains"}}}`` of ``bundle``; see ``judging``.

    ``folders``: where the peers' files lie. Raises :class:`ModelError` and :class:`DataError`.
    """
    photos = load_photos(indices, split)
    places = [*folders, *(index.parent / "teachers" for index in indices)]  # some data come with them
    with ExitStack() as peers:
        networks = [of_bundle(bundle), *(peers.enter_context(open_peer(n, places)) for n in beside)]
        own, *others = judge(networks, photos, list(dict.fromkeys(index.parent for index in indices)))
    return {**own, "beside": dict(zip(beside, others, strict=True))}


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.evaluate", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of the bundle, or the name of a shipped one")
    parser.add_argument(
        "--data", required=True, help="index.csv of the photos (several: a,b), or a data set's folder"
    )
    parser.add_argument("--split", default="val", help="train, val, or test: what the licences keep out")
    parser.add_argument("--beside", default="", help=f"peers to judge too, a list of {', '.join(PEERS)}")
    parser.add_argument("--peers", type=Path, action="append", default=[], help="folder of peers' files")
    parser.add_argument("--sequence", help="only this drive of the split (labelled scenes)")
    parser.add_argument("--write", action="store_true", help="put the scores into the bundle's model.toml")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args(arguments)
    if given.write and given.sequence is not None:
        parser.error("--write keeps the scores of a whole split; leave it or --sequence out")
    indices = [Path(part) for part in given.data.split(",")]
    beside = [name for name in given.beside.split(",") if name]
    judging = len(indices) > 1 or (
        given.split == TEST and indices[0].suffix == ".csv" and not is_labelled(indices[0])
    )
    if beside and not judging:
        parser.error("--beside is for persons of the split test, or of several indices")
    try:
        bundle = load_bundle(given.model)
        if judging:
            found = judge_bundle(bundle, indices, given.split, beside, given.peers)
            scores: Scores = found["domains"]
            for name, peer in ((bundle.id, found), *found["beside"].items()):
                print(f"{name}: headline {peer['headline']}")
                for domain, numbers in peer["domains"].items():
                    print(f"  {domain:10}" + "  ".join(f"{key} {value}" for key, value in numbers.items()))
        else:
            found = scores = score_data(of_bundle(bundle), indices[0], given.split, given.sequence)
        if given.write:
            overall: Scores = {"persons": {"headline": found["headline"]}} if judging else {}
            write_scores(bundle.path, given.split, overall | scores)
    except (ModelError, ZooError) as error:
        return told(error)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; the scores were not written", file=sys.stderr)
        return os.EX_IOERR
    if not judging:
        width = 2 + max(len(name) for name in scores)
        for name, numbers in scores.items():
            print(f"{name:{width}}" + "  ".join(f"{key} {value}" for key, value in numbers.items()))
    if given.json:
        print(json.dumps({"model": bundle.id, "split": given.split, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

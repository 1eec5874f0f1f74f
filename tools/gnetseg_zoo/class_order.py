"""The order in which classes are best numbered for the integer encoding.

``python -m gnetseg_zoo.class_order --data DATA`` reads the labels of the training split. An
integer network regresses the class's number, so where it is unsure between two classes it
gives a number between theirs. Classes that touch in pictures therefore want neighbouring
numbers: the order printed has the least sum of the numbers' differences over all pairs of
neighbouring pixels (a minimum linear arrangement, solved exactly over subsets of classes).
Needs numpy and Pillow.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gnetseg_zoo.datasets.labels import IGNORE
from gnetseg_zoo.datasets.samples import DataError
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.scoring.evaluate_classes import load_labelled

Counts = npt.NDArray[np.int64]


def borders(pictures: Iterable[npt.NDArray[np.uint8]], classes: int) -> Counts:
    """How often two classes meet, int64 [classes, classes], symmetric.

    Pixels left and right, above and below each other meet; IGNORE meets nothing.
    ``pictures``: uint8 [h, w] labels.
    """
    out = np.zeros((classes, classes), np.int64)
    for labels in pictures:
        for one, other in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
            known = (one != other) & (one != IGNORE) & (other != IGNORE)
            np.add.at(out, (one[known], other[known]), 1)
    return out + out.T


def cost(counts: Counts, order: Iterable[int]) -> int:
    """Sum over neighbouring pixels of the difference of their numbers, the classes numbered in ``order``."""
    place = np.argsort(np.fromiter(order, np.int64))
    return int((counts * np.abs(place[:, None] - place[None, :])).sum()) // 2


def best_order(counts: Counts) -> list[int]:
    """The order of the classes with the least :func:`cost`; of it and its reverse, the one that sorts first.

    The cost is the sum, over every cut of the order, of the borders between both sides. So the
    best order of a subset ends in the class whose removal leaves the cheapest subset
    (Held and Karp): 2^classes subsets, at most 16 classes.
    """
    n = len(counts)
    if n > 16:
        raise ValueError(f"an order of {n} classes would take too long; at most 16")
    cut = np.zeros(1 << n, np.int64)
    for subset in range(1, 1 << n):
        lowest = (subset & -subset).bit_length() - 1
        rest = subset & (subset - 1)
        inside = sum(int(counts[lowest, c]) for c in range(n) if rest >> c & 1)
        cut[subset] = cut[rest] + int(counts[lowest].sum()) - 2 * inside
    least, last = [0] * (1 << n), [0] * (1 << n)
    for subset in range(1, 1 << n):
        members = [c for c in range(n) if subset >> c & 1]
        last[subset] = min(members, key=lambda c: least[subset & ~(1 << c)])
        least[subset] = least[subset & ~(1 << last[subset])] + int(cut[subset])
    order, subset = [], (1 << n) - 1
    while subset:
        order.append(last[subset])
        subset &= ~(1 << last[subset])
    return order if order[0] < order[-1] else order[::-1]


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.class_order", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CamVid or Cityscapes: folder or csv")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        chosen = load_labelled(given.data, "train")
        names = chosen.classes.names
        counts = borders((chosen.classes.read(photo.label) for photo in chosen.photos), len(names))
        if not counts.any():
            raise DataError(
                f"{given.data}: no two classes touch, so every order is as good; look at the labels"
            )
    except ZooError as error:
        return told(error)
    order = best_order(counts)
    meeting = int(counts.sum()) // 2
    said = {
        # Mean difference of the numbers where two classes meet.
        "as_published": round(cost(counts, range(len(names))) / meeting, 3),
        "best": round(cost(counts, order) / meeting, 3),
        "classes": [names[c] for c in order],
    }
    if given.json:
        print(json.dumps(said))
    else:
        print(
            f"mean step where two classes meet: {said['best']}, as published {said['as_published']}\n"
            f"classes = {json.dumps(said['classes'])}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The judge of the fleet's bench sees what it is to see: it would be no proof else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP / "tools" / "bench"), str(TOP / "tests" / "client")]

from fake_publisher import FakePublisher, person  # noqa: E402
from fleet_judge import digest, judge, recorded  # noqa: E402

from gnetsegd.message import pack_header, pack_mask  # noqa: E402
from gnetsegd.recordings.writing import RecordingWriter  # noqa: E402

MADE = {"robot1": {(7, number): f"pixels {number}" for number in range(1, 9)}}


def came(*numbers: int) -> list[tuple[tuple[int, int], str]]:
    return [((7, number), f"pixels {number}") for number in numbers]


@pytest.mark.parametrize(
    ("masks", "counted", "verdict"),
    [
        (came(1, 2, 3), 0, (0, 0, 3)),
        (came(3, 4), 0, (0, 0, 2)),  # what came before the first or after the last is no gap
        (came(1, 2, 5), 2, (0, 0, 3)),
        (came(1, 2, 5), 0, (0, 2, 3)),
        (came(1, 2, 5), 3, (0, 1, 3)),
        (came(1, 3, 2), 0, (1, 0, 3)),
        (came(1, 2, 2), 0, (1, 0, 3)),
        ([((7, 1), "pixels 2")], 0, (1, 0, 1)),
        (came(1, 99), 7, (1, 0, 2)),
        ([((8, 1), "pixels 1")], 0, (1, 0, 1)),
        (came(0, 1, 2), 0, (0, 0, 2)),
    ],
)
def test_what_is_wrong_or_not_counted_is_seen(
    masks: Any, counted: int, verdict: tuple[int, int, int]
) -> None:
    assert judge(MADE, {"robot1": masks}, {"robot1": counted}) == verdict


def test_a_host_that_makes_nothing_has_nothing_right() -> None:
    assert judge(MADE, {"robot2": came(1)}, {}).wrong == 1


def test_a_mask_is_the_same_in_any_bits_and_another_in_one_pixel(ipc_endpoint: str, tmp_path: Path) -> None:
    other = person(9, 6)
    other[0, 0] ^= 1
    messages = []
    with FakePublisher(ipc_endpoint) as publisher:
        for labels, bits in ((person(9, 6), 8), (person(9, 6), 1), (other, 1)):
            messages.append(pack_header(publisher.header(labels, 5, bits)) + pack_mask(labels, bits))
    eight, one, wrong = map(digest, messages)
    assert eight == one == ((7, 5), eight[1])
    assert wrong[1] != one[1]
    assert np.count_nonzero(other != person(9, 6)) == 1
    path = tmp_path / "fleet.mcap"
    writer = RecordingWriter(path)
    # As they came, whatever times they have.
    for place, message in enumerate((messages[2], messages[0])):
        writer.add("mask", "robot1/mask/cam0", message, 10 - place, 10 - place, 5)
    writer.finish()
    assert recorded(path) == ({"robot1": [wrong, eight]}, 1)

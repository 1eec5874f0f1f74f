"""Scores on masks that a person can reckon."""

from __future__ import annotations

import numpy as np
import pytest
from gnetseg_zoo.scoring.scores import Confusion, Scoreboard

TRUTH = np.array([[1, 1, 0, 0], [1, 1, 0, 0]], bool)
SHIFTED = np.array([[0, 1, 1, 0], [0, 1, 1, 0]], bool)
NOTHING = np.zeros_like(TRUTH)


def test_miou_is_the_mean_of_both_classes():
    confusion = Confusion()
    confusion.add(SHIFTED, TRUTH)
    # Person: 2 in common of 6; background: 2 in common of 6.
    assert confusion.person_iou == pytest.approx(2 / 6)
    assert confusion.background_iou == pytest.approx(2 / 6)
    assert confusion.miou == pytest.approx(1 / 3)


def test_miou_sums_over_all_pixels_of_all_pictures():
    confusion = Confusion()
    confusion.add(TRUTH, TRUTH)
    confusion.add(NOTHING, TRUTH)
    # Person: 4 of 8; background: 8 of 12. The mean of the pictures' own would differ.
    assert confusion.miou == pytest.approx((4 / 8 + 8 / 12) / 2)
    assert confusion.photos == 2


def test_nobody_found_where_nobody_is_is_perfect():
    confusion = Confusion()
    confusion.add(NOTHING, NOTHING)
    assert confusion.miou == 1.0


def test_false_person_is_the_mean_share_over_person_free_pictures():
    board = Scoreboard()
    assert board.add("empty", SHIFTED, NOTHING) == 0.5
    board.add("empty", NOTHING, NOTHING)
    board.add("portrait", TRUTH, TRUTH)
    assert board.false_person == 0.25
    summary = board.summary()
    assert summary["empty"] == {"false_person": 0.25, "photos": 2}
    assert summary["portrait"] == {"miou": 1.0, "photos": 1}
    assert summary["persons"]["photos"] == 1

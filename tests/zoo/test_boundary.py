"""The boundary score, on outlines that a person can reckon."""

from __future__ import annotations

import numpy as np
import pytest
from gnetseg_zoo.scoring.boundary import BoundaryScores, boundary, boundary_f, near

SIDE = 224


def box(left, right, top=50, bottom=150):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_boundary_pixels_are_those_before_a_change_and_not_the_pictures_edge():
    mask = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]], bool)
    assert boundary(mask).astype(int).tolist() == [[1, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert not boundary(np.ones((3, 3), bool)).any()


def test_near_is_a_disk_and_ends_at_the_pictures_edge():
    point = np.zeros((5, 5), bool)
    point[0, 0] = True
    assert near(point, 2.3).astype(int).tolist() == [
        [1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize(("shift", "score"), [(0, 1.0), (2, 1.0), (40, None)])
def test_an_outline_within_two_pixels_is_met_and_one_far_away_is_not(shift, score):
    found = boundary_f(box(50 + shift, 150 + shift), box(50, 150))
    # The two horizontal sides overlap by 60 of 100 pixels even where the vertical ones are far away.
    assert found == (score if score is not None else pytest.approx(0.3, abs=0.03))


def test_precision_and_recall_both_count():
    # Two sides of 100 true pixels each against four: half of the true outline is met.
    top_and_bottom = box(0, SIDE)
    whole = box(0, SIDE, 50, SIDE)
    assert boundary_f(whole, top_and_bottom) == pytest.approx(2 / 3, abs=0.01)
    assert boundary_f(top_and_bottom, whole) == pytest.approx(2 / 3, abs=0.01)


def test_a_mask_without_outline_meets_only_its_like():
    nothing = np.zeros((SIDE, SIDE), bool)
    assert boundary_f(nothing, nothing) == 1.0
    assert boundary_f(nothing, box(50, 150)) == 0.0
    assert boundary_f(box(50, 150), nothing) == 0.0


def test_a_slices_score_is_the_mean_over_its_photos():
    scores = BoundaryScores()
    assert scores.summary() == {}
    scores.add("portrait", box(50, 150), box(50, 150))
    scores.add("portrait", np.zeros((SIDE, SIDE), bool), box(50, 150))
    scores.add("crowd", box(50, 150), box(50, 150))
    assert scores.summary() == {"portrait": 0.5, "crowd": 1.0, "persons": 0.6667}

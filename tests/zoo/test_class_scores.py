"""Scores of several classes, on masks that a person can reckon."""

from __future__ import annotations

import numpy as np
import pytest
from gnetseg_zoo.datasets.labels import IGNORE
from gnetseg_zoo.scoring.class_scores import ClassConfusion, class_iou, mean_iou, pixel_accuracy

TRUTH = np.array([[0, 0, 1], [1, 1, 2]], np.uint8)
SAID = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)


def counted(predicted, truth, classes=3):
    confusion = ClassConfusion(classes)
    confusion.add(predicted, truth)
    return confusion


def test_iou_of_a_class_is_its_overlap_over_its_union():
    iou = class_iou(counted(SAID, TRUTH).counts)
    # Class 0: 1 in common of 3; class 1: 2 of 4; class 2: 1 of 1.
    assert iou.tolist() == pytest.approx([1 / 3, 2 / 4, 1.0])


def test_ignored_pixels_count_nowhere():
    truth = np.where(TRUTH == SAID, TRUTH, IGNORE).astype(np.uint8)
    confusion = counted(SAID, truth)
    assert pixel_accuracy(confusion.counts) == 1.0
    assert confusion.counts.sum() == 4


def test_a_class_that_never_occurs_is_left_out_of_the_mean_and_one_invented_is_not():
    assert np.isnan(class_iou(counted(SAID, TRUTH, classes=4).counts)[3])
    assert mean_iou(counted(SAID, TRUTH, classes=4).counts) == mean_iou(counted(SAID, TRUTH).counts)
    invented = SAID.copy()
    invented[0, 0] = 3
    assert class_iou(counted(invented, TRUTH, classes=4).counts)[3] == 0.0


def test_pictures_add_up_by_pixels_one_by_one_or_joined():
    one = counted(SAID, TRUTH)
    one.add(TRUTH, TRUTH)
    other = counted(SAID, TRUTH)
    other.join(counted(TRUTH, TRUTH))
    assert one.counts.tolist() == other.counts.tolist()
    assert one.summary() == other.summary()
    assert one.summary()["photos"] == 2
    # Class 0: 1 + 2 in common, union 3 + 2.
    assert class_iou(one.counts)[0] == pytest.approx(3 / 5)


def test_masks_of_floats_argmax_are_taken_too():
    softmax = np.random.default_rng(0).random((3, 2, 3))
    assert counted(softmax.argmax(axis=0), TRUTH).counts.sum() == 6


def test_a_label_that_is_none_of_the_classes_is_refused():
    with pytest.raises(ValueError, match="label 2 is none of the 2 classes"):
        counted(SAID, TRUTH, classes=2)
    with pytest.raises(ValueError, match="resize the labels"):
        counted(SAID[:1], TRUTH)


def test_nothing_known_scores_nothing_rather_than_failing():
    nothing = counted(SAID, np.full_like(TRUTH, IGNORE))
    assert nothing.summary() == {"miou": 0.0, "pixel_accuracy": 0.0, "photos": 1}

"""A teacher's masks reach the training target in the share asked for, and only where they help."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gnetseg_zoo.datasets.samples import DataError, load_index
from gnetseg_zoo.training.teacher import Teacher
from gnetseg_zoo.training.teacher_masks import mask_name
from PIL import Image


@pytest.fixture
def sample(index):
    return load_index(index, "train")[0]


@pytest.fixture
def teacher(index, sample, tmp_path):
    folder = tmp_path / "teacher"
    folder.mkdir()
    Image.new("L", (48, 64), 100).save(folder / mask_name(sample.image, index.parent))
    return Teacher(folder, index.parent, share=0.25)


def test_the_target_is_the_mean_of_label_and_teacher_in_their_shares(teacher, sample):
    mask = Image.new("L", (48, 64), 200)
    assert set(np.unique(np.asarray(teacher.target(sample, mask)))) == {175}


def test_rooms_and_photos_without_a_teachers_mask_keep_their_label(teacher, sample, index):
    mask = Image.new("L", (48, 64), 200)
    other = load_index(index, "train")[1]
    assert teacher.target(replace(sample, domain="indoor"), mask) is mask
    assert teacher.target(other, mask) is mask


def test_a_teachers_mask_of_another_size_is_named(teacher, sample):
    with pytest.raises(DataError, match=r"0.png.png: is 48x64 but its photo 20x20"):
        teacher.target(sample, Image.new("L", (20, 20)))

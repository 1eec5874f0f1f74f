"""Training pictures of scenes: repeatable, and their labels true."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2")

from gnetseg_zoo.datasets.labels import IGNORE, ClassMap, LabelledPhoto
from gnetseg_zoo.training.rates import Rates
from gnetseg_zoo.training.scenes import SceneBatches, SceneCache, open_scene_cache

CLASSES = ClassMap(names=("dark", "bright"), of_raw={0: 0, 1: 1, 2: IGNORE})
CALM = Rates(rotate=0, tone=0, low_light=0, shade=0, blur=0, noise=0, jpeg=0)


@pytest.fixture
def cache(tmp_path) -> SceneCache:
    """Two scenes, bright where label 1 is; a strip at the left has no label."""
    photos = []
    for n in range(2):
        label = np.zeros((48, 64), np.uint8)
        label[:, 30 + 4 * n :] = 1
        label[:, :6] = 2
        Image.fromarray(np.where(label == 1, 220, 30).astype(np.uint8)).save(tmp_path / f"{n}.png")
        Image.fromarray(label).save(tmp_path / f"{n}_label.png")
        photos.append(LabelledPhoto(tmp_path / f"{n}.png", tmp_path / f"{n}_label.png", "train", "a"))
    for _ in range(2):
        cache = open_scene_cache(tmp_path / "cache", photos, CLASSES, "Y", 64)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    return cache


def test_the_same_seed_and_step_give_the_same_scenes(cache):
    def batch(seed):
        return SceneBatches(cache, Rates(), batch=4, size=32, zoom=1.0, seed=seed)[3]

    (pixels, labels), again, other = batch(1), batch(1), batch(2)
    assert pixels.shape == (4, 1, 32, 32)
    assert labels.shape == (4, 32, 32)
    assert np.array_equal(pixels, again[0])
    assert np.array_equal(labels, again[1])
    assert not np.array_equal(pixels, other[0])


def test_labels_move_with_their_pixels_and_none_is_made_up(cache):
    pixels, labels = SceneBatches(cache, CALM, batch=64, size=32, zoom=2.0, seed=1)[0]
    assert set(np.unique(labels)) == {0, 1, IGNORE}
    bright = pixels[:, 0] > 125
    known = labels != IGNORE
    # Only the edge itself is blurred by drawing the picture in another size.
    assert np.mean(bright[known] == (labels[known] == 1)) > 0.97


def test_the_shares_of_the_classes_leave_out_what_has_no_label(cache):
    dark, bright = cache.shares(2)
    assert dark == pytest.approx((24 + 28) / (58 + 58), abs=0.02)
    assert dark + bright == pytest.approx(1.0)

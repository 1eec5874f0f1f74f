"""Training pictures are random, repeatable, and their targets true."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2")

from gnetseg_zoo.datasets.pictures import PERSON_FROM
from gnetseg_zoo.datasets.samples import DataError, Sample, load_index
from gnetseg_zoo.training.augment import Frame, composite, shape_light, warp
from gnetseg_zoo.training.batches import Batches
from gnetseg_zoo.training.cache import open_cache
from gnetseg_zoo.training.rates import Rates


@pytest.fixture
def batches_of(index, tmp_path):
    samples = load_index(index, "train")
    cache = open_cache(tmp_path / "cache", samples, "Y", 288)

    def make(weights, seed=1):
        return Batches(cache, samples, weights, Rates(), batch=6, size=32, seed=seed)

    return make


def test_the_same_seed_and_step_give_the_same_pictures(batches_of):
    weights = {"made_up": 1.0, "empty:rooms": 1.0}
    first, again, other = batches_of(weights)[7], batches_of(weights)[7], batches_of(weights, seed=2)[7]
    assert first[0].shape == first[1].shape == (6, 1, 32, 32)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_person_free_photos_have_empty_targets_even_with_decoys(batches_of):
    batches = batches_of({"empty:rooms": 1.0, "made_up": 1e-9})
    assert not any(batches[step][1].any() for step in range(10))


def test_an_unknown_source_is_named_with_those_that_exist(batches_of):
    with pytest.raises(DataError, match="names coco, which the index lacks; it has empty:rooms, made_up"):
        batches_of({"coco": 1.0})


def test_photo_and_mask_are_moved_alike():
    picture = np.zeros((40, 60), np.uint8)
    picture[10:20, 30:40] = 255
    frame = Frame(x=35, y=15, side=20, turn=0, mirror=True)
    out = warp(picture, frame, 20)
    assert out[10, 10] == 255
    assert out[1, 1] == 0


def test_the_cache_is_built_once_and_gives_what_was_stored(index, tmp_path):
    samples = load_index(index, "train")
    for _ in range(2):
        cache = open_cache(tmp_path / "cache", samples, "RGB", 288)
        assert cache.photo(0).shape == (64, 48, 3)
        assert cache.mask(0).max() == 255
        assert not cache.mask(3).any()
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_mask_that_was_mended_reaches_training(index, tmp_path):
    samples = load_index(index, "train")
    before = open_cache(tmp_path / "cache", samples, "Y", 288).mask(0).mean()
    assert samples[0].mask is not None
    Image.new("1", (48, 64), 1).save(samples[0].mask)
    assert open_cache(tmp_path / "cache", samples, "Y", 288).mask(0).mean() > before


def test_a_full_disk_leaves_no_half_a_cache(index, tmp_path, monkeypatch):
    samples = load_index(index, "train")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gnetseg_zoo.training.cache._fill", full)
    with pytest.raises(DataError, match="make room there"):
        open_cache(tmp_path / "cache", samples, "Y", 288)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_light_of_a_grey_picture_changes_and_it_stays_grey():
    grey = np.full((32, 32, 3), 128, np.uint8)
    rates = Rates(low_light=1, tone=1, shade=1, noise=0, jpeg=0)
    out = shape_light(np.random.default_rng(1), grey, rates, yuv=True)
    assert abs(int(out[..., 0].mean()) - 128) > 20
    assert np.abs(out[..., 1:].astype(int) - 128).max() <= 1


def test_a_person_in_another_light_keeps_the_colour():
    person = np.full((32, 32, 3), (60, 100, 150), np.uint8)
    background = np.full((32, 32, 3), (220, 128, 128), np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    for seed in range(8):
        out = composite(np.random.default_rng(seed), person, mask, background, yuv=True)
        assert tuple(out[16, 16, 1:]) == (100, 150)


@pytest.fixture
def column_of(tmp_path):
    """A photo of a white column on black, which is the person; or an all-black one without a person."""
    mask = np.zeros((60, 40), np.uint8)
    mask[5:55, 15:25] = 255

    def make(name: str, domain: str, source: str) -> Sample:
        there = domain != "empty"
        path = tmp_path / f"{name}.png"
        Image.fromarray(mask if there else np.zeros_like(mask)).save(path)
        return Sample(path, path if there else None, domain, source, "", "", name, "train")

    return make


ONLY_GROUPS = Rates(group=1.0, composite=0, tone=0, low_light=0, shade=0, blur=0, noise=0, jpeg=0)


def groups_of(samples, weights, folder):
    cache = open_cache(folder, samples, "Y", 64)
    return Batches(cache, samples, weights, ONLY_GROUPS, batch=16, size=64, seed=3)


def test_persons_of_a_group_stand_apart_and_all_count(column_of, tmp_path):
    samples = [column_of("a", "fullbody", "made"), column_of("b", "empty", "made")]
    pixels, targets = groups_of(samples, {"made": 1.0, "empty:made": 1e-9}, tmp_path / "cache")[0]
    shares = (targets >= PERSON_FROM).mean(axis=(1, 2, 3))
    assert 0.005 < shares.min() < shares.max() < 0.6
    assert shares.max() > 3 * shares.min()
    # Their light may be moved to 60 % of the way to the dark room's.
    assert ((pixels > 50) == (targets >= PERSON_FROM)).mean() > 0.99
    # The smallest is far away: it ends above the lower edge.
    assert not targets[shares.argmin(), 0, -1].any()


def test_without_a_person_free_photo_there_are_no_groups(column_of, tmp_path):
    samples = [column_of("a", "fullbody", "made")]
    _, targets = groups_of(samples, {"made": 1.0}, tmp_path / "cache")[0]
    assert (targets >= PERSON_FROM).mean() > 0.05


def test_nothing_of_a_source_without_weight_reaches_a_picture(column_of, tmp_path):
    """Of the two sources one is all white: no picture may hold it, as a person or as a room."""
    samples = [column_of("a", "fullbody", "made"), column_of("b", "empty", "made")]
    for name, domain in (("c", "fullbody"), ("d", "empty")):
        other = column_of(name, domain, "other")
        Image.fromarray(np.full((60, 40), 255, np.uint8)).save(other.image)
        samples.append(other)
    batches = groups_of(samples, {"made": 1.0, "empty:made": 0.5}, tmp_path / "cache")
    for step in range(3):
        pixels, targets = batches[step]
        assert (targets >= PERSON_FROM).mean(axis=(1, 2, 3)).max() < 0.7
        assert (pixels[targets == 0] < 128).mean() > 0.99

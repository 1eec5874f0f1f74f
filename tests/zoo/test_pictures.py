"""Photos become the network's input by the protocol of the scores."""

from __future__ import annotations

import numpy as np
import pytest
from gnetseg_zoo.datasets.pictures import hard_mask, network_input, open_pair
from gnetseg_zoo.datasets.samples import DataError, load_index
from PIL import Image


def test_the_input_is_the_centre_square_by_the_mean_of_areas():
    columns = np.repeat(np.arange(8, dtype=np.uint8) * 10, 4)[None].repeat(16, axis=0)
    pixels = network_input(Image.fromarray(columns), 4)
    assert pixels.shape == (4, 4, 1)
    assert pixels[0, :, 0].tolist() == [20, 30, 40, 50]


def test_luminance_is_bt601_full_range(tmp_path, index):
    Image.new("RGB", (48, 64), (255, 0, 0)).save(tmp_path / "0.png")
    photo, _ = open_pair(load_index(index)[0], "Y")
    assert photo.getpixel((0, 0)) == 76


def test_a_mask_pixel_is_a_person_from_128_on():
    soft = Image.fromarray(np.array([[0, 127], [128, 255]], np.uint8))
    assert hard_mask(soft, 2).tolist() == [[False, False], [True, True]]


def test_a_photo_without_mask_is_all_background(index):
    photo, mask = open_pair(load_index(index)[-1], "RGB")
    assert mask.size == photo.size
    assert not np.asarray(mask).any()


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path, index):
    Image.new("L", (10, 10)).save(tmp_path / "0_mask.png")
    with pytest.raises(DataError, match=r"0_mask\.png: the mask is 10x10 but its photo 0\.png is 48x64"):
        open_pair(load_index(index)[0], "Y")


def test_a_photo_that_cannot_be_decoded_is_named(tmp_path, index):
    (tmp_path / "0.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"0\.png: cannot be decoded"):
        open_pair(load_index(index)[0], "Y")


def test_a_damaged_mask_is_named(tmp_path, index):
    whole = (tmp_path / "0_mask.png").read_bytes()
    (tmp_path / "0_mask.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"0_mask\.png: cannot be decoded"):
        open_pair(load_index(index)[0], "Y")


def test_a_photo_cut_short_is_named_rather_than_filled_with_grey(tmp_path, index):
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "0.png", "JPEG")
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"0\.png: cannot be decoded"):
        open_pair(load_index(index)[0], "Y")


def test_a_picture_of_an_absurd_size_is_named_rather_than_decoded(index, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"0\.png: cannot be decoded"):
        open_pair(load_index(index)[0], "Y")

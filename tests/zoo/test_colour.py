"""A network for YUV becomes one for RGB by a change of its first convolution."""

from __future__ import annotations

import numpy as np
import pytest
from gnetseg_zoo.colour import OFFSET, YUV_OF_RGB, to_rgb, to_yuv
from PIL import Image


def convolve_inside(kernel, bias, picture):
    """A 3x3 convolution without padding: [out, h - 2, w - 2] of a picture [3, h, w]."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, (3, 3), axis=(1, 2))
    return np.einsum("oihw,iyxhw->oyx", kernel, windows) + bias[:, None, None]


@pytest.fixture
def first_layer():
    rng = np.random.default_rng(3)
    return rng.standard_normal((8, 3, 3, 3)) / 255, rng.standard_normal(8)


def test_both_networks_agree_on_one_picture(first_layer):
    rgb = np.random.default_rng(4).integers(0, 256, (3, 20, 24)).astype(np.float64)
    yuv = np.einsum("yc,chw->yhw", YUV_OF_RGB, rgb) + OFFSET[:, None, None]
    ours = convolve_inside(*to_rgb(*first_layer), rgb)
    np.testing.assert_allclose(ours, convolve_inside(*first_layer, yuv), atol=1e-9)


def test_there_and_back_is_the_same_network(first_layer):
    kernel, bias = to_yuv(*to_rgb(*first_layer))
    np.testing.assert_allclose(kernel, first_layer[0], atol=1e-12)
    np.testing.assert_allclose(bias, first_layer[1], atol=1e-9)


def test_the_matrix_is_the_one_that_pictures_are_decoded_with():
    rgb = np.random.default_rng(5).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    decoded = np.asarray(Image.fromarray(rgb).convert("YCbCr"), dtype=np.float64)
    ours = rgb.astype(np.float64) @ YUV_OF_RGB.T + OFFSET
    assert np.abs(ours - decoded).max() <= 1.0


def test_a_grey_first_layer_is_refused():
    with pytest.raises(ValueError, match=r"\[out, 3, height, width\].*given \[8, 1, 3, 3\]"):
        to_rgb(np.zeros((8, 1, 3, 3)), np.zeros(8))

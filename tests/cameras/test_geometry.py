from __future__ import annotations

import pytest

from gnetsegd.cameras.geometry import Rect, fit
from gnetsegd.errors import ConfigError

SIZES = [(640, 480), (480, 640), (224, 224), (1920, 1080), (641, 481), (31, 500), (1, 1), (3, 2)]


@pytest.mark.parametrize(
    ("source", "frame", "cut"),
    [
        ((640, 480), (224, 224), Rect(80, 0, 480, 480)),
        ((480, 640), (224, 224), Rect(0, 80, 480, 480)),
        ((224, 224), (224, 224), Rect(0, 0, 224, 224)),
        ((640, 480), (320, 160), Rect(0, 80, 640, 320)),
    ],
)
def test_center_crop_cuts_the_middle_and_fills_the_frame(source, frame, cut):
    fitted = fit("center-crop", *source, *frame)
    assert fitted.source == cut
    assert fitted.inner == Rect(0, 0, *frame)
    assert fitted.geometry.x == cut.x / source[0]
    assert fitted.geometry.y == cut.y / source[1]
    assert fitted.geometry.width == cut.width / source[0]
    assert fitted.geometry.height == cut.height / source[1]


@pytest.mark.parametrize(
    ("source", "inner"),
    [
        ((640, 480), Rect(0, 28, 224, 168)),
        ((480, 640), Rect(28, 0, 168, 224)),
        ((9, 9), Rect(0, 0, 224, 224)),
    ],
)
def test_letterbox_shows_the_whole_picture_with_padding_around(source, inner):
    fitted = fit("letterbox", *source, 224, 224)
    assert fitted.source == Rect(0, 0, *source)
    assert fitted.inner == inner
    # The region reaches beyond the picture by as much as there is padding.
    assert fitted.geometry.x == pytest.approx(-inner.x / inner.width)
    assert fitted.geometry.y == pytest.approx(-inner.y / inner.height)
    assert fitted.geometry.width == pytest.approx(224 / inner.width)
    assert fitted.geometry.height == pytest.approx(224 / inner.height)


def test_stretch_shows_the_whole_picture_in_the_whole_frame():
    fitted = fit("stretch", 640, 480, 224, 224)
    assert (fitted.geometry.x, fitted.geometry.y) == (0, 0)
    assert (fitted.geometry.width, fitted.geometry.height) == (1, 1)
    assert (fitted.geometry.sensor_width, fitted.geometry.sensor_height) == (640, 480)


@pytest.mark.parametrize("mode", ["center-crop", "letterbox", "stretch"])
@pytest.mark.parametrize("source", SIZES)
@pytest.mark.parametrize("frame", [(224, 224), (320, 240), (64, 128)])
def test_every_size_is_fitted_within_its_bounds(mode, source, frame):
    fitted = fit(mode, *source, *frame)
    for rect, (width, height) in ((fitted.source, source), (fitted.inner, frame)):
        assert rect.x >= 0
        assert rect.y >= 0
        assert 0 < rect.width <= width - rect.x
        assert 0 < rect.height <= height - rect.y
        # Chroma of two pixels is one sample: nothing begins between them.
        assert rect.x % 2 == rect.y % 2 == 0


@pytest.mark.parametrize("mode", ["center-crop", "letterbox"])
def test_nothing_is_distorted_by_more_than_the_rounding_to_even_pixels(mode):
    for source in [(640, 480), (1920, 1080), (641, 481)]:
        fitted = fit(mode, *source, 224, 224)
        step_x = fitted.source.width / fitted.inner.width
        step_y = fitted.source.height / fitted.inner.height
        assert step_x == pytest.approx(step_y, rel=0.01)


def test_an_unknown_mode_is_refused_with_what_is_allowed():
    with pytest.raises(ConfigError, match="center-crop, letterbox, stretch"):
        fit("zoom", 640, 480, 224, 224)

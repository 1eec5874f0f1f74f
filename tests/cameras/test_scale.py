from __future__ import annotations

import numpy as np
import pytest

from gnetsegd.cameras.scale import Scaler
from gnetsegd.errors import ConfigError
from gnetsegd.frame import PIXEL_FORMATS, FrameSpec

from .helpers import av, picture_of

pytestmark = pytest.mark.runtime

tells_range = hasattr(av.VideoFrame, "color_range")


def flat(level, av_name="yuv420p", size=(64, 48), chroma=(128, 128)):
    return picture_of(np.full(size[::-1], level, np.uint8), av_name, chroma)


def scaled(picture, spec, mode="stretch", **source):
    pixels = np.zeros(spec.shape, np.uint8)
    Scaler(spec, mode, **source).scale(picture, pixels)
    return pixels


def limited_yuv(red, green, blue, kr, kb):
    """Y, Cb, Cr in limited range, of R, G, B from 0 to 255."""
    y = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))
    return round(16 + y * 219 / 255), round(128 + cb * 224 / 255), round(128 + cr * 224 / 255)


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (16, 16)], ids=["same size", "shrunk", "enlarged"])
@pytest.mark.parametrize("av_name", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize(("given", "expanded"), [(16, 0), (126, 128), (235, 255), (60, 51)])
def test_limited_range_is_expanded_to_full_range_at_every_size(size, av_name, given, expanded):
    pixels = scaled(flat(given, av_name, size), FrameSpec(32, 32))
    assert abs(pixels.astype(int) - expanded).max() <= 1


@pytest.mark.parametrize("size", [(32, 32), (64, 48)], ids=["same size", "shrunk"])
@pytest.mark.parametrize("av_name", ["yuvj420p", "gray"])
@pytest.mark.parametrize("given", [0, 16, 128, 240, 255])
def test_full_range_stays_as_it_is(size, av_name, given):
    pixels = scaled(flat(given, av_name, size), FrameSpec(32, 32))
    assert abs(pixels.astype(int) - given).max() <= 1


@pytest.mark.skipif(not tells_range, reason="this PyAV does not know ranges; FFmpeg does (see the next test)")
@pytest.mark.parametrize("size", [(32, 32), (64, 48)], ids=["same size", "shrunk"])
@pytest.mark.parametrize(("tag", "expanded"), [(1, 128), (2, 126)], ids=["limited", "full"])
def test_the_range_that_a_picture_is_tagged_with_counts(size, tag, expanded):
    picture = flat(126, "yuv420p", size)
    picture.color_range = tag
    assert abs(scaled(picture, FrameSpec(32, 32)).astype(int) - expanded).max() <= 1


@pytest.mark.parametrize("size", [(32, 32), (64, 48)], ids=["same size", "shrunk"])
@pytest.mark.parametrize(("source_range", "expanded"), [("limited", 128), ("full", 126)])
def test_the_range_can_be_told(size, source_range, expanded):
    pixels = scaled(flat(126, "nv12", size, (128, 128)), FrameSpec(32, 32), source_range=source_range)
    assert abs(pixels.astype(int) - expanded).max() <= 1


@pytest.mark.parametrize("size", [(32, 32), (64, 48)], ids=["same size", "shrunk"])
@pytest.mark.parametrize("rgb", [(220, 60, 40), (50, 180, 60), (60, 60, 200), (200, 200, 200)])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_the_luminance_is_that_of_bt601_whatever_the_picture_used(size, rgb, matrix):
    red, green, blue = rgb
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    y, cb, cr = limited_yuv(*rgb, kr, kb)
    pixels = scaled(flat(y, "yuv420p", size, (cb, cr)), FrameSpec(32, 32), source_matrix=matrix)
    assert abs(pixels.astype(int) - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 3


@pytest.mark.skipif(not tells_range, reason="this PyAV cannot tag a picture")
@pytest.mark.parametrize("size", [(32, 32), (64, 48)], ids=["same size", "shrunk"])
def test_a_picture_tagged_bt709_is_converted(size):
    y, cb, cr = limited_yuv(220, 60, 40, 0.2126, 0.0722)
    picture = flat(y, "yuv420p", size, (cb, cr))
    picture.colorspace, picture.color_range = 1, 1
    assert abs(scaled(picture, FrameSpec(32, 32)).astype(int) - 105.6).max() <= 2


@pytest.mark.skipif(not tells_range, reason="this PyAV cannot tag a picture")
def test_a_picture_in_full_range_but_bt709_is_not_taken_as_it_is():
    # Red: 90 by BT.709, but 106 by BT.601.
    picture = flat(90, "yuv420p", (32, 32), (101, 211))
    picture.colorspace, picture.color_range = 1, 2
    assert abs(scaled(picture, FrameSpec(32, 32)).astype(int) - 106).max() <= 3


@pytest.mark.parametrize("rgb", [(220, 60, 40), (50, 180, 60), (60, 60, 200)])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_colours_are_right_in_every_pixel_format(rgb, matrix):
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    y, cb, cr = limited_yuv(*rgb, kr, kb)
    red, green, blue = rgb
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    want_cb, want_cr = 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402
    picture = flat(y, "yuv420p", (64, 48), (cb, cr))
    got = {name: scaled(picture, FrameSpec(32, 32, name), source_matrix=matrix) for name in PIXEL_FORMATS}
    assert abs(got["RGB"].reshape(-1, 3).astype(int) - rgb).max() <= 3
    assert abs(got["YUV444"].reshape(-1, 3).astype(int) - (luma, want_cb, want_cr)).max() <= 3
    planar = got["YUV420"].reshape(-1).astype(int)
    assert abs(planar[: 32 * 32] - luma).max() <= 3
    assert abs(planar[32 * 32 : 32 * 40] - want_cb).max() <= 3
    assert abs(planar[32 * 40 :] - want_cr).max() <= 3


def test_rgb_pictures_become_their_luminance():
    picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), (220, 60, 40), np.uint8), format="rgb24")
    assert abs(scaled(picture, FrameSpec(32, 32)).astype(int) - 105.6).max() <= 2


def test_shrinking_averages_over_areas():
    # One white column in four: point sampling gives 0 or 255, an average gives a quarter.
    luma = np.zeros((64, 64), np.uint8)
    luma[:, ::4] = 255
    pixels = scaled(picture_of(luma, "gray"), FrameSpec(16, 16))
    assert abs(pixels.astype(int) - 64).max() <= 2


@pytest.mark.parametrize("width", [32, 34, 50])
def test_a_ready_picture_is_copied_exactly_whatever_its_stride(width):
    luma = np.random.default_rng(0).integers(0, 255, (32, width), dtype=np.uint8)
    picture = picture_of(luma, "gray")
    assert np.array_equal(scaled(picture, FrameSpec(width, 32)), luma)


@pytest.mark.parametrize("av_name", ["gray", "gbrp"])
@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
@pytest.mark.parametrize("told", ["auto", "limited"])
def test_grey_and_planar_rgb_of_the_right_size_are_copied_only_into_their_own_format(
    av_name, pixel_format, told, monkeypatch
):
    # Whatever range was told: it is that of luminance beside chroma, and these have none.
    random = np.random.default_rng(0)
    green, blue, red = random.integers(0, 255, (3, 32, 34), dtype=np.uint8)
    picture = av.VideoFrame(34, 32, av_name)
    for plane, samples in zip(picture.planes, (green, blue, red), strict=False):
        np.frombuffer(plane, np.uint8).reshape(32, plane.line_size)[:, :34] = samples
    spec = FrameSpec(34, 32, pixel_format)
    scaler, pixels = Scaler(spec, "stretch", source_range=told), np.zeros(spec.shape, np.uint8)
    scaler.fit(picture)
    graph, converted = scaler._graph, []

    class Graph:
        def push(self, pushed):
            converted.append(pushed)
            graph.push(pushed)

        pull = graph.pull

    monkeypatch.setattr(scaler, "_graph", Graph())
    scaler.scale(picture, pixels)
    own = {"gray": "Y", "gbrp": "RGB"}[av_name]
    assert converted == ([] if pixel_format == own else [picture])
    if pixel_format == own:
        assert np.array_equal(pixels, green if own == "Y" else np.dstack([red, green, blue]))
    elif av_name == "gbrp":
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        made = pixels[:32] if pixels.ndim == 2 else pixels[..., 0]
        assert abs(made - luma).max() <= 4
    else:
        made = pixels[:32] if pixels.ndim == 2 else pixels[..., 0]
        assert abs(made.astype(int) - green).max() <= 2


def test_center_crop_takes_the_middle():
    luma = np.zeros((32, 64), np.uint8)
    luma[:, 16:48] = 200
    luma[:, :2] = luma[:, -2:] = 90
    assert (scaled(picture_of(luma, "gray"), FrameSpec(32, 32), "center-crop") == 200).all()


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_a_letterbox_is_padded_with_mid_grey_around_the_whole_picture(pixel_format):
    spec = FrameSpec(32, 32, pixel_format)
    pixels = np.full(spec.shape, 77, np.uint8)  # a slot that was used before
    Scaler(spec, "letterbox").scale(flat(235, "yuv420p", (64, 32)), pixels)
    planes = {
        "Y": lambda: [pixels],
        "YUV420": lambda: [pixels[:32]],
        "YUV444": lambda: [pixels[..., 0]],
        "RGB": lambda: [pixels[..., channel] for channel in range(3)],
    }[pixel_format]()
    for plane in planes:
        assert (plane[:8] == 128).all()
        assert (plane[24:] == 128).all()
        assert (plane[8:24] >= 254).all()
    if pixel_format == "YUV420":
        assert (abs(pixels[32:].astype(int) - 128) <= 1).all()


def test_one_scaler_takes_pictures_of_changing_size_and_format():
    scaler, pixels = Scaler(FrameSpec(32, 32), "center-crop"), np.zeros((32, 32), np.uint8)
    for level, av_name, size in [
        (126, "yuv420p", (64, 48)),
        (99, "gray", (32, 32)),
        (126, "nv12", (100, 64)),
    ]:
        scaler.scale(flat(level, av_name, size), pixels)
        assert abs(pixels.astype(int) - (128 if level == 126 else 99)).max() <= 1


@pytest.mark.parametrize("size", [(63, 47), (33, 32), (2, 2)])
def test_odd_sizes_are_taken(size):
    for mode in ("center-crop", "letterbox", "stretch"):
        pixels = scaled(flat(126, "yuv420p", size), FrameSpec(32, 32), mode)
        assert abs(pixels.astype(int) - 128).max() <= 1


def test_yuv420_of_odd_size_is_refused():
    with pytest.raises(ConfigError, match="even size"):
        Scaler(FrameSpec(33, 32, "YUV420"), "stretch")

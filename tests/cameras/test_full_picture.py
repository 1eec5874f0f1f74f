"""People see the picture of the very frame, whole, in colour and upright; the road loses nothing by it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from gnetsegd.cameras import jpeg as module
from gnetsegd.cameras.full_picture import FullPicture, of_frame, whole_sensor
from gnetsegd.cameras.geometry import View
from gnetsegd.cameras.jpeg import JpegEncoder, completed
from gnetsegd.cameras.picamera2 import Picamera2Camera
from gnetsegd.cameras.turn import UPRIGHT, Turn
from gnetsegd.cameras.v4l2 import V4l2Camera, V4l2Options
from gnetsegd.cameras.video import VideoCamera, VideoOptions
from gnetsegd.frame import Frame, FrameSpec, Geometry
from gnetsegd.testing import fake_picamera2
from gnetsegd.testing.fake_v4l2 import FakeWebcam, luminance

from .helpers import av, level, picture_of

pytestmark = pytest.mark.runtime

WHOLE = Geometry("stretch", 0.0, 0.0, 1.0, 1.0, 64, 48)
TURNS = [Turn(rotation, mirrored) for rotation in (0, 90, 180, 270) for mirrored in (False, True)]


def shown(jpeg):
    """The upright picture of a JPEG as everybody sees it: RGB."""
    return np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg.data))).convert("RGB"))


def corners():
    """(48, 64, 3): red, green, blue and grey in the four quarters, from the top left."""
    picture = np.empty((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:] = (200, 20, 20), (20, 180, 20)
    picture[24:, :32], picture[24:, 32:] = (20, 20, 200), (120, 120, 120)
    return picture


def upright(picture, turn):
    """What ``turn`` makes of a picture, by numpy."""
    return np.rot90(picture[:, ::-1] if turn.mirrored else picture, -turn.rotation // 90)


def own_jpeg(picture, **options):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling=0, **options)
    return file.getvalue()


def segments(data):
    """(marker, bytes) of each segment up to the picture, and where that begins."""
    at, found = 2, []
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((data[at + 1], data[at : at + 2 + length]))
        at += 2 + length
    return found, at


# -- encoding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixel_format", ["Y", "YUV420", "YUV444", "RGB"])
def test_the_networks_own_picture_becomes_a_jpeg_of_its_colours(pixel_format):
    frame = Frame(FrameSpec(64, 48, pixel_format), 10)
    if pixel_format == "Y":
        frame.pixels[:] = 77
        want = (77, 77, 77)
    elif pixel_format == "RGB":
        frame.pixels[:] = (200, 40, 30)
        want = (200, 40, 30)
    else:
        planes = (90, 110, 170)
        if pixel_format == "YUV444":
            frame.pixels[:] = planes
        else:
            frame.pixels[:48], frame.pixels[48:60], frame.pixels[60:] = planes
        want = (149, 66, 58)  # BT.601, full range
    picture = of_frame(frame, WHOLE)
    frame.pixels[:] = 0  # the slot is used again
    encoded = JpegEncoder(640, 2).encode(picture)
    pixels = shown(encoded)
    assert (encoded.width, encoded.height) == pixels.shape[1::-1] == (64, 48)
    assert abs(pixels.astype(int) - want).max() <= 4


@pytest.mark.parametrize("turn", TURNS)
def test_a_picture_is_turned_as_the_mask_is(turn):
    image = av.VideoFrame.from_ndarray(corners(), format="rgb24")
    want = upright(corners(), turn)
    geometry = Geometry("stretch", 0.0, 0.0, 1.0, 1.0, want.shape[1], want.shape[0])
    encoded = JpegEncoder(0, 2).encode(FullPicture(image, geometry, View(turn)))
    pixels = shown(encoded)
    assert pixels.shape == want.shape
    assert np.median(abs(pixels.astype(int) - want)) <= 6
    assert abs(pixels[8, 8].astype(int) - want[8, 8]).max() <= 25


@pytest.mark.parametrize(
    ("width_max", "aspect", "size"),
    [(0, 1, (640, 360)), (320, 1, (320, 180)), (900, 1, (640, 360)), (320, 2, (320, 90))],
)
def test_a_picture_is_as_wide_as_asked_and_never_wider_than_it_is(width_max, aspect, size):
    image = picture_of(np.full((360, 640), 100, np.uint8))
    geometry = Geometry("stretch", 0.0, 0.0, 1.0, 1.0, 640 * aspect, 360)
    encoded = JpegEncoder(width_max, 5).encode(FullPicture(image, geometry, View(UPRIGHT, aspect)))
    assert (encoded.width, encoded.height) == shown(encoded).shape[1::-1] == size


def test_pictures_of_other_sizes_and_ranges_follow_each_other():
    encoder = JpegEncoder(0, 2)
    for size, source_range, want in (
        ((64, 48), "full", 100),
        ((32, 32), "limited", 98),
        ((64, 48), "full", 100),
    ):
        image = picture_of(np.full(size[::-1], 100, np.uint8))
        geometry = Geometry("stretch", 0.0, 0.0, 1.0, 1.0, *size)
        pixels = shown(encoder.encode(FullPicture(image, geometry, View(), source_range, "bt601")))
        assert pixels.shape == (*size[::-1], 3)
        assert abs(pixels.astype(int) - want).max() <= 2


# -- a webcam's own -------------------------------------------------------------------------------


def test_a_webcams_own_jpeg_goes_through_unchanged():
    data = own_jpeg(corners())
    assert completed(data, UPRIGHT) == (data, 64, 48)


@pytest.mark.parametrize("turn", TURNS[1:])
def test_of_a_camera_that_is_mounted_otherwise_only_the_orientation_is_added(turn):
    data = own_jpeg(corners(), exif=b"Exif\0\0" + bytes(8))  # one of its own would be against ours
    made = completed(data, turn)
    want = upright(corners(), turn)
    assert (made.width, made.height) == want.shape[1::-1]
    assert np.median(abs(shown(made).astype(int) - want)) <= 4
    (before, start), (after, new_start) = segments(data), segments(made.data)
    assert made.data[new_start:] == data[start:], "its pixels are not touched"
    assert after[1:] == [segment for segment in before if segment[0] != 0xE1]


def test_huffman_tables_that_a_webcam_leaves_out_are_put_in():
    found, start = segments(own_jpeg(corners()))
    data = own_jpeg(corners())
    bare = b"\xff\xd8" + b"".join(part for marker, part in found if marker != 0xC4) + data[start:]
    made = completed(bare, UPRIGHT)
    assert np.array_equal(shown(made), shown(completed(data, UPRIGHT)))


@pytest.mark.parametrize("cut", [0, 1, 3, 10, 150, 600])
def test_what_is_no_jpeg_is_no_picture(cut):
    data = own_jpeg(corners())
    start = segments(data)[1]
    for damaged in (
        data[: min(cut, start)],
        b"\0" * cut + data[cut:] if cut else b"",
        data[:2] + data[start:],
    ):
        with pytest.raises(ValueError, match="a webcam's JPEG"):
            completed(damaged, UPRIGHT)


def test_a_jpeg_of_endless_segments_is_given_up():
    data = b"\xff\xd8" + b"\xff\xfe\0\2" * (module._SEGMENTS_MAX + 10)
    with pytest.raises(ValueError, match="has no picture"):
        completed(data, UPRIGHT)


# -- cameras --------------------------------------------------------------------------------------


def test_a_films_picture_is_that_of_the_frame(make_clip, frame, request_of):
    camera = VideoCamera(VideoOptions(path=str(make_clip(size=(96, 64)))))
    info = camera.open(request_of(frame.spec, geometry="center-crop"))
    camera.capture(frame)
    assert camera.picture() is None, "nobody wanted it"
    camera.wants_picture = True
    for _ in range(3):
        camera.capture(frame)
        picture = camera.picture()
        assert picture is not None
        assert (
            (picture.geometry.x, picture.geometry.width)
            == (0.0, 1.0)
            != (info.geometry.x, info.geometry.width)
        )
        pixels = shown(JpegEncoder(0, 2).encode(picture))
        assert pixels.shape == (64, 96, 3)
        assert abs(pixels.astype(int) - level(frame.sequence)).max() <= 4
        assert camera.picture() is None, "each is given once"
    camera.close()


def opened(webcam, request, **options):
    camera = V4l2Camera(V4l2Options(**options), webcam.open, webcam.clock)
    camera.open(request)
    return camera


@pytest.mark.parametrize(
    "name", ["NV12", "NV21", "YU12", "YV12", "YUYV", "UYVY", "YVYU", "NV16", "422P", "GREY", "Y16 "]
)
def test_a_webcams_raw_picture_is_that_of_the_frame_though_luminance_alone_was_read(name, request_of):
    webcam = FakeWebcam((name,), ((64, 48),), pad_stride=32)
    frame = Frame(FrameSpec(32, 32), 10)
    camera = opened(webcam, request_of(frame.spec), range="full")
    camera.wants_picture = True
    for _ in range(6):
        camera.capture(frame)
        picture = camera.picture()
        assert picture is not None
        pixels = shown(JpegEncoder(0, 2).encode(picture)).astype(int)
        luma = pixels @ (0.299, 0.587, 0.114)
        assert np.median(abs(luma - luminance(frame.sequence, 64, 48))) <= 6
        if name in ("NV12", "NV21", "YU12", "YV12"):  # Cb and Cr of the fake: blue less, red more
            assert np.median(pixels[..., 0] - luma) == pytest.approx(1.402 * 32, abs=8)
            assert np.median(pixels[..., 2] - luma) == pytest.approx(1.772 * -38, abs=8)
    camera.close()
    assert (webcam.opened, webcam.mapped) == (0, 0)


def test_a_webcams_buffer_goes_back_whether_its_picture_is_asked_for_or_not(request_of):
    webcam = FakeWebcam(("YUYV",), ((64, 48),))
    frame = Frame(FrameSpec(32, 32), 10)
    camera = opened(webcam, request_of(frame.spec), buffer_count=2)
    for number in range(40):
        camera.wants_picture = number % 7 < 4
        camera.capture(frame)
        if number % 2:
            camera.picture()
    assert frame.sequence == 39, "none was lost for want of a buffer"
    camera.wants_picture = True
    camera.capture(frame)
    camera.close()
    assert (webcam.opened, webcam.mapped) == (0, 0)


def test_a_webcams_motion_jpeg_is_given_as_it_came(request_of):
    webcam = FakeWebcam(("MJPG",), ((64, 48),))
    sent = []

    def jpeg_of(luma):
        sent.append(own_jpeg(np.dstack([luma] * 3)))
        return sent[-1]

    webcam.jpeg = jpeg_of
    frame = Frame(FrameSpec(32, 32), 10)
    camera = opened(webcam, request_of(frame.spec))
    camera.wants_picture = True
    for _ in range(3):
        camera.capture(frame)
        picture = camera.picture()
        assert picture is not None
        assert JpegEncoder(16, 31).encode(picture).data == sent[-1]
    camera.close()


def test_a_webcam_that_is_pulled_before_its_picture_is_read_tells_so_at_the_next_frame(request_of):
    webcam = FakeWebcam(("YUYV",), ((64, 48),))
    frame = Frame(FrameSpec(32, 32), 10)
    camera = opened(webcam, request_of(frame.spec))
    camera.wants_picture = True
    camera.capture(frame)
    webcam.vanished = True
    assert camera.picture() is not None, "it was taken before"
    with pytest.raises(Exception, match="unplugged"):
        camera.capture(frame)
    camera.close()
    assert (webcam.opened, webcam.mapped) == (0, 0)


@pytest.fixture
def rig():
    with fake_picamera2.installed(fake_picamera2.Rig()) as made:
        yield made


@pytest.mark.parametrize(
    ("geometry", "large", "region"),
    [
        ("center-crop", (640, 640), (1160 / 3280, 752 / 2464, 960 / 3280, 960 / 2464)),
        ("letterbox", (640, 480), (1000 / 3280, 752 / 2464, 1280 / 3280, 960 / 2464)),
    ],
)
def test_the_pi_camera_gives_a_second_larger_stream_of_the_same_frame(
    rig, request_of, geometry, large, region
):
    options = {"sensor_width": 640, "sensor_height": 480}
    camera = Picamera2Camera(Picamera2Camera.Options(**options))
    frame = Frame(FrameSpec(224, 224), 10)
    camera.open(request_of(frame.spec, fps=30, geometry=geometry)._replace(picture_width=640))
    config = rig.cameras[0].camera_config
    assert (config["main"]["size"], config["lores"]["size"][0]) == (large, 224)
    camera.wants_picture = True
    for _ in range(6):
        camera.capture(frame)
        inner = frame.pixels[(224 - config["lores"]["size"][1]) // 2 :][: config["lores"]["size"][1]]
        assert np.array_equal(inner, fake_picamera2.luminance(frame.sequence, *config["lores"]["size"]))
        picture = camera.picture()
        assert picture is not None
        assert tuple(
            getattr(picture.geometry, side) for side in ("x", "y", "width", "height")
        ) == pytest.approx(region)
        pixels = shown(JpegEncoder(0, 2).encode(picture))
        assert pixels.shape[1::-1] == large
        width, height = large
        # Its formula of chroma would leave the colours there are: luminance is compared where it does not.
        plane = np.frombuffer(picture.image.planes[0], np.uint8).reshape(
            -1, picture.image.planes[0].line_size
        )
        assert np.array_equal(plane[:height, :width], fake_picamera2.luminance(frame.sequence, width, height))
        assert rig.outstanding == 0
    camera.capture(frame)
    assert rig.outstanding == 1
    camera.close()
    assert rig.outstanding == 0


def test_the_pi_camera_without_pictures_has_the_one_small_stream(rig, request_of):
    camera = Picamera2Camera()
    frame = Frame(FrameSpec(224, 224), 10)
    camera.open(request_of(frame.spec, fps=30))
    assert rig.cameras[0].camera_config["lores"] is None
    camera.wants_picture = True
    camera.capture(frame)
    assert (camera.picture(), rig.outstanding) == (None, 0)
    camera.close()


def test_a_network_in_rgb_leaves_the_isp_no_second_stream(rig, request_of):
    camera = Picamera2Camera()
    camera.open(request_of(FrameSpec(224, 224, "RGB"), fps=30)._replace(picture_width=640))
    assert rig.cameras[0].camera_config["lores"] is None
    camera.close()


def test_whole_sensor_keeps_what_is_not_the_part():
    part = Geometry("center-crop", 0.2, 0.1, 0.5, 0.6, 640, 480, 90, True)
    assert whole_sensor(part) == Geometry("center-crop", 0.0, 0.0, 1.0, 1.0, 640, 480, 90, True)

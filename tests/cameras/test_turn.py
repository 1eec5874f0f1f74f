"""Upright and in proportion: by EXIF, display matrix and shape of pixels, and as the camera is mounted."""

from __future__ import annotations

import struct
from fractions import Fraction
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest

from gnetsegd.cameras import CaptureRequest, exif, pyav
from gnetsegd.cameras.geometry import View, fit
from gnetsegd.cameras.pattern import PatternCamera, read_sequence
from gnetsegd.cameras.picamera2 import Picamera2Camera, Picamera2Options
from gnetsegd.cameras.pyav import view_of
from gnetsegd.cameras.scale import Scaler
from gnetsegd.cameras.turn import (
    UPRIGHT,
    Turn,
    configured,
    from_display_matrix,
    from_exif,
    inverse,
    turned_rect,
)
from gnetsegd.cameras.v4l2 import V4l2Camera, V4l2Options
from gnetsegd.cameras.video import VideoCamera, VideoOptions
from gnetsegd.config import CameraConfig, from_dict
from gnetsegd.errors import ConfigError
from gnetsegd.frame import Frame, FrameSpec
from gnetsegd.testing import fake_picamera2
from gnetsegd.testing.clock import FakeClock
from gnetsegd.testing.fake_picamera2 import Rig, luminance
from gnetsegd.testing.fake_v4l2 import FakeWebcam

from .helpers import av, picture_of

Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")

ALL = [Turn(rotation, mirrored) for rotation in (0, 90, 180, 270) for mirrored in (False, True)]
MODES = ("center-crop", "letterbox", "stretch")
#: A person stands on the left, lit from above: no turn of it looks like another.
WIDTH, HEIGHT = 192, 128


def upright() -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    picture = 40 + 100 * (1 - y / HEIGHT) + 30 * x / WIDTH
    picture[50:120, 60:90] = 220
    return picture.astype(np.uint8)


def turned(turn: Turn, picture: np.ndarray) -> np.ndarray:
    """The picture, mirrored and turned."""
    return np.rot90(np.fliplr(picture) if turn.mirrored else picture, -turn.rotation // 90)


def lying(turn: Turn) -> np.ndarray:
    """The picture as ``turn`` makes it upright."""
    return np.ascontiguousarray(turned(inverse(turn), upright()))


@pytest.mark.parametrize("turn", ALL)
@pytest.mark.parametrize("other", ALL)
def test_two_turns_are_one(turn: Turn, other: Turn) -> None:
    assert np.array_equal(turned(turn.then(other), upright()), turned(other, turned(turn, upright())))
    assert turn.then(inverse(turn)) == UPRIGHT


@pytest.mark.parametrize("turn", ALL)
def test_a_part_of_a_picture_is_found_again_in_the_upright_one(turn: Turn) -> None:
    picture = lying(turn)
    picture[:] = 0
    picture[10:30, 20:27] = 1
    x, y, width, height = turned_rect(turn, (20, 10, 7, 20), picture.shape[::-1])
    assert turned(turn, picture)[y : y + height, x : x + width].sum() == picture.sum() == 140


def exif_of(orientation: int, order: str = "<") -> bytes:
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    other = struct.pack(f"{order}HHII", 0x0100, 4, 1, 640)
    return head + struct.pack(f"{order}H", 2) + other + entry + bytes(4)


def photo(orientation: int, kind: str, order: str = "<") -> bytes:
    """The picture as a phone stores it: lying, with its orientation."""
    data = BytesIO()
    picture = Image.fromarray(lying(from_exif(orientation)))
    if kind == "TIFF":
        picture.save(data, kind, tiffinfo={0x0112: orientation})
    elif kind == "WEBP":
        picture.convert("RGB").save(data, kind, lossless=True, exif=b"Exif\0\0" + exif_of(orientation, order))
    else:
        options = {"quality": 95} if kind == "JPEG" else {}
        picture.save(data, kind, exif=b"Exif\0\0" + exif_of(orientation, order), **options)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_understood_as_other_programs_do(kind: str, orientation: int) -> None:
    data = photo(orientation, kind)
    assert exif.turn_of(data) == from_exif(orientation)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("L"))
    assert np.abs(shown.astype(int) - upright()).max() <= 8


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_read_in_both_byte_orders(order: str) -> None:
    assert exif.turn_of(photo(6, "JPEG", order)) == Turn(90, False)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_that_lies_turns_nothing_and_ends(kind: str) -> None:
    data = photo(6, kind)
    random = np.random.default_rng(3)
    for length in range(0, len(data), max(1, len(data) // 60)):
        exif.turn_of(data[:length])
    for _ in range(300):
        harmed = bytearray(data)
        for at in random.integers(0, min(len(data), 300), 4):
            harmed[at] = random.integers(0, 256)
        assert exif.turn_of(bytes(harmed)) in ALL
    assert exif.turn_of(b"\xff\xd8" + b"\xff\xe1\xff\xff" * 10_000) == UPRIGHT
    assert exif.turn_of(b"") == UPRIGHT


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pixel_format", ["Y", "RGB", "YUV420"])
def test_a_turned_photo_gives_the_frame_of_the_upright_one(mode, orientation, pixel_format, tmp_path) -> None:
    frames, told = [], []
    for number in (1, orientation):
        (tmp_path / "photo.png").write_bytes(photo(number, "PNG"))
        frame = Frame(FrameSpec(64, 64, pixel_format), 10)
        camera = VideoCamera(VideoOptions(path=str(tmp_path / "photo.png")), FakeClock())
        info = camera.open(CaptureRequest(frame.spec, 10, mode, 2.0))
        camera.capture(frame)
        camera.close()
        frames.append(frame.pixels.astype(int))
        told.append(info.geometry)
    assert np.abs(frames[0] - frames[1]).max() <= 3
    plain, geometry = told
    assert (geometry.rotation, geometry.mirrored) == from_exif(orientation)
    assert (plain.rotation, plain.mirrored) == UPRIGHT
    for name in ("x", "y", "width", "height", "sensor_width", "sensor_height"):
        assert getattr(geometry, name) == getattr(plain, name), name


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_other_kinds_of_photos_are_turned_too(kind: str, tmp_path) -> None:
    found = []
    for orientation in (1, 7):
        path = tmp_path / f"photo.{kind.lower()}"
        path.write_bytes(photo(orientation, kind))
        found.append(shown(path)[0])
    assert np.abs(found[0] - found[1]).mean() <= 2


def test_data_that_is_newer_than_this_pyav_hides_nothing_but_itself() -> None:
    class Unknown:
        rotation = -90

        @property
        def side_data(self) -> object:
            raise ValueError("31 is not a valid Type")

    class Stream:
        sample_aspect_ratio = Fraction(4, 3)

    assert view_of(Unknown(), Stream) == View(Turn(90, False), 4 / 3)


def matrix_of(turn: Turn) -> bytes:
    """FFmpeg's display matrix, from what it does to the two axes of a picture."""
    x = np.array([-1, 0] if turn.mirrored else [1, 0])
    y = np.array([0, 1])
    for _ in range(turn.rotation // 90):  # clockwise, with y pointing down
        x, y = np.array([-x[1], x[0]]), np.array([-y[1], y[0]])
    values = [x[0], x[1], 0, y[0], y[1], 0, 0, 0, 1 << 14]
    return struct.pack("=9i", *(int(value) << 16 for value in values))


@pytest.mark.parametrize("turn", ALL)
def test_a_display_matrix_is_any_of_the_eight(turn: Turn) -> None:
    assert from_display_matrix(matrix_of(turn)) == turn


@pytest.mark.parametrize("matrix", [b"", bytes(36), bytes(35)])
def test_what_is_no_display_matrix_turns_nothing(matrix: bytes) -> None:
    assert from_display_matrix(matrix) == UPRIGHT


def film(path, turn: Turn = UPRIGHT, aspect: Fraction | None = None, size=None) -> None:
    """An MP4 whose track says how it is to be shown."""
    picture = lying(turn)
    if size is not None:
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], "yuv420p"
        stream.codec_context.options = {"crf": "4", "threads": "1"}
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        limited = (16 + picture * (219 / 255)).round().astype(np.uint8)
        for _ in range(3):
            for packet in stream.encode(picture_of(limited)):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # behind version, times and the like
    data[at : at + 36] = struct.pack(">9i", *struct.unpack("=9i", matrix_of(turn)))
    path.write_bytes(data)


def shown(path, mode: str = "stretch", **mounting: object):
    frame = Frame(FrameSpec(64, 64), 10)
    camera = VideoCamera(VideoOptions(path=str(path)), FakeClock())
    config = CameraConfig(fps=10.0, geometry=mode, **mounting)
    info = camera.open(CaptureRequest.of(frame.spec, config, 2.0))
    camera.capture(frame)
    camera.close()
    return frame.pixels.astype(int), info.geometry


@pytest.mark.parametrize("turn", ALL)
@pytest.mark.parametrize("mode", ["center-crop", "letterbox"])
def test_a_phones_film_is_upright(turn: Turn, mode: str, tmp_path) -> None:
    film(tmp_path / "plain.mp4")
    film(tmp_path / "turned.mp4", turn)
    plain, _ = shown(tmp_path / "plain.mp4", mode)
    upright_again, geometry = shown(tmp_path / "turned.mp4", mode)
    assert (geometry.rotation, geometry.mirrored) == turn
    assert (geometry.sensor_width, geometry.sensor_height) == (WIDTH, HEIGHT)
    assert np.abs(plain - upright_again).mean() <= 1.5


def test_the_oldest_pyav_tells_the_turn_of_a_stream_alone() -> None:
    class Image_:  # noqa: N801 - a stand-in
        side_data = ()

    class Stream:
        sample_aspect_ratio = None
        side_data = {"DISPLAYMATRIX": -90.0}  # noqa: RUF012

        class codec_context:  # noqa: N801
            sample_aspect_ratio = None

    assert view_of(Image_, Stream) == View(Turn(90, False), 1.0)


@pytest.mark.parametrize("turn", [UPRIGHT, Turn(90, False), Turn(270, True)])
@pytest.mark.parametrize("mode", ["center-crop", "letterbox"])
def test_pixels_that_are_not_square_are_seen_in_proportion(turn: Turn, mode: str, tmp_path) -> None:
    film(tmp_path / "square.mp4")
    picture = lying(turn)
    squeezed = (picture.shape[1] // 2, picture.shape[0])
    film(tmp_path / "wide.mp4", turn, Fraction(2, 1), squeezed)
    plain, square = shown(tmp_path / "square.mp4", mode)
    wide, geometry = shown(tmp_path / "wide.mp4", mode)
    assert np.abs(plain - wide).mean() <= 4
    assert geometry.sensor_width / geometry.sensor_height == pytest.approx(WIDTH / HEIGHT)
    for name in ("x", "y", "width", "height"):
        assert getattr(geometry, name) == pytest.approx(getattr(square, name), abs=0.02), name


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("turn", ALL)
@pytest.mark.parametrize("aspect", [1 / 16, 0.9, 1.0, 2.4, 16])
@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (3, 5), (641, 479)])
def test_what_is_read_lies_within_the_picture_and_what_is_made_within_the_frame(
    mode, turn, aspect, size
) -> None:
    source, inner, geometry = fit(mode, *size, 96, 64, View(turn, aspect))
    assert source.x >= 0 <= source.y
    assert source.width > 0 < source.height
    assert source.x + source.width <= size[0]
    assert source.y + source.height <= size[1]
    assert inner.x + inner.width <= 96
    assert inner.y + inner.height <= 64
    assert geometry.sensor_width > 0 < geometry.sensor_height


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [False, True])
def test_a_camera_may_be_mounted_any_way(rotate: int, flip: bool, tmp_path) -> None:
    mounted = configured(rotate, flip)
    Image.fromarray(upright()).save(tmp_path / "right.png")
    Image.fromarray(lying(mounted)).save(tmp_path / "mounted.png")
    plain, _ = shown(tmp_path / "right.png", "center-crop")
    found, geometry = shown(tmp_path / "mounted.png", "center-crop", rotate=rotate, flip=flip)
    assert np.abs(plain - found).max() <= 3
    assert (geometry.rotation, geometry.mirrored) == mounted
    # What it does in words: turned clockwise, then mirrored left to right.
    clockwise = np.rot90(lying(mounted), -rotate // 90)
    assert np.array_equal(np.fliplr(clockwise) if flip else clockwise, upright())


def test_the_turn_of_the_picture_comes_before_that_of_the_mounting(tmp_path) -> None:
    (tmp_path / "photo.png").write_bytes(photo(6, "PNG"))
    plain, _ = shown(tmp_path / "photo.png")
    found, geometry = shown(tmp_path / "photo.png", rotate=90)
    assert (geometry.rotation, geometry.mirrored) == (180, False)
    assert np.abs(np.rot90(plain, -1) - found).max() <= 3


def test_only_quarters_are_turns() -> None:
    assert from_dict({"camera": {"rotate": 270, "flip": True}}, "test").camera.rotate == 270
    with pytest.raises(ConfigError, match="rotate"):
        from_dict({"camera": {"rotate": 45}}, "test")


@pytest.mark.parametrize("pixel_format", ["GREY", "YUYV", "MJPG", "RGB3"])
@pytest.mark.parametrize("turn", ALL)
def test_a_webcam_is_turned_whatever_it_sends(pixel_format: str, turn: Turn, request_of) -> None:
    def captured(turn: Turn) -> tuple[np.ndarray, object]:
        frame = Frame(FrameSpec(48, 48), 10)
        webcam = FakeWebcam((pixel_format,), ((64, 48),))
        webcam.jpeg = jpeg
        camera = V4l2Camera(V4l2Options(range="full"), webcam.open, webcam.clock)
        info = camera.open(request_of(frame.spec, geometry="stretch")._replace(turn=turn))
        camera.capture(frame)
        camera.close()
        return frame.pixels.astype(int), info.geometry

    plain, _ = captured(UPRIGHT)
    found, geometry = captured(turn)
    assert np.abs(turned(turn, plain) - found).mean() <= 2
    assert (geometry.rotation, geometry.mirrored) == turn
    assert geometry.sensor_width == (48 if turn.on_its_side else 64)


def jpeg(luma: np.ndarray) -> bytes:
    data = BytesIO()
    Image.fromarray(luma).save(data, "JPEG", quality=95)
    return data.getvalue()


def test_a_webcam_that_changes_its_size_tells_a_new_geometry(request_of) -> None:
    frame = Frame(FrameSpec(48, 48), 10)
    webcam = FakeWebcam(("MJPG",), ((64, 48),))
    webcam.jpeg = jpeg
    camera = V4l2Camera(V4l2Options(), webcam.open, webcam.clock)
    told = camera.open(request_of(frame.spec, geometry="center-crop"))
    camera.capture(frame)
    assert camera.info is told
    webcam.jpeg = lambda luma: jpeg(luma[:32])
    camera.capture(frame)
    assert camera.info is not told
    assert (camera.info.geometry.sensor_width, camera.info.geometry.sensor_height) == (64, 32)
    again = camera.info
    camera.capture(frame)
    assert camera.info is again
    camera.close()


def test_a_folder_of_two_sizes_tells_each_change_and_no_other(tmp_path, request_of, frame) -> None:
    for name, size in {"a": (64, 48), "b": (64, 48), "c": (48, 64)}.items():
        Image.new("L", size, 90).save(tmp_path / f"{name}.png")
    camera = VideoCamera(VideoOptions(path=str(tmp_path), rate="max"), FakeClock())
    infos = [camera.open(request_of(geometry="center-crop"))]
    for _ in range(6):
        camera.capture(frame)
        infos.append(camera.info)
    assert [info.geometry.sensor_width for info in infos] == [64, 64, 64, 48, 64, 64, 48]
    assert infos[0] is infos[1] is infos[2]
    camera.close()


@pytest.mark.parametrize("pixel_format", ["Y", "YUV420", "YUV444", "RGB"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("turn", ALL)
def test_a_camera_of_the_pi_is_turned_by_the_isp_where_it_can_be(
    turn, mode, pixel_format, request_of
) -> None:
    spec = FrameSpec(96, 64, pixel_format)
    frame = Frame(spec, 10)
    rig = Rig(clock=FakeClock())
    with fake_picamera2.installed(rig):
        camera = Picamera2Camera(Picamera2Options())
        info = camera.open(request_of(spec, fps=30, geometry=mode)._replace(turn=turn))
        camera.capture(frame)
        config = rig.cameras[0].camera_config
        camera.close()
    transform, (width, height) = config["transform"], config["main"]["size"]
    isp = Turn(180 if transform.vflip else 0, transform.hflip != transform.vflip)
    # What the ISP leaves to be done is a quarter at most.
    rest = Turn(90 if turn.on_its_side else 0)
    assert isp.then(rest) == turn
    geometry = info.geometry
    assert (geometry.rotation, geometry.mirrored) == turn
    assert (geometry.sensor_width > geometry.sensor_height) != turn.on_its_side
    luma = turned(rest, luminance(0, width, height))
    inner = np.argwhere(np.ones(luma.shape))[-1] + 1
    top, left = (64 - inner[0]) // 4 * 2, (96 - inner[1]) // 4 * 2
    pixels = frame.pixels if frame.pixels.ndim == 2 else frame.pixels[:, :, 0]
    assert np.array_equal(pixels[top : top + inner[0], left : left + inner[1]], luma)


def test_the_keys_of_picamera2_and_the_mounting_add_up(request_of) -> None:
    rig = Rig(clock=FakeClock())
    with fake_picamera2.installed(rig):
        camera = Picamera2Camera(Picamera2Options(hflip=True, vflip=True))
        camera.open(request_of(FrameSpec(64, 64), fps=30)._replace(turn=Turn(180)))
        transform = rig.cameras[0].camera_config["transform"]
        camera.close()
    assert (transform.hflip, transform.vflip) == (False, False)


@pytest.mark.parametrize("turn", ALL)
def test_the_pattern_is_turned_and_its_number_stays_readable(turn: Turn, request_of) -> None:
    def captured(turn: Turn) -> np.ndarray:
        frame = Frame(FrameSpec(64, 64), 10)
        camera = PatternCamera(clock=FakeClock())
        info = camera.open(request_of(frame.spec)._replace(turn=turn))
        camera.capture(frame)
        assert read_sequence(frame.pixels) == 0
        assert info.geometry.rotation == turn.rotation
        return frame.pixels.copy()

    plain, found = captured(UPRIGHT), captured(turn)
    stamped = 2
    inner = slice(stamped, -stamped)
    assert np.array_equal(turned(turn, plain)[inner, inner], found[inner, inner])


def test_a_scaler_serves_views_that_change() -> None:
    scaler = Scaler(FrameSpec(64, 64), "stretch")
    frame = Frame(FrameSpec(64, 64), 10)
    picture = picture_of(lying(Turn(90, False)), "gray")
    results = []
    for view in (View(), View(Turn(90, False)), View()):
        scaler.scale(picture, frame.pixels, view)
        results.append(frame.pixels.copy())
    assert np.array_equal(results[0], results[2])
    assert not np.array_equal(results[0], results[1])


def test_side_data_is_read_of_few_pictures_and_a_change_is_seen_at_the_next_key_frame(monkeypatch) -> None:
    looked: list[int] = []
    turns = [Turn(90), Turn(180)]

    def look(image, stream):
        assert stream == "stream"
        looked.append(image.number)
        return View(turns[image.number >= 45], 1.0)

    monkeypatch.setattr(pyav, "view_of", look)
    views, seen = pyav.Views("stream"), []
    for number in range(90):
        image = SimpleNamespace(number=number, width=64, height=48, key_frame=number % 15 == 0)
        seen.append(views.of(image).turn)
        assert views.of(image).turn == seen[-1]
    assert looked == [0, 15, 30, 45, 60, 75]
    assert seen == [Turn(90)] * 45 + [Turn(180)] * 45
    # Another size is another picture, whether it is a key frame or not.
    assert views.of(SimpleNamespace(number=0, width=48, height=64, key_frame=False)).turn == Turn(90)

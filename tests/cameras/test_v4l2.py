from __future__ import annotations

import ctypes
import errno
import io
import itertools
import os
from fractions import Fraction

import numpy as np
import pytest

from gnetsegd.cameras import v4l2_ioctl as v4l2
from gnetsegd.cameras.v4l2 import V4l2Camera, V4l2Options
from gnetsegd.cameras.v4l2_formats import COMPRESSED, LAYOUTS, Mode, choose
from gnetsegd.cameras.v4l2_links import Links
from gnetsegd.config import from_dict
from gnetsegd.errors import (
    AbsentError,
    CameraStalled,
    ConfigError,
    GnetsegError,
    PermanentError,
    TransientError,
)
from gnetsegd.frame import Frame, FrameSpec
from gnetsegd.testing.clock import FakeClock
from gnetsegd.testing.fake_v4l2 import FakeDevice, FakeWebcam, luminance

from .helpers import av, picture_of


def opened(webcam, request, **options):
    camera = V4l2Camera(V4l2Options(**options), webcam.open, webcam.clock)
    return camera, camera.open(request)


def expanded(luma):
    """Full range of limited luminance."""
    return np.rint((luma.astype(float) - 16) * 255 / 219)


# Checked by a C compiler with <linux/videodev2.h>; 32 bits: with 64-bit time, aligned as on ARM.
@pytest.mark.parametrize(
    ("pointer_bytes", "format_bytes", "buffer_bytes", "offsets"),
    [
        (
            8,
            208,
            88,
            {"timestamp_s": 24, "timecode": 40, "sequence": 56, "m": 64, "length": 72, "request_fd": 80},
        ),
        (
            4,
            204,
            80,
            {"timestamp_s": 24, "timecode": 40, "sequence": 56, "m": 64, "length": 68, "request_fd": 76},
        ),
    ],
)
def test_structures_lie_as_the_kernel_has_them(pointer_bytes, format_bytes, buffer_bytes, offsets):
    made = v4l2.structures(pointer_bytes)
    assert ctypes.sizeof(made.Format) == format_bytes
    assert made.Format.fmt.offset == pointer_bytes
    assert ctypes.sizeof(made.Buffer) == buffer_bytes
    assert {name: getattr(made.Buffer, name).offset for name in offsets} == offsets


def test_request_numbers_are_those_of_the_kernel():
    wide = ctypes.sizeof(ctypes.c_void_p) == 8
    numbers = {
        "QUERYCAP": 0x80685600,
        "ENUM_FMT": 0xC0405602,
        "S_FMT": 0xC0D05605 if wide else 0xC0CC5605,
        "REQBUFS": 0xC0145608,
        "QUERYBUF": 0xC0585609 if wide else 0xC0505609,
        "QBUF": 0xC058560F if wide else 0xC050560F,
        "DQBUF": 0xC0585611 if wide else 0xC0505611,
        "STREAMON": 0x40045612,
        "STREAMOFF": 0x40045613,
        "G_PARM": 0xC0CC5615,
        "S_PARM": 0xC0CC5616,
        "S_CTRL": 0xC008561C,
        "QUERYCTRL": 0xC0445624,
        "S_INPUT": 0xC0045627,
        "ENUM_FRAMESIZES": 0xC02C564A,
        "ENUM_FRAMEINTERVALS": 0xC034564B,
    }
    assert {name: hex(getattr(v4l2, name)) for name in numbers} == {n: hex(v) for n, v in numbers.items()}


@pytest.mark.parametrize("pad", [0, 32])
@pytest.mark.parametrize("name", [name for name, layout in LAYOUTS.items() if layout.luma])
@pytest.mark.parametrize("size", [(64, 48), (128, 96)], ids=["same size", "shrunk"])
def test_luminance_is_read_with_the_real_stride_and_expanded(name, pad, size, request_of):
    webcam = FakeWebcam((name,), (size,), pad_stride=pad)
    frame = Frame(FrameSpec(64, 48), 10)
    camera, info = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    want = expanded(luminance(0, *size))
    # Where the luminance wraps around, neighbours differ by all there is: means are compared there.
    if size == (64, 48):
        assert abs(frame.pixels - want).max() <= 1
    else:
        want = want.reshape(48, 2, 64, 2).mean(axis=(1, 3))
        assert np.median(abs(frame.pixels - want)) <= 1
        assert abs(frame.pixels - want).mean() <= 3
    assert name.strip() in info.description
    camera.close()


@pytest.mark.parametrize("pad", [0, 32])
@pytest.mark.parametrize("name", ["GREY", "NV12", "NV16", "Y16 ", "YUYV", "YVYU", "UYVY"])
@pytest.mark.parametrize("told_by", ["driver", "JPEG colour space", "option"])
def test_full_range_of_the_right_size_is_copied_exactly(name, pad, told_by, request_of, monkeypatch):
    webcam = FakeWebcam((name,), ((64, 48),), pad_stride=pad)
    webcam.quantization = v4l2.QUANTIZATION_FULL_RANGE if told_by == "driver" else 0
    webcam.colorspace = v4l2.COLORSPACE_JPEG if told_by == "JPEG colour space" else 8
    # Without a scaler: PyAV is not even imported.
    monkeypatch.setattr("gnetsegd.cameras.pyav.load", lambda: pytest.fail("PyAV is not needed for this"))
    frame = Frame(FrameSpec(64, 48), 10)
    camera, _ = opened(webcam, request_of(frame.spec), range="full" if told_by == "option" else "auto")
    camera.capture(frame)
    assert np.array_equal(frame.pixels, luminance(0, 64, 48))
    camera.close()


@pytest.mark.parametrize("name", ["NV12", "YU12", "NV21", "YV12", "NV16", "422P"])
def test_chroma_is_not_mixed_up(name, request_of):
    webcam = FakeWebcam((name,), ((64, 48),), pad_stride=32)
    webcam.quantization = v4l2.QUANTIZATION_FULL_RANGE
    frame = Frame(FrameSpec(64, 48, "YUV420"), 10)
    camera, _ = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    chroma = frame.pixels[48:].reshape(2, 24, 32).astype(int)
    assert abs(frame.pixels[:48].astype(int) - luminance(0, 64, 48)).max() <= 1
    assert abs(chroma[0] - 90).max() <= 1
    assert abs(chroma[1] - 160).max() <= 1


def test_a_bt709_camera_gives_the_luminance_of_bt601(request_of):
    webcam = FakeWebcam(("NV12",), ((64, 48),))
    webcam.colorspace, webcam.chroma = v4l2.COLORSPACE_REC709, (128, 180)
    frame = Frame(FrameSpec(64, 48), 10)
    camera, _ = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    y = expanded(luminance(0, 64, 48))
    red, blue = y + 1.5748 * (180 - 128) * 255 / 224, y
    green = (y - 0.2126 * red - 0.0722 * blue) / 0.7152
    inside = (np.minimum(np.minimum(red, green), blue) > 0) & (np.maximum(np.maximum(red, green), blue) < 255)
    want = 0.299 * red + 0.587 * green + 0.114 * blue
    assert abs(frame.pixels - want)[inside].max() <= 4
    assert abs(want - y)[inside].max() > 6  # without the conversion this test would go red


def test_rgb_cameras_are_taken(request_of):
    webcam = FakeWebcam(("RGB3",), ((64, 48),), pad_stride=12)
    frame = Frame(FrameSpec(64, 48), 10)
    camera, _ = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    assert abs(frame.pixels.astype(int) - luminance(0, 64, 48)).max() <= 2


def jpeg(luma):
    image = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    image.fromarray(luma).convert("RGB").save(stream, "JPEG", quality=98)
    return stream.getvalue()


def test_motion_jpeg_is_decoded_when_there_is_nothing_else(request_of):
    webcam = FakeWebcam(("MJPG",), ((64, 48),))
    webcam.jpeg = lambda luma: jpeg(np.full_like(luma, luma[0, 0]))
    frame = Frame(FrameSpec(64, 48), 10)
    camera, _ = opened(webcam, request_of(frame.spec))
    for sequence in range(3):
        camera.capture(frame)
        assert frame.sequence == sequence
        assert abs(frame.pixels.astype(int) - luminance(sequence, 1, 1)).max() <= 2


def test_a_damaged_jpeg_is_passed_over_and_counted(request_of):
    webcam = FakeWebcam(("MJPG",), ((64, 48),))
    pictures = iter([b"\xff\xd8 not a picture", b"", *[jpeg(np.full((48, 64), 100, np.uint8))] * 2])
    webcam.jpeg = lambda _: next(pictures)
    frame = Frame(FrameSpec(64, 48), 10)
    camera, _ = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    assert frame.sequence == 2
    assert abs(frame.pixels.astype(int) - 100).max() <= 2


@pytest.fixture
def webcam():
    webcam = FakeWebcam(("NV12",), ((64, 48),), fps=50)
    webcam.quantization = v4l2.QUANTIZATION_FULL_RANGE
    return webcam


@pytest.fixture
def frame():
    return Frame(FrameSpec(64, 48), 10)


def test_time_and_sequence_are_the_drivers(webcam, frame, request_of):
    webcam.sequence = 1000
    camera, info = opened(webcam, request_of(frame.spec))
    assert info.fps == 50
    for expected in range(20):
        camera.capture(frame)
        assert frame.sequence == 1000 + expected
        assert frame.sensor_timestamp_ns == webcam.clock.now_ns()


def test_lost_frames_are_counted_also_over_the_wrap_of_the_drivers_counter(webcam, frame, request_of):
    webcam.sequence = 2**32 - 2
    camera, _ = opened(webcam, request_of(frame.spec))
    seen = []
    for lose in (0, 0, 5, 0):
        webcam.lose = lose
        camera.capture(frame)
        seen.append(frame.sequence - (2**32 - 2))
    assert seen == [0, 1, 7, 8]


def test_a_driver_that_does_not_count_is_counted_for(webcam, frame, request_of):
    webcam.counts = False
    camera, _ = opened(webcam, request_of(frame.spec))
    seen = []
    for _ in range(3):
        camera.capture(frame)
        seen.append(frame.sequence)
    assert seen == [0, 1, 2]


def test_timestamps_of_another_clock_are_not_believed(webcam, frame, request_of):
    webcam.monotonic = False
    camera, _ = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    assert frame.sensor_timestamp_ns == webcam.clock.now_ns()


def test_a_late_taker_gets_the_newest_frame_and_the_older_are_counted(webcam, frame, request_of):
    camera, _ = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    webcam.clock.pass_s(0.065)  # three more are ready
    camera.capture(frame)
    assert frame.sequence == 3
    assert np.array_equal(frame.pixels, luminance(3, 64, 48))
    for late in range(1, 10):  # and no buffer was lost by it
        webcam.clock.pass_s(0.065)
        camera.capture(frame)
        assert 2 < frame.sequence / (late + 1) < 4


@pytest.mark.parametrize("fault", ["damaged", "short"])
def test_a_damaged_frame_is_passed_over_and_counted(fault, webcam, frame, request_of):
    camera, _ = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    setattr(webcam, fault, 2)
    camera.capture(frame)
    assert frame.sequence == 3
    assert np.array_equal(frame.pixels, luminance(3, 64, 48))


def test_a_stall_ends_at_the_time_limit(webcam, frame, request_of):
    camera, _ = opened(webcam, request_of(frame.spec, timeout_s=1.5))
    camera.capture(frame)
    webcam.stalled = True
    before_ns = webcam.clock.now_ns()
    with pytest.raises(CameraStalled):
        camera.capture(frame)
    assert webcam.clock.now_ns() - before_ns == 1_500_000_000


def test_nothing_but_damaged_frames_is_a_stall(webcam, frame, request_of):
    camera, _ = opened(webcam, request_of(frame.spec, timeout_s=1.5))
    webcam.damaged = 10_000
    with pytest.raises(CameraStalled):
        camera.capture(frame)
    assert webcam.damaged > 9_000


def test_an_unplugged_camera_is_transient_and_is_named_when_opened_again(webcam, frame, request_of):
    camera, _ = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    webcam.vanished = True
    with pytest.raises(TransientError, match="unplugged"):
        camera.capture(frame)
    camera.close()
    assert (webcam.opened, webcam.mapped) == (0, 0)
    with pytest.raises(AbsentError, match="no such camera") as caught:
        opened(webcam, request_of(frame.spec))
    assert caught.value.exit_code == 66
    webcam.vanished = False
    opened(webcam, request_of(frame.spec))[0].capture(frame)


@pytest.mark.parametrize(
    ("where", "number", "kind", "code", "words"),
    [
        ("open_errno", errno.ENOENT, AbsentError, 66, "/dev/video0: there is no such camera"),
        ("open_errno", errno.ENODEV, AbsentError, 66, "/dev/video0: there is no such camera"),
        ("open_errno", errno.ENXIO, AbsentError, 66, "/dev/video0: there is no such camera"),
        ("format_errno", errno.ENODEV, AbsentError, 66, "/dev/video0: there is no such camera"),
        ("open_errno", errno.EACCES, PermanentError, 77, "group video"),
        ("open_errno", errno.ELOOP, PermanentError, 66, "can be no camera"),
        ("open_errno", errno.EBUSY, TransientError, 75, "in use by another program"),
        ("format_errno", errno.EBUSY, TransientError, 75, "in use by another program"),
        ("buffers_errno", errno.EBUSY, TransientError, 75, "in use by another program"),
        ("buffers_errno", errno.ENOSPC, PermanentError, 69, "USB bus"),
    ],
)
def test_what_prevents_opening_is_named_with_its_exit_code(
    where, number, kind, code, words, webcam, request_of
):
    setattr(webcam, where, number)
    with pytest.raises(GnetsegError, match=words) as caught:
        opened(webcam, request_of(FrameSpec(64, 48)))
    assert type(caught.value) is kind
    assert caught.value.exit_code == code
    assert (webcam.opened, webcam.mapped) == (0, 0)


@pytest.mark.parametrize(
    ("capabilities", "words"),
    [
        (v4l2.CAP_STREAMING, "no camera"),
        (v4l2.CAP_STREAMING | v4l2.CAP_VIDEO_CAPTURE_MPLANE, "multi-planar"),
        (v4l2.CAP_VIDEO_CAPTURE, "no camera"),
    ],
)
def test_a_node_that_is_no_camera_is_refused(capabilities, words, webcam, request_of):
    webcam.capabilities = capabilities
    with pytest.raises(PermanentError, match=words) as caught:
        opened(webcam, request_of(FrameSpec(64, 48)))
    assert caught.value.exit_code == 69
    assert webcam.opened == 0


@pytest.mark.parametrize(
    ("path", "kind", "code"),
    [
        ("/dev/null", PermanentError, 69),
        ("/dev/no-such-video", AbsentError, 66),
        ("/", PermanentError, 66),
        ("/dev/null/video0", PermanentError, 66),
        ("/dev/" + "v" * 5000, PermanentError, 66),
        ("/dev/video0\0", PermanentError, 66),
    ],
    ids=["no video", "not there", "folder", "below a file", "too long", "zero"],
)
def test_real_paths_that_are_no_cameras_are_refused(path, kind, code, request_of):
    with pytest.raises(GnetsegError, match=path[:12].rstrip("\0")) as caught:
        V4l2Camera(V4l2Options(device=path)).open(request_of())
    assert type(caught.value) is kind
    assert caught.value.exit_code == code


def test_a_camera_without_a_known_format_is_refused(request_of):
    with pytest.raises(PermanentError, match="no pixel format") as caught:
        opened(FakeWebcam(("S920",)), request_of())
    assert caught.value.exit_code == 69


def test_everything_is_freed_and_close_may_be_repeated(webcam, frame, request_of):
    camera, _ = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    assert (webcam.opened, webcam.mapped) == (1, 4)
    camera.close()
    camera.close()
    assert (webcam.opened, webcam.mapped) == (0, 0)
    with pytest.raises(TransientError, match="not open"):
        camera.capture(frame)


def broken_scaler(monkeypatch, error):
    def scale(_self, _picture, _pixels, _view):
        raise error

    monkeypatch.setattr("gnetsegd.cameras.scale.Scaler.scale", scale)


# MemoryError is what PyAV raises for ENOMEM; the last stands for any error of FFmpeg with a number.
@pytest.mark.parametrize("error", [MemoryError("Cannot allocate memory"), BlockingIOError(11, "try again")])
def test_an_error_while_a_picture_is_scaled_leaves_the_camera_free_and_is_told(
    error, request_of, monkeypatch
):
    webcam, frame = FakeWebcam(("YUYV",), ((640, 480),)), Frame(FrameSpec(64, 48), 10)
    camera, _ = opened(webcam, request_of(frame.spec))
    with monkeypatch.context() as patch:
        broken_scaler(patch, error)
        with pytest.raises(TransientError, match=error.args[-1]) as caught:
            camera.capture(frame)
    camera.close()  # while the error, with all that it holds, is still there
    assert caught.value.__cause__ is error
    assert (webcam.opened, webcam.mapped, webcam.owner) == (0, 0, None)
    opened(webcam, request_of(frame.spec))[0].capture(frame)


def test_an_error_while_luminance_is_copied_leaves_the_camera_free(webcam, frame, request_of, monkeypatch):
    camera, _ = opened(webcam, request_of(frame.spec))

    def rows_of(memory, *_):
        view = np.frombuffer(memory, np.uint8)
        assert view.size
        raise MemoryError("Cannot allocate memory")

    monkeypatch.setattr("gnetsegd.cameras.v4l2_reader.rows_of", rows_of)
    with pytest.raises(TransientError, match="a picture cannot be read: Cannot allocate") as caught:
        camera.capture(frame)
    camera.close()
    assert (webcam.opened, webcam.mapped, webcam.owner) == (0, 0, None), caught.value


def test_a_buffer_that_cannot_be_unmapped_does_not_keep_the_rest_nor_raise(webcam, frame, request_of):
    camera, _ = opened(webcam, request_of(frame.spec))
    view = np.frombuffer(camera._memory[0], np.uint8)
    camera.close()
    assert (webcam.opened, webcam.mapped) == (0, 1)
    assert webcam.owner is not None
    del view
    assert (webcam.mapped, webcam.owner) == (0, None)


def test_a_descriptor_that_cannot_be_closed_does_not_raise(webcam, frame, request_of, caplog):
    camera, _ = opened(webcam, request_of(frame.spec))
    camera._device.close()
    camera.close()
    assert "closing it failed: Bad file descriptor" in caplog.text
    assert webcam.mapped == 0


def test_time_and_sequence_are_read_before_the_buffer_goes_back(webcam, frame, request_of):
    # The fake's QBUF fills the structure anew, as a kernel may.
    webcam.sequence = 7
    camera, _ = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    assert (frame.sequence, frame.sensor_timestamp_ns) == (7, webcam.clock.now_ns())


@pytest.mark.parametrize("off_s", [5, -5])
def test_a_time_that_cannot_be_is_not_believed(webcam, frame, request_of, monkeypatch, off_s):
    real = FakeDevice._dequeue

    def dequeue(self, buffer):
        real(self, buffer)
        buffer.timestamp_s += off_s

    monkeypatch.setattr(FakeDevice, "_dequeue", dequeue)
    camera, _ = opened(webcam, request_of(frame.spec))
    camera.capture(frame)
    assert frame.sensor_timestamp_ns == webcam.clock.now_ns()


def test_a_driver_faster_than_its_taker_keeps_it_for_no_longer_than_its_buffers_last(
    webcam, frame, request_of, monkeypatch
):
    camera, _ = opened(webcam, request_of(frame.spec))
    real, taken = V4l2Camera._dequeue, []

    def dequeue(device):
        webcam.clock.pass_s(0.02)  # by then there is the next frame
        taken.append(device)
        assert len(taken) < 100
        return real(device)

    monkeypatch.setattr(V4l2Camera, "_dequeue", staticmethod(dequeue))
    camera.capture(frame)
    assert len(taken) == 4


def test_a_list_of_modes_without_an_end_is_read_only_so_far(request_of):
    class Endless(FakeWebcam):
        def open(self, path):
            device = super().open(path)
            for request, change in (
                (v4l2.ENUM_FMT, {"pixelformat": v4l2.fourcc("NV12")}),
                (v4l2.ENUM_FRAMESIZES, {"type": v4l2.FRMSIZE_DISCRETE}),
                (v4l2.ENUM_FRAMEINTERVALS, {"type": v4l2.FRMIVAL_DISCRETE}),
            ):
                device._calls[request] = ("", lambda entry, change=change: self.fill(entry, change))
            return device

        def fill(self, entry, change):
            self.asked += 1
            for name, value in change.items():
                setattr(entry, name, value)

        asked = 0

    webcam = Endless(("NV12",), ((64, 48),))
    opened(webcam, request_of(FrameSpec(64, 48)))
    assert webcam.asked < 300_000


def test_a_webcam_unplugged_while_its_modes_are_listed_is_absent_not_useless(webcam, request_of):
    camera = V4l2Camera(V4l2Options(), webcam.open, webcam.clock)

    def check(_device):
        webcam.vanished = True

    camera._check_capabilities = check
    with pytest.raises(AbsentError, match="no such camera"):
        camera.open(request_of(FrameSpec(64, 48)))


@pytest.mark.parametrize(
    "told", [{"width": 0}, {"height": 0}, {"width": 70_000}, {"bytesperline": 63}, {"bytesperline": 0}]
)
def test_a_driver_that_tells_an_impossible_picture_is_refused(told, webcam, request_of):
    camera = V4l2Camera(V4l2Options(), webcam.open, webcam.clock)
    real = FakeDevice._set_format

    def opened_device(path):
        device = webcam.open(path)

        def set_format(wanted):
            real(device, wanted)
            for name, value in told.items():
                setattr(wanted.fmt.pix, name, value)

        device._calls[v4l2.S_FMT] = ("S_FMT", set_format)
        return device

    camera._open_device = opened_device
    with pytest.raises(PermanentError, match="which cannot be") as caught:
        camera.open(request_of(FrameSpec(64, 48)))
    assert caught.value.exit_code == 69
    assert webcam.opened == 0


@pytest.mark.parametrize(
    ("method", "name", "kind", "words"),
    [
        ("_request_buffers", "count", TransientError, "no memory for pictures"),
        ("_query", "length", PermanentError, "hold no picture"),
    ],
)
def test_a_driver_that_gives_no_buffers_is_named(method, name, kind, words, request_of, monkeypatch):
    real = getattr(FakeDevice, method)

    def nothing(self, structure):
        real(self, structure)
        setattr(structure, name, 0)

    monkeypatch.setattr(FakeDevice, method, nothing)
    webcam = FakeWebcam(("MJPG",), ((64, 48),))
    with pytest.raises(kind, match=words):
        opened(webcam, request_of(FrameSpec(64, 48)))
    assert (webcam.opened, webcam.mapped) == (0, 0)


@pytest.mark.parametrize(("interruptions", "passes"), [(3, True), (1000, False)])
def test_a_request_that_signals_interrupt_is_repeated_but_not_for_ever(interruptions, passes, monkeypatch):
    device, calls = v4l2.CharacterDevice("/dev/null"), []

    def ioctl(*_):
        calls.append(1)
        assert len(calls) < 500
        if len(calls) <= interruptions:
            raise InterruptedError

    monkeypatch.setattr("gnetsegd.cameras.v4l2_ioctl.fcntl.ioctl", ioctl)
    try:
        if passes:
            device.ioctl(v4l2.QUERYCAP, v4l2.Capability())
        else:
            with pytest.raises(InterruptedError):
                device.ioctl(v4l2.QUERYCAP, v4l2.Capability())
    finally:
        device.close()
    assert len(calls) == (4 if passes else v4l2.INTERRUPTIONS_MAX)


@pytest.mark.parametrize("wrong", [{"width": 640}, {"height": 480}])
def test_a_width_without_a_height_is_refused_with_the_file_and_both_keys(wrong):
    words = r"test: camera\.v4l2\.width .* camera\.v4l2\.height .*both"
    with pytest.raises(ConfigError, match=words):
        from_dict({"camera": {"driver": "v4l2", "v4l2": wrong}}, "test")


def test_words_of_a_driver_are_cleaned(webcam, frame, request_of, monkeypatch):
    camera, _ = opened(webcam, request_of(frame.spec))
    broken = ValueError("no \x1b[2J\nroom")
    monkeypatch.setattr("gnetsegd.cameras.v4l2_reader.Reader.read", raising(broken))
    with pytest.raises(TransientError) as caught:
        camera.capture(frame)
    assert str(caught.value) == "/dev/video0: a picture cannot be read: no ?[2J room"
    monkeypatch.setattr("gnetsegd.cameras.v4l2.choose", lambda *_: Mode("NV12", 64, 48, 30))
    with pytest.raises(PermanentError, match="in place of NV12") as caught:
        opened(FakeWebcam(("NV\x1b\n",), ((64, 48),)), request_of(frame.spec))
    assert str(caught.value).isprintable()


def raising(error):
    def call(*_):
        raise error

    return call


def test_controls_are_set_also_those_that_depend_on_others(webcam, request_of):
    webcam.controls = {"auto_exposure": [0, 3, 3], "exposure_time_absolute": [1, 500, 7], "gain": [0, 9, 2]}
    webcam.inactive = ("exposure_time_absolute",)
    wanted = {"exposure_time_absolute": 100, "auto_exposure": 1}
    opened(webcam, request_of(FrameSpec(64, 48)), controls=wanted)
    assert {name: value for name, (_, _, value) in webcam.controls.items()} == {**wanted, "gain": 2}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"exposure": 5}, r"controls\.exposure: .* has no such control; it has auto_exposure, gain, fixed"),
        ({"gain": 10}, r"controls\.gain is 10; allowed is 0 to 9"),
        ({"fixed": 4}, r"controls\.fixed: .* does not let it be changed"),
        ({"gain": 5}, r"refuses camera\.v4l2\.controls\.gain = 5"),
        ({"\x1b[2J\n": 1}, r"has no such control"),
    ],
)
def test_a_control_that_cannot_be_set_is_named_with_what_can(wanted, words, webcam, request_of):
    webcam.controls = {"auto_exposure": [0, 3, 3], "gain": [0, 9, 2], "fixed": [4, 4, 4]}
    webcam.inactive = ("gain",)
    with pytest.raises(PermanentError, match=words) as caught:
        opened(webcam, request_of(FrameSpec(64, 48)), controls=wanted)
    assert str(caught.value).isprintable()
    assert webcam.opened == 0


def test_a_list_of_controls_without_an_end_is_read_only_so_far(webcam, request_of, monkeypatch):
    webcam.controls = {"gain": [0, 9, 2]}
    monkeypatch.setattr(FakeDevice, "_control_entry", lambda _self, entry: setattr(entry, "type", 1))
    with pytest.raises(ConfigError, match="has no such control"):
        opened(webcam, request_of(FrameSpec(64, 48)), controls={"gain": 1})


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """A folder of device nodes and of udev's links to them: call it with node and link."""
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    monkeypatch.setattr("gnetsegd.cameras.v4l2_links.FOLDERS", (by_id, tmp_path / "missing"))
    monkeypatch.setattr(V4l2Camera, "links", Links())

    def place(node, link):
        (tmp_path / node).touch()
        (by_id / link).unlink(missing_ok=True)
        (by_id / link).symlink_to(tmp_path / node)
        return str(tmp_path / node)

    return place


def test_a_webcam_that_comes_back_under_another_number_is_found_again(nodes, request_of):
    webcam = FakeWebcam(("GREY",), ((64, 48),))
    webcam.node = path = nodes("video0", "usb-Maker_Camera_123-index0")
    camera, _ = opened(webcam, request_of(FrameSpec(64, 48)), device=path)
    camera.close()
    nodes("video2", "usb-Maker_Camera_123-index0")
    # Another one has taken the old number.
    nodes("video0", "usb-Other_999-index0")
    asked = []

    def find(name):
        asked.append(os.path.realpath(name))
        webcam.node = name
        return webcam.open(name)

    V4l2Camera(V4l2Options(device=path), find, webcam.clock).open(request_of(FrameSpec(64, 48)))
    assert [name.rsplit("/", 1)[1] for name in asked] == ["video2"]


def test_another_webcam_is_taken_where_the_old_one_is_gone(nodes, request_of, tmp_path):
    webcam = FakeWebcam(("GREY",), ((64, 48),))
    webcam.node = path = nodes("video0", "usb-Maker_Camera_123-index0")
    camera, _ = opened(webcam, request_of(FrameSpec(64, 48)), device=path)
    camera.close()
    (tmp_path / "by-id" / "usb-Maker_Camera_123-index0").unlink()
    nodes("video0", "usb-Other_999-index0")
    camera, info = opened(webcam, request_of(FrameSpec(64, 48)), device=path)
    assert info.description.startswith(path)


def h264(count, group=10):
    """Packets of the kind that a webcam sends, a key frame every ``group``."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = 64, 48, "yuvj420p"
    codec.time_base, codec.framerate = Fraction(1, 30), Fraction(30)
    codec.options = {"tune": "zerolatency", "g": str(group), "crf": "12", "threads": "1", "sc_threshold": "0"}
    packets = []
    for index in range(count):
        picture = picture_of(flat(index), "yuvj420p")
        picture.pts = index
        packets += [bytes(packet) for packet in codec.encode(picture)]
    return packets


def flat(index):
    """Whose mean says which one it is, with detail that damage would change."""
    y, x = np.mgrid[0:48, 0:64]
    return (20 + 8 * index + 12 * np.sin((x + 3 * index) / 4) * np.cos(y / 3)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def h264_webcam():
    webcam = FakeWebcam(("H264",), ((64, 48),), fps=30)
    packets = h264(25)
    webcam.h264 = lambda sequence: packets[sequence]
    return webcam, packets


def taken(camera, frame, count):
    found = []
    for _ in range(count):
        camera.capture(frame)
        found.append(frame.sequence)
        assert abs(frame.pixels.astype(int) - flat(frame.sequence)).mean() < 3
        assert frame.sensor_timestamp_ns == pytest.approx(1e9 + (frame.sequence + 1) * 1e9 / 30, abs=2000)
    return found


def test_h264_is_read_where_there_is_nothing_else(h264_webcam, request_of):
    webcam, _ = h264_webcam
    frame = Frame(FrameSpec(64, 48), 10)
    camera, _ = opened(webcam, request_of(frame.spec, fps=30))
    assert taken(camera, frame, 25) == list(range(25))
    assert camera.lost == {}
    camera.close()


def test_h264_that_begins_amid_a_group_waits_for_a_key_frame_and_counts_nothing(h264_webcam, request_of):
    webcam, _ = h264_webcam
    webcam.sequence = 4
    frame = Frame(FrameSpec(64, 48), 10)
    camera, _ = opened(webcam, request_of(frame.spec, fps=30))
    # Times of the fake begin with the stream, not with the number.
    camera.capture(frame)
    assert frame.sequence == 10
    assert camera.lost == {}
    camera.close()


@pytest.mark.parametrize("how", ["cut", "lost by the driver", "said to be bad"])
def test_pictures_made_from_a_lost_one_are_lost_too(how, h264_webcam, request_of):
    webcam, packets = h264_webcam
    frame = Frame(FrameSpec(64, 48), 10)
    camera, _ = opened(webcam, request_of(frame.spec, fps=30))
    if how == "cut":
        packets[3] = packets[3][: len(packets[3]) // 2]
    assert taken(camera, frame, 3) == [0, 1, 2]
    if how == "lost by the driver":
        webcam.lose = 1
    if how == "said to be bad":
        webcam.damaged = 1
    assert taken(camera, frame, 12) == list(range(10, 22))
    assert sum(camera.lost.values()) == (6 if how == "lost by the driver" else 7)
    camera.close()


def test_a_late_taker_gets_the_newest_picture_of_h264_though_all_are_decoded(h264_webcam, request_of):
    webcam, _ = h264_webcam
    frame = Frame(FrameSpec(64, 48), 10)
    camera, _ = opened(webcam, request_of(frame.spec, fps=30), buffer_count=8)
    taken(camera, frame, 1)
    webcam.clock.pass_s(5.5 / 30)
    assert taken(camera, frame, 2) == [5, 6]
    assert camera.lost == {}
    camera.close()


@pytest.mark.parametrize(
    ("modes", "spec", "fps", "chosen"),
    [
        # The smallest that covers the frame, uncompressed.
        ([("MJPG", 640, 480, 30), ("YUYV", 640, 480, 30), ("YUYV", 1280, 720, 30)], (448, 448), 30, 1),
        # Luminance alone before luminance beside chroma, of one size.
        ([("YUYV", 640, 480, 30), ("NV12", 640, 480, 30), ("GREY", 640, 480, 30)], (224, 224), 30, 2),
        # Fast enough goes before uncompressed ...
        ([("YUYV", 640, 480, 10), ("MJPG", 640, 480, 30)], (224, 224), 30, 1),
        # ... and 29.97 is fast enough for 30.
        ([("YUYV", 640, 480, 29.97), ("MJPG", 640, 480, 30)], (224, 224), 30, 0),
        # None covers the frame: the largest.
        ([("YUYV", 160, 120, 30), ("YUYV", 320, 240, 30)], (448, 448), 30, 1),
        # None is fast enough: the fastest.
        ([("YUYV", 640, 480, 5), ("MJPG", 640, 480, 25)], (224, 224), 30, 1),
        ([("XXXX", 640, 480, 30)], (224, 224), 30, None),
    ],
)
def test_the_mode_with_the_least_work_is_chosen(modes, spec, fps, chosen):
    made = [Mode(*mode) for mode in modes]
    assert choose(made, FrameSpec(*spec), fps) == (None if chosen is None else made[chosen])


def test_of_the_modes_of_a_size_that_is_asked_for_the_one_that_is_fast_enough_is_taken(request_of):
    webcam = FakeWebcam(("YUYV", "MJPG"), ((1920, 1080), (640, 480)), fps=30)
    webcam.rates = {"YUYV": 5}
    _, info = opened(webcam, request_of(FrameSpec(64, 48), fps=30), width=1920, height=1080)
    assert "MJPG 1920x1080 stride" in info.description
    assert info.fps == 30
    assert "in place of" not in info.description


def test_what_is_less_than_asked_for_is_said(request_of):
    webcam = FakeWebcam(("YUYV",), ((640, 480),), fps=5)
    _, info = opened(webcam, request_of(FrameSpec(64, 48), fps=30), width=1920, height=1080)
    assert "YUYV 640x480 (in place of 1920x1080, which it has not)" in info.description
    assert "at 5/s (in place of 30/s" in info.description
    webcam = FakeWebcam(("NV12",), ((16, 1920, 2),))
    _, info = opened(webcam, request_of(FrameSpec(64, 48), fps=30), width=800, height=600)
    assert "NV12 800x600 stride" in info.description


def test_a_webcam_of_strange_formats_tells_which_it_has_and_which_are_known(request_of):
    with pytest.raises(PermanentError, match=r"it has BA81, ZZZZ; known are GREY, NV12, .*MJPG, JPEG, H264"):
        opened(FakeWebcam(("BA81", "ZZZZ"), ((64, 48),)), request_of(FrameSpec(64, 48)))
    with pytest.raises(PermanentError, match=r"as NV12: it has YUYV; known"):
        opened(FakeWebcam(("YUYV",), ((64, 48),)), request_of(FrameSpec(64, 48)), pixel_format="NV12")


def test_colour_models_get_a_camera_in_colour():
    modes = [Mode("GREY", 320, 240, 30), Mode("YUYV", 640, 480, 30)]
    assert choose(modes, FrameSpec(224, 224, "RGB"), 30) == modes[1]


def test_sizes_in_steps_are_asked_for_exactly(request_of):
    webcam = FakeWebcam(("NV12",), ((16, 1920, 2),))
    frame = Frame(FrameSpec(448, 448), 10)
    _, info = opened(webcam, request_of(frame.spec))
    assert (webcam.pix.width, webcam.pix.height) == (448, 448)
    assert (info.geometry.sensor_width, info.geometry.sensor_height) == (448, 448)


def test_what_the_driver_gives_counts_not_what_was_asked(request_of):
    webcam = FakeWebcam(("NV12",), ((128, 96),))
    frame = Frame(FrameSpec(64, 48), 10)
    camera, info = opened(webcam, request_of(frame.spec), width=64, height=48)
    assert (info.geometry.sensor_width, info.geometry.sensor_height) == (128, 96)
    camera.capture(frame)


def test_an_input_of_a_capture_card_can_be_chosen(webcam, request_of):
    webcam.inputs = 4
    opened(webcam, request_of(FrameSpec(64, 48)), input=3)
    assert webcam.input == 3
    with pytest.raises(PermanentError, match="has no input 4") as caught:
        opened(webcam, request_of(FrameSpec(64, 48)), input=4)
    assert caught.value.exit_code == 69


def test_the_rate_is_asked_for_and_told(webcam, request_of):
    _, info = opened(webcam, request_of(FrameSpec(64, 48), fps=15))
    assert webcam.fps == 15
    assert info.fps == 15


def test_the_configuration_takes_its_options():
    table = {"camera": {"driver": "v4l2", "v4l2": {"device": "/dev/video2", "pixel_format": "NV12"}}}
    made = from_dict(table, "test").camera.options["v4l2"]
    assert made == V4l2Options(device="/dev/video2", pixel_format="NV12")
    assert {*LAYOUTS, *COMPRESSED} >= {"GREY", "NV12", "YU12", "YUYV", "MJPG", "H264"}
    table["camera"]["v4l2"]["controls"] = {"gain": 5}
    assert from_dict(table, "test").camera.options["v4l2"].controls == {"gain": 5}
    for wrong in ({"gain": "high"}, {"gain": True}, 5):
        table["camera"]["v4l2"]["controls"] = wrong
        with pytest.raises(ConfigError, match=r"camera\.v4l2\.controls"):
            from_dict(table, "test")


HOUR_NS = 3600 * 1_000_000_000


@pytest.mark.parametrize(
    "stamp",
    [
        lambda _: 0,
        lambda _: 1_000,
        lambda time_ns: time_ns + HOUR_NS,
        lambda time_ns: HOUR_NS - time_ns,
        lambda time_ns: time_ns - HOUR_NS,
    ],
    ids=["zero", "constant", "an hour ahead", "going back", "before the stream"],
)
def test_times_of_a_driver_that_cannot_be_true_are_replaced_by_those_of_arrival_and_said_once(
    stamp, request_of, frame, caplog
):
    clock = FakeClock()
    clock.pass_s(2 * 3600)
    webcam = FakeWebcam(("GREY",), ((32, 32),), clock=clock)
    webcam.stamp = stamp
    camera, _ = opened(webcam, request_of(frame.spec))
    for _ in range(5):
        camera.capture(frame)
        assert frame.sensor_timestamp_ns == clock.now_ns()
    assert caplog.text.count("its driver's times cannot be true") == 1
    camera.close()


def test_a_single_time_that_goes_back_does_not_make_the_others_wrong(request_of, frame):
    webcam = FakeWebcam(("GREY",), ((32, 32),))
    camera, _ = opened(webcam, request_of(frame.spec))
    stamps = []
    for wrong in (0, 0, 1, 0, 0):
        webcam.stamp = lambda time_ns, wrong=wrong: time_ns - wrong * 50_000_000
        camera.capture(frame)
        stamps.append(frame.sensor_timestamp_ns)
    assert stamps == sorted(set(stamps))
    steps = [b - a for a, b in itertools.pairwise(stamps)]
    assert steps == pytest.approx([1e9 / 30] * 4, abs=2000)
    camera.close()

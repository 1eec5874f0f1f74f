"""A fake webcam behind the boundary of ``gnetsegd.cameras.v4l2``: ioctl, mmap and poll.

    webcam = FakeWebcam(pad_stride=32)
    camera = V4l2Camera(open_device=webcam.open, clock=webcam.clock)
    ...
    webcam.vanished = True              # somebody has pulled the plug

A picture's luminance at (row, column) is ``16 + (row + 2 * column + sequence) % 220``; bytes of
padding are 0xEE. It checks what it is told as a driver does: wrong requests give EINVAL or ENOTTY, a
second one that wants to stream gets EBUSY. The camera is free again when its descriptor is closed *and*
its buffers are unmapped, and a buffer cannot be unmapped while there is a view of it.
"""

from __future__ import annotations

import errno
import mmap
import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cameras import v4l2_ioctl as v4l2
from ..cameras.pacing import NS_PER_S, Clock
from .clock import FakeClock
from .hang import Hang

if TYPE_CHECKING:
    from numpy.typing import NDArray

PADDING = 0xEE
_PAGE = 4096
#: Requests for the one that streams alone.
_EXCLUSIVE = ("S_FMT", "REQBUFS", "QBUF", "DQBUF", "STREAMON", "STREAMOFF")


def luminance(sequence: int, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width) uint8, 16 to 235: what frame ``sequence`` shows."""
    rows, columns = np.arange(height)[:, None], np.arange(width)
    return (16 + (rows + 2 * columns + sequence) % 220).astype(np.uint8)


#: Bytes of a pixel in the first plane; 0 for what is compressed.
_SAMPLE_BYTES = {
    "YUYV": 2, "UYVY": 2, "YVYU": 2, "Y16 ": 2, "RGB3": 3, "BGR3": 3, "XR24": 4, "BGR4": 4,
    "MJPG": 0, "H264": 0,
}  # fmt: skip
_FIRST_CONTROL = 0x00980900


class FakeWebcam:
    """One webcam; change its attributes at any time.

    Attributes
    ----------
    formats : fourcc names in the driver's order
    sizes : (width, height) of each format, or one (min, max, step) of both for sizes in steps
    fps : the fastest rate
    rates : the fastest rate of single formats, by name
    pad_stride : bytes of padding at the end of each row
    quantization, colorspace, ycbcr_enc : what S_FMT says of the pixels
    chroma : Cb and Cr of every picture in NV12, NV21, YU12 and YV12; 128 in the others
    monotonic : whether timestamps are of CLOCK_MONOTONIC
    stamp : the time in ns that the driver tells, from the true one
    counts : whether the driver counts frames; False gives 0 for each
    open_errno, format_errno, buffers_errno : errors of open, S_FMT, REQBUFS (0: none)
    capabilities, driver, card : as QUERYCAP gives them
    inputs, input : how many inputs it has, and the one that is selected
    stalled : no frame comes
    vanished : unplugged; descriptors that were open then stay dead after it came back
    node : the one path where it is found, None for any; change it while it is unplugged
    held : another program streams from it
    flap_after_frames : so many frames after STREAMON it is lost and comes back (0: never)
    absent_opens : how many attempts to open it fail before it has come back
    hang : calls that never return: open, wait, close, or a request such as STREAMON, DQBUF, STREAMOFF
    owner : the descriptor that streams, or whose buffers are still mapped
    lose : how many frames are lost before the next
    damaged : how many of the next frames come with the error flag
    short : how many of the next frames are cut short
    jpeg : makes the bytes of a MJPG frame from its luminance
    h264 : makes the bytes of a H264 frame from its number
    controls : by v4l2-ctl's names what each is (least, most, value); read only where least is most
    inactive : names of controls that cannot be set while the first of ``controls`` is not 1
    """

    def __init__(
        self,
        formats: tuple[str, ...] = ("YUYV", "MJPG"),
        sizes: tuple[tuple[int, ...], ...] = ((640, 480), (320, 240)),
        fps: float = 30.0,
        pad_stride: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.formats = formats
        self.sizes = sizes
        self.fps = fps
        self.pad_stride = pad_stride
        self.quantization = v4l2.QUANTIZATION_DEFAULT
        self.colorspace = 8  # sRGB, as webcams say
        self.ycbcr_enc = v4l2.YCBCR_ENC_DEFAULT
        self.chroma = (90, 160)
        self.monotonic = True
        self.stamp: Callable[[int], int] = lambda time_ns: time_ns
        self.counts = True
        self.open_errno = self.format_errno = self.buffers_errno = 0
        self.capabilities = v4l2.CAP_VIDEO_CAPTURE | v4l2.CAP_STREAMING
        self.stalled = self._vanished = False
        self.node: str | None = None
        self.driver, self.card = b"fake", b"Fake webcam"
        self.held = False
        self.flap_after_frames = self.absent_opens = 0
        self.hang = Hang()
        self.owner: FakeDevice | None = None
        self.pluggings = 0  # how often it was lost
        self._opens_left = 0
        self.lose = self.damaged = self.short = 0
        self.jpeg: Any = None
        self.h264: Any = None
        self.rates: dict[str, float] = {}
        self.controls: dict[str, list[int]] = {}
        self.inactive: tuple[str, ...] = ()
        self.clock: Clock = clock if clock is not None else FakeClock()
        self.inputs = 1
        self.input = 0
        self.opened = 0  # descriptors that are open now
        self.mapped = 0  # buffers that are mapped now
        self.wrap_at = 1 << 32
        self.sequence = 0
        self.pix: Any = None

    @property
    def vanished(self) -> bool:
        return self._vanished

    @vanished.setter
    def vanished(self, gone: bool) -> None:
        if gone and not self._vanished:
            self.lose_all()
        self._vanished = gone

    def lose_all(self) -> None:
        """Every descriptor that is open is dead from now on."""
        self.pluggings += 1
        self.owner = None
        self._opens_left = self.absent_opens

    def open(self, path: str) -> FakeDevice:
        """As ``CharacterDevice``."""
        self.hang.here("open")
        if self.open_errno:
            raise OSError(self.open_errno, os.strerror(self.open_errno), path)
        if self._vanished or self._opens_left or self.node not in (None, path):
            self._opens_left = max(0, self._opens_left - 1)
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        self.opened += 1
        return FakeDevice(self)


class _Memory(mmap.mmap):
    """A mapped buffer that notices when it is unmapped twice; at the latest it is when it is forgotten."""

    device: FakeDevice | None

    def close(self) -> None:
        assert self.device is not None, "unmapped twice"
        super().close()  # BufferError while there is a view of it
        self._unmapped()

    def __del__(self) -> None:
        self._unmapped()

    def _unmapped(self) -> None:
        device, self.device = self.device, None
        if device is not None:
            device.unmapped()


class FakeDevice:
    """An open descriptor of the webcam (``gnetsegd.cameras.v4l2_ioctl.Device``)."""

    def __init__(self, webcam: FakeWebcam) -> None:
        self._cam = webcam
        self._plugging = webcam.pluggings
        self._closed = False
        self._mapped = 0
        self._given = 0  # frames since STREAMON
        self._lengths: list[int] = []
        self._memory: dict[int, weakref.ref[_Memory]] = {}
        self._queued: list[int] = []
        self._streaming = False
        self._last_ns = 0
        self._calls = {
            v4l2.QUERYCAP: ("QUERYCAP", self._capability),
            v4l2.ENUM_FMT: ("ENUM_FMT", self._format_entry),
            v4l2.ENUM_FRAMESIZES: ("ENUM_FRAMESIZES", self._size_entry),
            v4l2.ENUM_FRAMEINTERVALS: ("ENUM_FRAMEINTERVALS", self._interval_entry),
            v4l2.S_FMT: ("S_FMT", self._set_format),
            v4l2.QUERYCTRL: ("QUERYCTRL", self._control_entry),
            v4l2.S_CTRL: ("S_CTRL", self._set_control),
            v4l2.S_INPUT: ("S_INPUT", self._set_input),
            v4l2.G_PARM: ("G_PARM", self._parm),
            v4l2.S_PARM: ("S_PARM", self._set_parm),
            v4l2.REQBUFS: ("REQBUFS", self._request_buffers),
            v4l2.QUERYBUF: ("QUERYBUF", self._query),
            v4l2.QBUF: ("QBUF", self._queue),
            v4l2.DQBUF: ("DQBUF", self._dequeue),
            v4l2.STREAMON: ("STREAMON", self._stream_on),
            v4l2.STREAMOFF: ("STREAMOFF", self._stream_off),
        }

    @property
    def _gone(self) -> bool:
        return self._plugging != self._cam.pluggings

    def ioctl(self, request: int, argument: Any) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "Bad file descriptor")
        if request not in self._calls:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
        name, call = self._calls[request]
        self._cam.hang.here(name)
        if self._gone:
            raise OSError(errno.ENODEV, "No such device")
        if name in _EXCLUSIVE and (self._cam.held or self._cam.owner not in (None, self)):
            raise OSError(errno.EBUSY, "Device or resource busy")
        call(argument)

    def map(self, length: int, offset: int) -> Any:
        index = offset // _PAGE
        if offset % _PAGE or index >= len(self._lengths) or length != self._lengths[index]:
            raise OSError(errno.EINVAL, "Invalid argument")
        memory = _Memory(-1, length)
        memory.device = self
        self._memory[index] = weakref.ref(memory)
        self._mapped += 1
        self._cam.mapped += 1
        return memory

    def unmapped(self) -> None:
        self._mapped -= 1
        self._cam.mapped -= 1
        self._free()

    def _free(self) -> None:
        if self._closed and not self._mapped and self._cam.owner is self:
            self._cam.owner = None

    def wait(self, timeout_s: float) -> bool:
        cam = self._cam
        cam.hang.here("wait")
        if self._gone:
            return True  # POLLERR
        limit_ns = cam.clock.now_ns() + round(timeout_s * NS_PER_S)
        due_ns = self._last_ns + self._period_ns() * (1 + cam.lose)
        if cam.stalled or not self._streaming or not self._queued or due_ns > limit_ns:
            cam.clock.sleep_until(limit_ns)
            return False
        cam.clock.sleep_until(due_ns)
        return True

    def close(self) -> None:
        self._cam.hang.here("close")
        if self._closed:
            raise OSError(errno.EBADF, "Bad file descriptor")
        self._closed = True
        self._cam.opened -= 1
        self._free()

    def _period_ns(self) -> int:
        return round(NS_PER_S / self._cam.fps)

    @staticmethod
    def _invalid() -> OSError:
        return OSError(errno.EINVAL, "Invalid argument")

    def _capability(self, capability: Any) -> None:
        capability.driver, capability.card = self._cam.driver, self._cam.card
        capability.capabilities = self._cam.capabilities | v4l2.CAP_DEVICE_CAPS
        capability.device_caps = self._cam.capabilities

    def _format_entry(self, entry: Any) -> None:
        if entry.type != v4l2.BUF_TYPE_VIDEO_CAPTURE or entry.index >= len(self._cam.formats):
            raise self._invalid()
        entry.pixelformat = v4l2.fourcc(self._cam.formats[entry.index])

    def _size_entry(self, entry: Any) -> None:
        if entry.index >= len(self._cam.sizes):
            raise self._invalid()
        size = self._cam.sizes[entry.index]
        if len(size) == 2:
            entry.type = v4l2.FRMSIZE_DISCRETE
            entry.size[0], entry.size[1] = size
        else:
            entry.type = 3  # stepwise
            entry.size[:] = (*size, *size)

    def _interval_entry(self, entry: Any) -> None:
        if entry.index:
            raise self._invalid()
        entry.type = v4l2.FRMIVAL_DISCRETE
        name = v4l2.fourcc_name(entry.pixel_format)
        entry.interval[0] = v4l2.Fract(1000, round(self._cam.rates.get(name, self._cam.fps) * 1000))

    def _set_format(self, wanted: Any) -> None:
        cam = self._cam
        if cam.format_errno:
            raise OSError(cam.format_errno, os.strerror(cam.format_errno))
        if wanted.type != v4l2.BUF_TYPE_VIDEO_CAPTURE:
            raise self._invalid()
        pix = wanted.fmt.pix
        name = v4l2.fourcc_name(pix.pixelformat)
        if name not in cam.formats:
            name = cam.formats[0]
            pix.pixelformat = v4l2.fourcc(name)
        if len(cam.sizes[0]) == 2:
            # A driver takes its nearest size without an error.
            pix.width, pix.height = min(
                cam.sizes, key=lambda size: abs(size[0] - pix.width) + abs(size[1] - pix.height)
            )
        samples = _SAMPLE_BYTES.get(name, 1)
        pix.bytesperline = pix.width * samples + (cam.pad_stride if samples else 0)
        planes = {"NV16": 2, "422P": 2}.get(name, 1.5 if name in ("NV12", "NV21", "YU12", "YV12") else 1)
        pix.sizeimage = round(pix.bytesperline * pix.height * planes) or pix.width * pix.height * 2
        pix.field = v4l2.FIELD_NONE
        pix.colorspace, pix.quantization = cam.colorspace, cam.quantization
        pix.ycbcr_enc = cam.ycbcr_enc
        cam.pix = v4l2.PixFormat.from_buffer_copy(pix)

    def _set_input(self, number: Any) -> None:
        if not 0 <= number.value < self._cam.inputs:
            raise self._invalid()
        self._cam.input = number.value

    def _control_entry(self, entry: Any) -> None:
        index = (entry.id & ~v4l2.CTRL_FLAG_NEXT_CTRL) - _FIRST_CONTROL + 1
        index = max(0, index) if entry.id & v4l2.CTRL_FLAG_NEXT_CTRL else index - 1
        if index >= len(self._cam.controls):
            raise self._invalid()
        name = list(self._cam.controls)[index]
        least, most, value = self._cam.controls[name]
        entry.id, entry.type = _FIRST_CONTROL + index, 1
        entry.name = name.replace("_", " ").title().encode()
        entry.minimum, entry.maximum, entry.default_value = least, most, value
        entry.flags = v4l2.CTRL_FLAG_READ_ONLY if least == most else 0

    def _set_control(self, control: Any) -> None:
        controls = self._cam.controls
        name = list(controls)[control.id - _FIRST_CONTROL]
        if name in self._cam.inactive and next(iter(controls.values()))[2] != 1:
            raise OSError(errno.EACCES, "Permission denied")
        controls[name][2] = control.value

    def _parm(self, parm: Any) -> None:
        parm.parm.capture.capability = v4l2.CAP_TIMEPERFRAME
        fps = self._cam.fps
        if self._cam.pix is not None:
            fps = min(fps, self._cam.rates.get(v4l2.fourcc_name(self._cam.pix.pixelformat), fps))
        parm.parm.capture.timeperframe = v4l2.Fract(1000, round(fps * 1000))

    def _set_parm(self, parm: Any) -> None:
        wanted = parm.parm.capture.timeperframe
        if wanted.numerator:
            self._cam.fps = min(self._cam.fps, wanted.denominator / wanted.numerator)
        self._parm(parm)

    def _request_buffers(self, wanted: Any) -> None:
        if self._cam.buffers_errno:
            raise OSError(self._cam.buffers_errno, os.strerror(self._cam.buffers_errno))
        if wanted.type != v4l2.BUF_TYPE_VIDEO_CAPTURE or wanted.memory != v4l2.MEMORY_MMAP:
            raise self._invalid()
        if self._mapped:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self._lengths = [self._cam.pix.sizeimage] * wanted.count
        self._cam.owner = self if wanted.count else None

    def _query(self, buffer: Any) -> None:
        if buffer.index >= len(self._lengths) or buffer.type != v4l2.BUF_TYPE_VIDEO_CAPTURE:
            raise self._invalid()
        buffer.length = self._lengths[buffer.index]
        buffer.m.offset = buffer.index * _PAGE

    def _queue(self, buffer: Any) -> None:
        if buffer.index >= len(self._lengths) or buffer.index in self._queued:
            raise self._invalid()
        self._queued.append(buffer.index)
        # As a kernel may: the structure tells of the buffer as it is now.
        buffer.sequence = buffer.bytesused = buffer.timestamp_s = buffer.timestamp_us = 0

    def _stream_on(self, kind: Any) -> None:
        if kind.value != v4l2.BUF_TYPE_VIDEO_CAPTURE:
            raise self._invalid()
        self._streaming = True
        self._given = 0
        self._last_ns = self._cam.clock.now_ns()

    def _stream_off(self, _kind: Any) -> None:
        self._streaming = False
        self._queued = []

    def _dequeue(self, buffer: Any) -> None:
        cam = self._cam
        if buffer.type != v4l2.BUF_TYPE_VIDEO_CAPTURE or buffer.memory != v4l2.MEMORY_MMAP:
            raise self._invalid()
        step = self._period_ns() * (1 + cam.lose)
        if not self._queued or cam.stalled or cam.clock.now_ns() < self._last_ns + step:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        if cam.flap_after_frames and self._given >= cam.flap_after_frames:
            cam.lose_all()
            raise OSError(errno.ENODEV, "No such device")
        self._given += 1
        cam.sequence += cam.lose
        cam.lose = 0
        self._last_ns += step
        buffer.index = self._queued.pop(0)
        buffer.sequence = cam.sequence % cam.wrap_at if cam.counts else 0
        buffer.flags = v4l2.BUF_FLAG_TIMESTAMP_MONOTONIC if cam.monotonic else 0
        stamp_ns = cam.stamp(self._last_ns) if cam.monotonic else 0
        buffer.timestamp_s, buffer.timestamp_us = stamp_ns // NS_PER_S, stamp_ns % NS_PER_S // 1000
        memory = self._memory[buffer.index]()
        assert memory is not None, "a buffer was unmapped while the camera streams"
        buffer.bytesused = self._paint(memory, cam.sequence)
        if cam.damaged:
            cam.damaged -= 1
            buffer.flags |= v4l2.BUF_FLAG_ERROR
        if cam.short:
            cam.short -= 1
            buffer.bytesused //= 2
        cam.sequence += 1

    def _paint(self, memory: _Memory, sequence: int) -> int:
        pix, flat = self._cam.pix, np.frombuffer(memory, np.uint8)
        width, height, stride = pix.width, pix.height, pix.bytesperline
        name = v4l2.fourcc_name(pix.pixelformat)
        luma = luminance(sequence, width, height)
        if name in ("MJPG", "H264"):
            data = self._cam.jpeg(luma) if name == "MJPG" else self._cam.h264(sequence)
            flat[: len(data)] = np.frombuffer(data, np.uint8)
            return len(data)
        flat[:] = PADDING
        rows = flat[: stride * height].reshape(height, stride)
        if name in ("YUYV", "UYVY", "YVYU"):
            first = 1 if name == "UYVY" else 0
            rows[:, first : 2 * width : 2] = luma
            rows[:, 1 - first : 2 * width : 2] = 128
        elif name in ("RGB3", "BGR3"):
            rows[:, : 3 * width] = np.repeat(luma, 3, axis=1)
        elif name in ("XR24", "BGR4"):
            rows[:, : 4 * width] = np.repeat(luma, 4, axis=1)
        elif name == "Y16 ":
            rows[:, 1 : 2 * width : 2] = luma
        else:
            rows[:, :width] = luma
            chroma = flat[stride * height :]
            if name in ("NV12", "NV21"):
                chroma = chroma.reshape(height // 2, stride)
                first = 0 if name == "NV12" else 1
                chroma[:, first:width:2], chroma[:, 1 - first : width : 2] = self._cam.chroma
            elif name == "NV16":
                chroma = chroma.reshape(height, stride)
                chroma[:, :width:2], chroma[:, 1:width:2] = self._cam.chroma
            elif name == "422P":
                both = chroma.reshape(2, height, stride // 2)
                both[0, :, : width // 2], both[1, :, : width // 2] = self._cam.chroma
            elif name in ("YU12", "YV12"):
                both = chroma.reshape(2, height // 2, stride // 2)
                first = 0 if name == "YU12" else 1
                both[first, :, : width // 2], both[1 - first, :, : width // 2] = self._cam.chroma
        return int(pix.sizeimage)

"""Webcams by Video4Linux2: streaming from the driver's own buffers, without another library.

PyAV is needed only to scale, to expand limited range, and for cameras that give nothing but
motion JPEG; a camera that gives the frame's size in full range does without it. Multi-planar
devices (``V4L2_CAP_VIDEO_CAPTURE_MPLANE`` alone) are not served.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Callable
from ctypes import c_int32
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ..config import option
from ..errors import AbsentError, CameraStalled, PermanentError, TransientError
from ..text import clean
from . import CameraInfo, CaptureRequest
from . import v4l2_ioctl as v4l2
from .addresses import refuse_address
from .full_picture import FullPicture
from .geometry import Fit, check_pair
from .losses import DRIVER, Losses
from .pacing import NS_PER_S, Clock, MonotonicClock
from .tracebacks import forget_locals
from .v4l2_controls import set_controls
from .v4l2_formats import COMPRESSED, LAYOUTS, Mode, choose, is_fast_enough, modes_of
from .v4l2_links import Links
from .v4l2_reader import Reader

if TYPE_CHECKING:
    from ..frame import Frame

log = logging.getLogger(__name__)

_WRAP = 1 << 32
#: As they are written in the configuration.
PIXEL_FORMATS = tuple(name.strip() for name in (*LAYOUTS, *COMPRESSED))
#: A picture that a driver says is wider or higher is none.
_LONGEST_SIDE_PIXELS = 16384


@attrs.frozen
class V4l2Options:
    """``[camera.v4l2]``"""

    device: str = option("/dev/video0", "the device node; /dev/v4l/by-id/... stays the same over reboots")
    pixel_format: str = option(
        "auto",
        "what the camera sends; auto takes what is least work",
        choices=("auto", *PIXEL_FORMATS),
    )
    width: int = option(
        0,
        "with height the size that the camera sends; 0 is the smallest that covers the model's input",
        unit="pixels",
        minimum=0,
        maximum=16384,
    )
    height: int = option(0, "height to capture at, likewise", unit="pixels", minimum=0, maximum=16384)
    range: str = option(
        "auto",
        "of its luminance: full (0 to 255), limited (16 to 235), or auto: what the driver says",
        choices=("auto", "full", "limited"),
    )
    input: int = option(-1, "which input of a capture card; -1 leaves it as it is", minimum=-1, maximum=63)
    buffer_count: int = option(4, "buffers in the driver", minimum=2, maximum=32)
    controls: dict[str, int] = option(
        {}, "set when it is opened, by the names and within the ranges that v4l2-ctl --list-ctrls shows"
    )

    def __attrs_post_init__(self) -> None:
        check_pair("camera.v4l2", "width", self.width, "height", self.height)


class V4l2Camera:
    """A webcam. ``sequence`` and ``sensor_timestamp_ns`` are the driver's own, where they can be.

    ``lost`` counts the pictures that arrived damaged: they are passed over.
    """

    Options: ClassVar[type[Any]] = V4l2Options
    #: Where webcams stood that were open before: each session has a camera object of its own.
    links: ClassVar[Links] = Links()
    #: Of uvcvideo and of the USB core, for a webcam whose firmware hangs.
    request_limit_s: ClassVar[float] = 5.0

    def __init__(
        self,
        options: V4l2Options | None = None,
        open_device: Callable[[str], v4l2.Device] = v4l2.CharacterDevice,
        clock: Clock | None = None,
    ) -> None:
        self._options = options if options is not None else V4l2Options()
        self._open_device = open_device
        self._clock = clock if clock is not None else MonotonicClock()
        self._device: v4l2.Device | None = None
        self._request: CaptureRequest | None = None
        self._memory: list[Any] = []
        self._reader: Reader | None = None
        self._sequence = -1
        self._driver_sequence = 0
        #: The time of the last frame, or of the start: the next one's is later.
        self._stamp_ns = 0
        self._distrusted = False
        self._losses = Losses(log)
        self.lost = self._losses.counts
        self.info: CameraInfo | None = None
        self._fit: Fit | None = None  # what ``info`` tells
        self.wants_picture = False
        self._kept: Any = None  # the buffer of the last frame, which the driver has not got back yet

    def open(self, request: CaptureRequest) -> CameraInfo:
        """Start the stream.

        ``AbsentError``: 66 no such device (yet). ``PermanentError``: 66 a path that can be none, 69
        not a camera that can be used, 77 not permitted. ``TransientError``: 75 in use by another
        program, and the rest. Each request of the driver is bounded by the kernel (5 s for a webcam).
        """
        self.close()
        path = self._options.device
        refuse_address("camera.v4l2.device", path, "name a device such as /dev/video0")
        if "\0" in path:
            raise _no_such_path(path)
        try:
            path = self.links.find(path)
            self._device = device = self._open_device(path)
            self._check_capabilities(device)
            self._select_input(device)
            set_controls(device, clean(path), self._options.controls)
            mode = self._mode(device, request)
            pix = self._set_format(device, mode)
            fps = self._set_rate(device, request.fps)
            self._reader = Reader(pix, request, self._options.range)
            self._start(device, self._reader.size_bytes)
        except OSError as error:
            self.close()
            raise _not_opened(path, error) from None
        except BaseException:
            self.close()
            raise
        self._request, self._sequence, self._fit = request, -1, self._reader.fit
        self.links.remember(self._options.device, path)
        description = f"{path} {self._told(pix, fps)}"
        self.info = CameraInfo(fps, self._fit.geometry, description)
        return self.info

    def capture(self, frame: Frame) -> None:
        device, request, reader = self._device, self._request, self._reader
        if device is None or request is None or reader is None:
            raise TransientError(f"{self._options.device}: the camera is not open")
        deadline_ns = self._clock.now_ns() + int(request.timeout_s * NS_PER_S)
        late = 0
        try:
            self._give_back()
            while True:
                left_s = (deadline_ns - self._clock.now_ns()) / NS_PER_S
                if left_s <= 0 or not device.wait(left_s):
                    raise CameraStalled(
                        f"{self._options.device} gave no frame for {request.timeout_s:g} s; "
                        "if it stays so, plug it in again"
                    )
                # Of pictures that are made from others none may be passed over.
                buffer = self._dequeue(device) if reader.needs_all else self._newest(device)
                damage = self._read(reader, buffer, frame)
                self._kept = buffer
                if damage != "" or not (self.wants_picture and reader.needs_buffer):
                    self._give_back()
                if damage is None:
                    continue
                if not damage:
                    if reader.fit is not self._fit:
                        self._tell_geometry(reader.fit)
                    if reader.needs_all and late < len(self._memory) and device.wait(0.0):
                        late += 1  # a newer one is there already
                        continue
                    return
                self._losses.add(
                    damage, f"{clean(self._options.device)}: a picture arrived damaged ({damage})"
                )
        except BlockingIOError:
            raise TransientError(f"{self._options.device}: its driver gives no more frames") from None
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise TransientError(f"{self._options.device}: the camera has been unplugged") from None
            raise TransientError(f"{self._options.device}: {_words(error)}") from None

    def close(self) -> None:
        """Never raises; a part that cannot be freed does not keep the others."""
        device, self._device = self._device, None
        memory, self._memory = self._memory, []
        self._request = self._reader = self._kept = None
        if device is None:
            return
        with contextlib.suppress(OSError):  # it was not streaming, or is gone
            device.ioctl(v4l2.STREAMOFF, c_int32(v4l2.BUF_TYPE_VIDEO_CAPTURE))
        for free in (*(each.close for each in memory), device.close):
            try:
                free()
            except Exception as error:
                log.warning("%s: closing it failed: %s", self._options.device, _words(error))

    def picture(self) -> FullPicture | None:
        """The webcam's own picture of the last frame, if ``wants_picture`` was set."""
        reader, kept = self._reader, self._kept
        if reader is None or self.info is None:
            return None
        try:
            return reader.full_picture(self._memory[kept.index] if kept is not None else None)
        except Exception as error:
            forget_locals(error)
            raise
        finally:
            with contextlib.suppress(OSError):  # the next capture tells what is wrong
                self._give_back()

    def _give_back(self) -> None:
        """Let the driver have the last frame's buffer again."""
        kept, self._kept = self._kept, None
        if kept is not None and self._device is not None:
            self._device.ioctl(v4l2.QBUF, kept)

    def _tell_geometry(self, fitted: Fit) -> None:
        self._fit = fitted
        if self.info is not None and fitted.geometry != self.info.geometry:
            self.info = self.info._replace(geometry=fitted.geometry)

    def _read(self, reader: Reader, buffer: Any, frame: Frame) -> str | None:
        """Number the frame and fill its pixels; the kind of loss of a picture that arrived damaged, None
        where there is no picture yet.
        """
        # Before the buffer goes back: QBUF may fill the same structure anew.
        before = self._sequence
        self._number(buffer, frame)
        is_bad = bool(buffer.flags & v4l2.BUF_FLAG_ERROR)
        if is_bad or self._sequence > before + 1:
            reader.missed()
        if is_bad:
            return DRIVER
        try:
            return reader.read(self._memory[buffer.index], buffer.bytesused, frame)
        except Exception as error:
            forget_locals(error)  # else close() could not unmap what they are views of
            raise TransientError(
                f"{self._options.device}: a picture cannot be read: {_words(error)}"
            ) from error

    def _check_capabilities(self, device: v4l2.Device) -> None:
        path, capability = self._options.device, v4l2.Capability()
        try:
            device.ioctl(v4l2.QUERYCAP, capability)
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EINVAL):
                raise
            raise PermanentError(
                f"{path}: is no video device; set camera.v4l2.device to /dev/videoN"
            ) from None
        able = capability.capabilities
        if able & v4l2.CAP_DEVICE_CAPS:
            able = capability.device_caps  # of this node alone
        if not able & v4l2.CAP_VIDEO_CAPTURE or not able & v4l2.CAP_STREAMING:
            what = (
                "multi-planar, which is not served" if able & v4l2.CAP_VIDEO_CAPTURE_MPLANE else "no camera"
            )
            raise PermanentError(f"{path}: this node is {what}; try its other one (v4l2-ctl --list-devices)")

    def _told(self, pix: v4l2.PixFormat, fps: float) -> str:
        """What comes, and where that is another size, or a lower rate, than it was asked for."""
        options, request = self._options, self._request
        assert request is not None
        words = f"{v4l2.fourcc_name(pix.pixelformat).strip()} {pix.width}x{pix.height}"
        if options.width and (pix.width, pix.height) != (options.width, options.height):
            words += f" (in place of {options.width}x{options.height}, which it has not)"
        words += f" stride {pix.bytesperline}"
        if fps and not is_fast_enough(fps, request.fps):
            words += f" at {fps:.4g}/s (in place of {request.fps:g}/s; a smaller size may be faster)"
        return words

    def _select_input(self, device: v4l2.Device) -> None:
        number = self._options.input
        if number < 0:
            return
        try:
            device.ioctl(v4l2.S_INPUT, c_int32(number))
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EINVAL):
                raise
            raise PermanentError(
                f"{self._options.device}: has no input {number}; v4l2-ctl --list-inputs shows them"
            ) from None

    def _mode(self, device: v4l2.Device, request: CaptureRequest) -> Mode:
        options, spec = self._options, request.spec
        size = (options.width, options.height)
        offered = modes = modes_of(device, options.width or spec.width, options.height or spec.height)
        if options.pixel_format != "auto":
            modes = [mode for mode in modes if mode.pixel_format == _padded(options.pixel_format)]
        mode = choose(modes, spec, request.fps, size)
        if mode is None:
            has = ", ".join(dict.fromkeys(mode.pixel_format.strip() for mode in offered)) or "none"
            raise PermanentError(
                f"{options.device}: offers no pixel format that is known here"
                + (f" as {options.pixel_format}" if options.pixel_format != "auto" else "")
                + f": it has {clean(has)}; known are {', '.join(PIXEL_FORMATS)}"
            )
        if options.width and options.height:
            mode = mode._replace(width=options.width, height=options.height)
        return mode

    def _set_format(self, device: v4l2.Device, mode: Mode) -> v4l2.PixFormat:
        wanted = v4l2.Format(type=v4l2.BUF_TYPE_VIDEO_CAPTURE)
        wanted.fmt.pix = v4l2.PixFormat(
            width=mode.width,
            height=mode.height,
            pixelformat=v4l2.fourcc(mode.pixel_format),
            field=v4l2.FIELD_NONE,
            priv=v4l2.PIX_FMT_PRIV_MAGIC,
        )
        device.ioctl(v4l2.S_FMT, wanted)
        pix: v4l2.PixFormat = wanted.fmt.pix
        name = v4l2.fourcc_name(pix.pixelformat)
        # A driver may give another size or format than asked for: what it says is what comes.
        if name not in LAYOUTS and name not in COMPRESSED:
            raise PermanentError(
                f"{self._options.device}: gives {clean(name)} in place of {mode.pixel_format}; choose another"
            )
        row_bytes = pix.width * LAYOUTS[name].planes[0][3] if name in LAYOUTS else 0
        sides = range(1, _LONGEST_SIDE_PIXELS + 1)
        if pix.width not in sides or pix.height not in sides or pix.bytesperline < row_bytes:
            raise PermanentError(
                f"{self._options.device}: says that it gives {pix.width}x{pix.height} pixels in rows of "
                f"{pix.bytesperline} bytes, which cannot be; choose another format or size"
            )
        if pix.field > v4l2.FIELD_NONE:
            raise PermanentError(
                f"{self._options.device}: gives interlaced pictures; choose another input or size"
            )
        return pix

    def _set_rate(self, device: v4l2.Device, fps: float) -> float:
        """Ask for the rate; the rate that it will be, 0 when the driver does not tell."""
        parm = v4l2.StreamParm(type=v4l2.BUF_TYPE_VIDEO_CAPTURE)
        try:
            device.ioctl(v4l2.G_PARM, parm)
            if fps > 0 and parm.parm.capture.capability & v4l2.CAP_TIMEPERFRAME:
                parm.parm.capture.timeperframe = v4l2.Fract(1000, round(fps * 1000))
                device.ioctl(v4l2.S_PARM, parm)
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EINVAL):
                raise
            return 0.0
        interval = parm.parm.capture.timeperframe
        return interval.denominator / interval.numerator if interval.numerator else 0.0

    def _start(self, device: v4l2.Device, size_bytes: int) -> None:
        wanted = v4l2.RequestBuffers(
            count=self._options.buffer_count, type=v4l2.BUF_TYPE_VIDEO_CAPTURE, memory=v4l2.MEMORY_MMAP
        )
        device.ioctl(v4l2.REQBUFS, wanted)
        if not wanted.count:
            raise TransientError(f"{self._options.device}: its driver has no memory for pictures")
        for index in range(wanted.count):
            buffer = v4l2.Buffer(index=index, type=v4l2.BUF_TYPE_VIDEO_CAPTURE, memory=v4l2.MEMORY_MMAP)
            device.ioctl(v4l2.QUERYBUF, buffer)
            if buffer.length < max(1, size_bytes):
                raise PermanentError(f"{self._options.device}: its driver gives buffers that hold no picture")
            self._memory.append(device.map(buffer.length, buffer.m.offset))
            device.ioctl(v4l2.QBUF, buffer)
        self._stamp_ns = self._clock.now_ns()
        device.ioctl(v4l2.STREAMON, c_int32(v4l2.BUF_TYPE_VIDEO_CAPTURE))

    def _newest(self, device: v4l2.Device) -> Any:
        """The newest of the buffers that are ready; older ones go straight back to the driver."""
        newest = self._dequeue(device)
        # As many as there can be: a driver that is faster than this loop would keep it for ever.
        for _ in range(len(self._memory) - 1):
            try:
                following = self._dequeue(device)
            except BlockingIOError:
                return newest
            device.ioctl(v4l2.QBUF, newest)
            newest = following
        return newest

    @staticmethod
    def _dequeue(device: v4l2.Device) -> Any:
        buffer = v4l2.Buffer(type=v4l2.BUF_TYPE_VIDEO_CAPTURE, memory=v4l2.MEMORY_MMAP)
        device.ioctl(v4l2.DQBUF, buffer)
        return buffer

    def _number(self, buffer: Any, frame: Frame) -> None:
        step = (buffer.sequence - self._driver_sequence) % _WRAP
        if self._sequence < 0:
            self._sequence = buffer.sequence
        else:
            # Some drivers do not count, or begin anew: then it is at least one more.
            self._sequence += step if 0 < step < _WRAP // 2 else 1
        self._driver_sequence = buffer.sequence
        frame.sequence = self._sequence
        now_ns = self._clock.now_ns()
        stamp_ns = buffer.timestamp_s * NS_PER_S + buffer.timestamp_us * 1000
        monotonic = buffer.flags & v4l2.BUF_FLAG_TIMESTAMP_MASK == v4l2.BUF_FLAG_TIMESTAMP_MONOTONIC
        # A time to come, or not after the last one, is no time of this picture whatever the driver says.
        if not (monotonic and self._stamp_ns < stamp_ns <= now_ns):
            if not self._distrusted:
                self._distrusted = True
                log.warning(
                    "%s: its driver's times cannot be true: the time at which a picture arrives is taken",
                    clean(self._options.device),
                )
            stamp_ns = now_ns
        self._stamp_ns = frame.sensor_timestamp_ns = stamp_ns


def _padded(name: str) -> str:
    """The four letters of a format that has only three."""
    return f"{name:<4}"


def _words(error: Exception) -> str:
    return clean(str(getattr(error, "strerror", None) or error)) or type(error).__name__


def _no_such_path(path: str) -> PermanentError:
    return PermanentError(
        f"{clean(path)}: can be no camera; set camera.v4l2.device "
        "(v4l2-ctl --list-devices shows what there is)",
        os.EX_NOINPUT,
    )


def _not_opened(path: str, error: OSError) -> PermanentError | TransientError:
    match error.errno:
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            return AbsentError(
                f"{path}: there is no such camera; plug it in, or set camera.v4l2.device "
                "(v4l2-ctl --list-devices shows what there is)",
                os.EX_NOINPUT,
            )
        case errno.ENOTDIR | errno.EISDIR | errno.ELOOP | errno.ENAMETOOLONG:
            return _no_such_path(path)
        case errno.EACCES | errno.EPERM:
            return PermanentError(
                f"{path}: this user may not open it; add the user to the group video", os.EX_NOPERM
            )
        case errno.EBUSY:
            return TransientError(
                f"{path}: is in use by another program; end that one (fuser {path} shows it)"
            )
        case errno.ENOSPC:
            return PermanentError(
                f"{path}: the USB bus has no room for this size and rate; lower camera.v4l2.width and "
                "height or camera.fps, or set camera.v4l2.pixel_format to MJPG",
                os.EX_UNAVAILABLE,
            )
    return TransientError(f"{path}: could not be started: {_words(error)}")

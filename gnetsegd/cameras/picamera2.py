"""Cameras of the Raspberry Pi by picamera2: one small stream, cropped and scaled by the ISP.

A second one is larger, where pictures for people are switched on. It costs the processor nothing until
somebody wants them.

picamera2 and libcamera are imported when a camera object is made: only a Pi has them. Nothing of a
frame's size is copied but the one strided copy into the frame; of the metadata only the time is
read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import os
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from ..config import option
from ..errors import AbsentError, CameraStalled, PermanentError, TransientError
from ..text import clean
from . import CameraInfo, CaptureRequest, pyav
from .full_picture import FullPicture
from .geometry import Fit, Rect, View, check_pair, fit, region
from .planes import GREY, planes_of, rows_of
from .tracebacks import forget_locals
from .turn import UPRIGHT, Turn, turned_rect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..frame import Frame, Geometry

log = logging.getLogger(__name__)

US_PER_S = 1_000_000
NS_PER_US = 1_000

#: The slowest that a camera may become by itself (``fps = 0``), in dim light.
SLOWEST_US = 66_667

#: So many errors of a chain are looked at.
_CAUSES_MAX = 8
#: What libcamera says to the second object of one process that wants the camera.
_HELD_HERE = "trying acquire() requiring state Available"


@attrs.frozen
class Picamera2Options:
    """``[camera.picamera2]``"""

    camera_num: int = option(0, "which camera, as rpicam-hello --list-cameras counts", minimum=0, maximum=15)
    sensor_width: int = option(
        0,
        "with sensor_height the sensor mode, which decides view and fastest rate; 0 is libcamera's choice",
        unit="pixels",
        minimum=0,
        maximum=16384,
    )
    sensor_height: int = option(0, "see sensor_width", unit="pixels", minimum=0, maximum=16384)
    hflip: bool = option(False, "mirror the picture")
    vflip: bool = option(False, "turn the picture upside down (with hflip: by 180 degrees)")
    buffer_count: int = option(
        4, "buffers of the camera; fewer save memory, more bridge a busy machine", minimum=2, maximum=16
    )

    def __attrs_post_init__(self) -> None:
        check_pair("camera.picamera2", "sensor_width", self.sensor_width, "sensor_height", self.sensor_height)


class Picamera2Camera:
    """A camera of the Pi. ``sensor_timestamp_ns`` is libcamera's SensorTimestamp."""

    Options: ClassVar[type[Any]] = Picamera2Options
    makes_pictures: ClassVar[bool] = True

    def __init__(self, options: Picamera2Options | None = None) -> None:
        """``PermanentError`` (69) where picamera2 is not installed, or does not fit."""
        self._options = options if options is not None else Picamera2Options()
        # Here, because it takes seconds on a Pi and the time to open a camera is limited.
        self._picamera2, self._libcamera = _load()
        self._picam2: Any = None
        self._request: CaptureRequest | None = None
        self._inner = Rect(0, 0, 0, 0)
        #: All that makes the picture upright; the ISP mirrors and turns by 180 degrees, the rest is ours.
        self._turn = UPRIGHT
        self._stride = 0
        #: The stream that the network's pictures come in; beside "lores", "main" has those for people.
        self._stream = "main"
        self.wants_picture = False
        self._kept: Any = None  # the request of the last frame, whose picture may be asked for
        self._shown: Geometry | None = None  # what pictures for people show
        self._frame_us = 0  # 0 while the camera may choose its own rate
        self._sequence = -1
        self._buffer_sequence = 0
        self._timestamp_ns = 0

    def open(self, request: CaptureRequest) -> CameraInfo:
        """Start the camera.

        ``AbsentError``: 66 no such camera (yet). ``PermanentError``: 69 not a camera of the Pi, 77 not
        permitted. ``TransientError``: 75 in use by another program, and
        the rest. picamera2 offers no limit for this, nor for closing: it may block for ever.
        """
        self.close()
        try:
            return self._start(self._picamera2.Picamera2, self._libcamera, request)
        except (PermanentError, TransientError):
            self.close()
            raise
        except Exception as error:  # the library raises whatever happens to it
            self.close()
            forget_locals(error)  # one that failed while it was made holds the camera until it is gone
            raise _not_opened(self._options.camera_num, error) from error

    def capture(self, frame: Frame) -> None:
        picam2, wanted = self._picam2, self._request
        if picam2 is None or wanted is None:
            raise TransientError("picamera2: the camera is not open")
        self._give_back()
        try:
            job = picam2.capture_request(wait=False)
            completed = picam2.wait(job, timeout=wanted.timeout_s)
        except TimeoutError:
            raise CameraStalled(
                f"camera {self._options.camera_num} gave no frame for {wanted.timeout_s:g} s; "
                "if it stays so, check its cable and power"
            ) from None
        except Exception as error:
            forget_locals(error)
            raise TransientError(f"camera {self._options.camera_num}: {_words(error)}") from error
        try:
            self._read(completed, frame)
        except Exception as error:
            forget_locals(error)  # else close() could not unmap what they are views of
            with contextlib.suppress(Exception):  # the reason is what failed first
                completed.release()
            raise TransientError(
                f"camera {self._options.camera_num}: unreadable buffer: {_words(error)}"
            ) from error
        self._kept = completed
        if not (self.wants_picture and self._shown):
            self._give_back()

    def picture(self) -> FullPicture | None:
        """That of the stream for people, of the last frame, if ``wants_picture`` was set."""
        kept, shown = self._kept, self._shown
        if kept is None or shown is None:
            return None
        try:
            buffer = kept.request.buffers[self._picam2.stream_map["main"]]
            config = self._picam2.camera_config["main"]
            image = _copied(self._picam2.allocator.mapped_buffers[buffer], config)
        except Exception as error:
            forget_locals(error)  # else close() could not unmap what they are views of
            raise
        finally:
            self._give_back()
        left = self._turn.rotation % 180  # the rest was turned by the ISP
        return FullPicture(image, shown, View(Turn(left)), "full", "bt601")

    def _give_back(self) -> None:
        """Before this the camera cannot use the last frame's buffers again."""
        kept, self._kept = self._kept, None
        if kept is not None:
            try:
                kept.release()
            except Exception as error:
                raise TransientError(f"camera {self._options.camera_num}: {_words(error)}") from error

    def close(self) -> None:
        """Never raises; what fails is logged, and does not keep the rest from being freed."""
        with contextlib.suppress(TransientError):
            self._give_back()
        picam2, self._picam2 = self._picam2, None
        self._request = self._shown = None
        if picam2 is None:
            return
        # A job still waiting for a frame would never end.
        for free in (picam2.cancel_all_and_flush, picam2.close):
            try:
                free()
            except Exception as error:
                forget_locals(error)
                log.warning("camera %d: closing it failed: %s", self._options.camera_num, _words(error))

    def _start(self, factory: Any, libcamera: Any, request: CaptureRequest) -> CameraInfo:
        number = self._options.camera_num
        if number >= len(factory.global_camera_info()):
            raise AbsentError(
                f"there is no camera {number}; check its cable, and what rpicam-hello --list-cameras shows",
                os.EX_NOINPUT,
            )
        self._picam2 = picam2 = factory(number)
        if "ScalerCrop" not in picam2.camera_controls:
            raise PermanentError(
                f"camera {number} is not one of the Pi; for a webcam set camera.driver to v4l2"
            )
        fitted = self._configure(libcamera, request)
        crop, inner, geometry = fitted
        controls: dict[str, Any] = {"FrameDurationLimits": self._durations(picam2, request.fps)}
        # Where libcamera knows ScalerCrops, picamera2 has already set it, and it outweighs the other.
        if "ScalerCrops" in picam2.camera_controls:
            controls["ScalerCrops"] = [tuple(crop)] * (1 if self._shown is None else 2)
        else:
            controls["ScalerCrop"] = tuple(crop)
        picam2.set_controls(controls)
        picam2.start()
        self._request, self._inner = request, inner
        self._sequence = -1
        self._stride = int(picam2.camera_config[self._stream]["stride"])
        fps = US_PER_S / controls["FrameDurationLimits"][0]
        model = clean(str(picam2.camera_properties.get("Model", "camera")))
        description = f"{model} {inner.width}x{inner.height} stride {self._stride} at {fps:.4g} frames/s"
        if self._shown is not None:
            description += ", pictures of {}x{}".format(*picam2.camera_config["main"]["size"])
        return CameraInfo(fps, geometry, description)

    def _configure(self, libcamera: Any, request: CaptureRequest) -> Fit:
        """Configure the stream, or two; what the ISP cuts out of the sensor, and where it goes."""
        picam2, spec, options = self._picam2, request.spec, self._options
        turn = self._turn = _own_turn(options).then(request.turn)
        by_isp = Turn(turn.rotation // 180 * 180, turn.mirrored)
        vflip = by_isp.rotation == 180
        sensor: dict[str, Any] = {}
        if options.sensor_width and options.sensor_height:
            sensor["output_size"] = (options.sensor_width, options.sensor_height)
        # libcamera names packed formats from the most significant byte: this is R, G, B in memory.
        pixel_format = "BGR888" if spec.pixel_format == "RGB" else "YUV420"
        size = _lying(turn, spec.width, spec.height)
        for _ in range(2):
            streams = {"main": {"format": pixel_format, "size": size}}
            large = _large(size, request.picture_width, turn)
            # The ISP of a Pi 4 or older gives a second stream in YUV only, and no larger than the first.
            if pixel_format == "YUV420" and large is not None:
                streams = {"main": streams["main"] | {"size": large}, "lores": streams["main"]}
            self._stream = "lores" if "lores" in streams else "main"
            picam2.configure(
                picam2.create_video_configuration(
                    **streams,
                    raw=None,  # the raw stream would only cost memory
                    transform=libcamera.Transform(hflip=by_isp.mirrored != vflip, vflip=vflip),
                    colour_space=libcamera.ColorSpace.Sycc(),  # BT.601, full range
                    buffer_count=options.buffer_count,
                    display=None,
                    encode=None,
                    queue=False,  # always the newest frame
                    sensor=sensor,
                )
            )
            given = picam2.camera_config[self._stream]
            if given["format"] != pixel_format or tuple(given["size"]) != size:
                raise PermanentError(
                    f"camera {options.camera_num} offers {clean(str(given['format']))} {given['size']} "
                    f"instead of {pixel_format} {size}; use a model with another input size"
                )
            left, top, width, height = picam2.camera_controls["ScalerCrop"][1]
            source, inner, _ = fit(request.geometry, width, height, spec.width, spec.height, View(turn))
            if size == _lying(turn, inner.width, inner.height):
                break
            # A letterbox: how high is known only once the sensor mode is.
            size = _lying(turn, inner.width, inner.height)
        crop = Rect(left + source.x, top + source.y, source.width, source.height)
        array = tuple(picam2.camera_properties.get("PixelArraySize", (left * 2 + width, top * 2 + height)))
        upright = Rect(*turned_rect(turn, crop, array))
        geometry = region(request.geometry, upright, inner, _lying(turn, *array), (spec.width, spec.height))
        geometry = dataclasses.replace(geometry, rotation=turn.rotation, mirrored=turn.mirrored)
        if self._stream == "lores":
            # Without the padding of a letterbox.
            across, down = _lying(turn, *array)
            self._shown = dataclasses.replace(
                geometry, x=upright.x / across, y=upright.y / down,
                width=upright.width / across, height=upright.height / down,
            )  # fmt: skip
        return Fit(crop, inner, geometry)

    def _durations(self, picam2: Any, fps: float) -> tuple[int, int]:
        """Shortest and longest time of a frame in us, within what the sensor mode can do."""
        shortest, longest, _ = picam2.camera_controls["FrameDurationLimits"]
        if fps <= 0:
            self._frame_us = 0
            return int(shortest), max(int(shortest), SLOWEST_US)
        self._frame_us = round(min(max(US_PER_S / fps, shortest), longest))
        return self._frame_us, self._frame_us

    def _read(self, completed: Any, frame: Frame) -> None:
        """Copy the picture of a completed request, and number it."""
        buffer = completed.request.buffers[self._picam2.stream_map[self._stream]]
        # The request was synchronised for reading when it completed; MappedArray would do it again.
        self._copy(self._picam2.allocator.mapped_buffers[buffer], frame.pixels)
        timestamp_ns = _sensor_timestamp_ns(completed.request.metadata)
        self._sequence += self._step(buffer.metadata.sequence, timestamp_ns)
        frame.sequence, frame.sensor_timestamp_ns = self._sequence, timestamp_ns

    def _copy(self, memory: Any, pixels: NDArray[np.uint8]) -> None:
        """The one copy: rows in the ISP's memory are padded, and it must be given back."""
        assert self._request is not None
        spec, inner = self._request.spec, self._inner
        if inner[2:] != (spec.width, spec.height):
            pixels.fill(GREY)
        targets = planes_of(pixels, spec, inner)
        if self._turn.on_its_side:
            # What the ISP wrote lies on its side: seen from there the frame's rows are its columns.
            targets = [target.T[::-1] for target in targets]
        width, height = _lying(self._turn, inner.width, inner.height)
        if spec.pixel_format == "RGB":
            for channel, target in enumerate(targets):
                np.copyto(target, rows_of(memory, channel, self._stride, width, height, step=3))
            return
        np.copyto(targets[0], rows_of(memory, 0, self._stride, width, height))
        offset, stride = self._stride * height, self._stride // 2
        for target in targets[1:]:
            chroma = rows_of(memory, offset, stride, width // 2, height // 2)
            if spec.pixel_format == "YUV420":
                np.copyto(target, chroma)
            else:  # YUV444: each value stands for four pixels
                for row in range(2):
                    for column in range(2):
                        np.copyto(target[row::2, column::2], chroma)
            offset += stride * (height // 2)

    def _step(self, buffer_sequence: int, timestamp_ns: int) -> int:
        """How many frames further this one is than the last.

        The ISP's number counts frames that nobody took, but not those that the sensor made while
        no buffer was free: these show in the time alone.
        """
        by_number = buffer_sequence - self._buffer_sequence
        elapsed_us = (timestamp_ns - self._timestamp_ns) / NS_PER_US
        by_time = round(elapsed_us / self._frame_us) if self._frame_us else 1
        self._buffer_sequence, self._timestamp_ns = buffer_sequence, timestamp_ns
        return 1 if self._sequence < 0 else max(1, by_number, by_time)


def _own_turn(options: Picamera2Options) -> Turn:
    """What ``hflip`` and ``vflip`` of the driver's own table do."""
    return Turn(180 if options.vflip else 0, options.hflip != options.vflip)


def _lying(turn: Turn, width: int, height: int) -> tuple[int, int]:
    """An upright size, as it is before ``turn``; and the other way round."""
    return (height, width) if turn.on_its_side else (width, height)


def _large(size: tuple[int, int], wanted_width: int, turn: Turn) -> tuple[int, int] | None:
    """How large pictures for people lie in memory, in the proportions of ``size``; None: no larger."""
    factor = wanted_width / (size[1] if turn.on_its_side else size[0])
    return (2 * round(size[0] * factor / 2), 2 * round(size[1] * factor / 2)) if factor > 1 else None


def _copied(memory: Any, stream: Any) -> Any:
    """An ``av.VideoFrame`` with a copy of a YUV420 stream's picture."""
    (width, height), stride = stream["size"], int(stream["stride"])
    image, offset = pyav.load().VideoFrame(width, height, "yuv420p"), 0
    for plane, part in zip(image.planes, (1, 2, 2), strict=True):
        across, down = width // part, height // part
        source = rows_of(memory, offset, stride // part, across, down)
        np.copyto(rows_of(plane, 0, plane.line_size, across, down), source)
        offset += stride // part * down
    return image


def _words(error: BaseException) -> str:
    return clean(str(error)) or type(error).__name__


def _load() -> tuple[Any, Any]:
    try:
        return import_module("picamera2"), import_module("libcamera")
    except Exception as error:  # numpy of another version than apt's: ValueError, SystemError, ...
        raise PermanentError(
            f"picamera2 cannot be imported ({_words(error)}): apt install python3-picamera2, "
            "and make a virtual environment with --system-site-packages and numpy below 2"
        ) from None


def _not_opened(number: int, error: Exception) -> PermanentError | TransientError:
    """picamera2 wraps libcamera's error in its own: look through the chain for the reason."""
    words: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(words) < _CAUSES_MAX:
        words.append(_words(cause))
        if _HELD_HERE in words[-1]:
            return TransientError(f"camera {number} is still open in this process; restart gnetsegd")
        if getattr(cause, "errno", None) == errno.EBUSY or "busy" in words[-1].lower():
            return TransientError(f"camera {number} is in use by another program; end that one")
        if getattr(cause, "errno", None) in (errno.EACCES, errno.EPERM):
            return PermanentError(
                f"camera {number}: this user may not open it; add the user to the group video", os.EX_NOPERM
            )
        cause = cause.__cause__ or cause.__context__
    return TransientError(f"camera {number} could not be started: {': '.join(words)}")


def _sensor_timestamp_ns(metadata: Any) -> int:
    # By name, because get_metadata would convert all thirty values for this one.
    for control, value in metadata.items():
        if control.name == "SensorTimestamp":
            return int(value)
    return time.monotonic_ns()

"""Video files and folders of pictures as a camera, replayed against CLOCK_MONOTONIC."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ..config import option
from ..errors import CameraStalled, EndOfVideo, PermanentError, TransientError
from ..text import clean
from . import OPEN_EXTRA_S, CameraInfo, CaptureRequest, pyav
from .clips import Clip, Picture, named
from .pacing import NS_PER_S, Clock, MonotonicClock, check_rate, wait_until
from .scale import Scaler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..frame import Frame

log = logging.getLogger(__name__)

#: The rate of pictures, and of files that tell none, when camera.fps is 0 as well.
DEFAULT_FPS = 25.0

#: A longer step of the file's own time, or one back, is a cut: the next frame follows as usual.
LONGEST_STEP_S = 1.0


@attrs.frozen
class VideoOptions:
    """``[camera.video]``"""

    path: str = option("", "a video file, or a picture or folder of pictures (in the order of their names)")
    rate: str = option(
        "file",
        "file: at its own rate; fps: at camera.fps; max: every frame, as fast as taken",
        choices=("file", "fps", "max"),
    )
    loop: bool = option(True, "begin again at the end; otherwise the daemon ends there")
    decoder_threads: int = option(
        1, "threads of the decoder; more take cores from the network", unit="threads", minimum=1, maximum=16
    )


class VideoCamera:
    """A file that behaves as a camera: paced, it loses the frames that are not taken in time.

    ``sensor_timestamp_ns`` is the moment at which the frame was due (``rate = "max"``: at which it
    was ready); ``sequence`` is the number of the frame in the file, going on over loops. A decoder
    that is slower than the film does not lose frames: the film then plays slower.
    """

    Options: ClassVar[type[Any]] = VideoOptions

    def __init__(self, options: VideoOptions | None = None, clock: Clock | None = None) -> None:
        self._options = options if options is not None else VideoOptions()
        self._clock = clock if clock is not None else MonotonicClock()
        pyav.load()
        self._request: CaptureRequest | None = None
        self._scaler: Scaler | None = None
        self._pictures: Iterator[Picture] | None = None
        self._waiting: Picture | None = None  # read by ``open``, not yet delivered
        self._sequence = -1  # of the frame last taken from the file
        self._period_ns = 0
        self._longest_step_ns = 0
        self._by_file_time = False
        self._due_ns: int | None = None
        self._time_s: float | None = None
        self._begun_ns = 0  # when the present call of open or capture began
        self._limit_s = 0.0  # and how long it may take

    def open(self, request: CaptureRequest) -> CameraInfo:
        """``PermanentError``: 66 missing, 77 not readable, 65 corrupt, 78 badly configured.

        ``CameraStalled`` when no picture is found within ``timeout_s`` and ``OPEN_EXTRA_S``.
        """
        self.close()
        self._begun_ns, self._limit_s = self._clock.now_ns(), request.timeout_s + OPEN_EXTRA_S
        clip = Clip(self._options.path, self._options.decoder_threads, self._check_time)
        self._scaler = Scaler(request.spec, request.geometry)
        self._pictures = self._endless(clip) if self._options.loop else clip.pictures()
        try:
            first = next(self._pictures)  # so that a broken file is told here
            fps = self._rate(clip, request)
            geometry = self._scaler.fit(first.image).geometry
        except pyav.load().FFmpegError as error:
            self.close()
            raise _not_converted(first, error) from None
        except BaseException:
            self.close()
            raise
        self._waiting, self._request = first, request
        self._sequence, self._due_ns, self._time_s = -1, None, None
        self._period_ns = round(NS_PER_S / fps) if fps else 0
        longest_s = min(LONGEST_STEP_S, request.timeout_s / 2)
        self._longest_step_ns = max(self._period_ns, int(longest_s * NS_PER_S))
        self._by_file_time = self._options.rate == "file" and not clip.is_pictures
        image = first.image
        description = f"{named(clip.path)} {image.width}x{image.height} {image.format.name}"
        return CameraInfo(fps, geometry, description, live=fps > 0)

    def capture(self, frame: Frame) -> None:
        if self._request is None or self._scaler is None:
            raise TransientError("video: the camera is not open")
        self._begun_ns, self._limit_s = self._clock.now_ns(), self._request.timeout_s
        picture, due_ns = self._take()
        try:
            self._scaler.scale(picture.image, frame.pixels)
        except pyav.load().FFmpegError as error:
            raise _not_converted(picture, error) from None
        if self._period_ns:
            wait_until(self._clock, due_ns, self._limit_s, named(picture.path), self._begun_ns)
        else:
            due_ns = self._clock.now_ns()
        self._waiting = None
        frame.sequence, frame.sensor_timestamp_ns = self._sequence, due_ns

    def close(self) -> None:
        """Never raises."""
        pictures, self._pictures = self._pictures, None
        self._request = self._scaler = self._waiting = None
        close = getattr(pictures, "close", None)
        if close is not None:
            try:
                close()  # a generator: this closes the file it holds
            except Exception as error:
                log.warning("%s: closing it failed: %s", named(Path(self._options.path)), clean(str(error)))

    def _check_time(self) -> None:
        if self._clock.now_ns() - self._begun_ns > self._limit_s * NS_PER_S:
            raise CameraStalled(
                f"{named(Path(self._options.path))}: no picture in it is found within {self._limit_s:g} s; "
                "convert the file, or raise camera.stall_timeout_s"
            )

    def _rate(self, clip: Clip, request: CaptureRequest) -> float:
        """Frames per second, 0 for as fast as taken. The clip's first picture has been read."""
        if self._options.rate == "max":
            return 0.0
        own = 0.0 if clip.is_pictures else clip.fps
        wanted, other = (own, request.fps) if self._options.rate == "file" else (request.fps, own)
        fps = wanted or other or DEFAULT_FPS
        check_rate(fps, request.timeout_s, named(clip.path))
        return fps

    def _take(self) -> tuple[Picture, int]:
        """The next picture that is not too late, and when it is due.

        Pictures whose successor is already due are passed over as a sensor would lose them, but
        only while decoding is faster than the film and catches up soon: otherwise the clock is
        set back, for else no picture would ever be in time.
        """
        assert self._request is not None
        before_ns = self._begun_ns
        patience_ns = int(self._request.timeout_s * NS_PER_S / 2)
        while True:
            picture = self._next()
            self._sequence += 1
            due_ns = self._schedule(picture)
            now_ns = self._clock.now_ns()
            if not self._period_ns or now_ns < due_ns + self._period_ns:
                return picture, due_ns
            if now_ns - before_ns >= self._period_ns or now_ns - self._begun_ns >= patience_ns:
                self._due_ns = now_ns
                return picture, now_ns
            before_ns = now_ns

    def _next(self) -> Picture:
        """The first picture again that ``open`` has read, then the clip's next."""
        picture, self._waiting = self._waiting, None
        if picture is None and self._pictures is not None:
            picture = next(self._pictures, None)
        if picture is None:
            raise EndOfVideo(f"{named(Path(self._options.path))}: it is over")
        return picture

    def _schedule(self, picture: Picture) -> int:
        """When this picture is due, in ns; follows the file's own time where it is sensible."""
        before_s, self._time_s = self._time_s, picture.time_s
        step_ns = self._period_ns
        if self._by_file_time and before_s is not None and picture.time_s is not None:
            own_ns = round((picture.time_s - before_s) * NS_PER_S)
            if 0 < own_ns <= self._longest_step_ns:
                step_ns = own_ns
        self._due_ns = self._clock.now_ns() if self._due_ns is None else self._due_ns + step_ns
        return self._due_ns

    @staticmethod
    def _endless(clip: Clip) -> Iterator[Picture]:
        while True:  # cannot spin: a pass without a picture is an error
            yield from clip.pictures()


def _not_converted(picture: Picture, error: Exception) -> PermanentError:
    return PermanentError(
        f"{named(picture.path)}: a frame cannot be converted ({clean(str(error))}); convert the file",
        os.EX_DATAERR,
    )

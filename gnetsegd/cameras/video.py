"""Video files and folders of pictures as a camera, replayed against CLOCK_MONOTONIC."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ..config import option
from ..errors import CameraStalled, EndOfVideo, NotYet, PermanentError, TransientError
from ..text import clean
from . import OPEN_EXTRA_S, CameraInfo, CaptureRequest, pyav
from .clips import Clip, Gap, Picture, named
from .full_picture import FullPicture, whole_sensor
from .geometry import Fit, View
from .losses import DAMAGED, Losses
from .pacing import NS_PER_S, Clock, MonotonicClock
from .scale import Scaler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..frame import Frame

log = logging.getLogger(__name__)

#: The rate of pictures, and of files that tell none, when camera.fps is 0 as well.
DEFAULT_FPS = 25.0

#: A longer rest of the file's own time, or a step back, is a cut: the next frame follows as usual.
LONGEST_REST_S = 60.0


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
    was ready); ``sequence`` is the number of the frame in the file, going on over loops: what is damaged
    is counted in it and in ``lost``, and not shown. A decoder that is slower than the film does not lose
    frames: the film then plays slower. A film may rest: the limits of live cameras are none of its.
    """

    Options: ClassVar[type[Any]] = VideoOptions

    def __init__(self, options: VideoOptions | None = None, clock: Clock | None = None) -> None:
        self._options = options if options is not None else VideoOptions()
        self._clock = clock if clock is not None else MonotonicClock()
        pyav.load()
        self._request: CaptureRequest | None = None
        self._scaler: Scaler | None = None
        self._clip: Clip | None = None
        self._pictures: Iterator[Picture | Gap | None] | None = None
        self._waiting: Picture | None = None  # read by ``open``, not yet delivered
        self._sequence = -1  # of the frame last taken from the file
        self._period_ns = 0
        self._longest_step_ns = 0
        self._by_file_time = False
        self._due_ns: int | None = None
        self._time_s: float | None = None
        #: Taken from the file: the picture, its number, when it is due.
        self._ready: tuple[Picture, int, int] | None = None
        self._losses = Losses(log)
        self.lost = self._losses.counts
        self.info: CameraInfo | None = None
        self._fit: Fit | None = None  # what ``info`` tells
        self.wants_picture = False
        self._shown: Picture | None = None  # that of the last frame, while pictures are wanted
        self._begun_ns = 0  # when the present call of open or capture began
        self._limit_s = 0.0  # and how long it may take

    def open(self, request: CaptureRequest) -> CameraInfo:
        """``PermanentError``: 66 missing, 77 not readable, 65 corrupt, 78 badly configured.

        ``CameraStalled`` when no picture is found within ``timeout_s`` and ``OPEN_EXTRA_S``. A film
        that cannot be read to its end, or in places, fails only where there is no picture at all.
        """
        self.close()
        self._begun_ns, self._limit_s = self._clock.now_ns(), request.timeout_s + OPEN_EXTRA_S
        self._clip = clip = self._source(request)
        self._scaler = Scaler(request.spec, request.geometry)
        self._pictures = self._endless(clip) if self._options.loop else clip.pictures()
        self._request = request
        self._sequence, self._due_ns, self._time_s, self._ready = -1, None, None, None
        try:
            first = self._first()  # so that a broken file is told here
            fps = self._rate(clip, request)
            fitted = self._scaler.fit(first.image, self._view(first))
        except pyav.load().FFmpegError as error:
            self.close()
            raise _not_converted(first, error) from None
        except BaseException:
            self.close()
            raise
        self._waiting, self._fit = first, fitted
        self._period_ns = round(NS_PER_S / fps) if fps else 0
        self._longest_step_ns = max(2 * self._period_ns, int(LONGEST_REST_S * NS_PER_S))
        self._by_file_time = self._options.rate == "file" and not clip.is_pictures
        self.info = CameraInfo(
            fps,
            fitted.geometry,
            _described(first),
            live=fps > 0,
            may_sleep=self._options.loop,
            rests=True,
        )
        return self.info

    def _source(self, request: CaptureRequest) -> Clip:
        """What is played: anything that gives pictures as a ``Clip`` does."""
        del request
        return Clip(self._options.path, self._options.decoder_threads)

    def capture(self, frame: Frame) -> None:
        if self._request is None or self._scaler is None:
            raise TransientError("video: the camera is not open")
        self._begun_ns, self._limit_s = self._clock.now_ns(), self._request.timeout_s
        while True:
            if self._ready is None:
                self._ready = self._take()
            picture, sequence, due_ns = self._ready
            self._wait_until(due_ns)
            self._ready = None
            try:
                self._scaler.scale(picture.image, frame.pixels, self._view(picture))
                break
            except pyav.load().FFmpegError as error:
                self._losses.add(DAMAGED, str(_not_converted(picture, error)))
                if self._late():
                    raise NotYet(str(_not_converted(picture, error))) from None
        self._tell_geometry(picture)
        self._shown = picture if self.wants_picture else None
        frame.sequence = sequence
        frame.sensor_timestamp_ns = due_ns if self._period_ns else self._clock.now_ns()

    def close(self) -> None:
        """Never raises."""
        pictures, self._pictures = self._pictures, None
        self._request = self._scaler = self._waiting = self._ready = self._clip = self._shown = None
        close = getattr(pictures, "close", None)
        if close is not None:
            try:
                close()  # a generator: this closes the file it holds
            except Exception as error:
                log.warning("%s: closing it failed: %s", named(Path(self._options.path)), clean(str(error)))

    def picture(self) -> FullPicture | None:
        """The film's own picture of the last frame, if ``wants_picture`` was set."""
        shown, self._shown = self._shown, None
        if shown is None or self.info is None:
            return None
        return FullPicture(shown.image, whole_sensor(self.info.geometry), self._view(shown))

    def _view(self, picture: Picture) -> View:
        assert self._request is not None
        return View(picture.view.turn.then(self._request.turn), picture.view.pixel_aspect)

    def _wait_until(self, due_ns: int) -> None:
        """``NotYet`` where that is too long for one call."""
        limit_ns = self._begun_ns + int(self._limit_s * NS_PER_S)
        if self._period_ns:
            self._clock.sleep_until(min(due_ns, limit_ns))
            if due_ns > limit_ns:
                raise NotYet(f"{named(Path(self._options.path))}: its next picture is not due yet")

    def _tell_geometry(self, picture: Picture) -> None:
        """Make a new ``info`` where this picture, which was just scaled, is fitted otherwise."""
        assert self._scaler is not None
        assert self.info is not None
        fitted = self._scaler.fit(picture.image, self._view(picture))
        if fitted is self._fit:
            return
        self._fit = fitted
        if fitted.geometry != self.info.geometry:
            self.info = self.info._replace(geometry=fitted.geometry, description=_described(picture))

    def _first(self) -> Picture:
        """The clip's first picture; what is lost before it counts."""
        while True:
            picture = self._search()
            if picture is not None:
                return picture
            if self._late():
                raise CameraStalled(
                    f"{named(Path(self._options.path))}: no picture in it is found within "
                    f"{self._limit_s:g} s; convert the file, or raise camera.stall_timeout_s"
                )

    def _late(self) -> bool:
        return self._clock.now_ns() - self._begun_ns > self._limit_s * NS_PER_S

    def _rate(self, clip: Clip, request: CaptureRequest) -> float:
        """Frames per second, 0 for as fast as taken. The clip's first picture has been read."""
        if self._options.rate == "max":
            return 0.0
        own = 0.0 if clip.is_pictures else clip.fps
        wanted, other = (own, request.fps) if self._options.rate == "file" else (request.fps, own)
        return wanted or other or DEFAULT_FPS

    def _take(self) -> tuple[Picture, int, int]:
        """The next picture that is not too late, its number, and when it is due.

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
            sequence, due_ns = self._sequence, self._schedule(picture)
            now_ns = self._clock.now_ns()
            if not self._period_ns or now_ns < due_ns + self._period_ns:
                return picture, sequence, due_ns
            if now_ns - before_ns >= self._period_ns or now_ns - self._begun_ns >= patience_ns:
                self._due_ns = now_ns
                return picture, sequence, now_ns
            if now_ns < due_ns + self._step_after(picture):
                return picture, sequence, due_ns
            before_ns = now_ns

    def _step_after(self, picture: Picture) -> int:
        """In ns, after how long the next picture is due: the film may rest on this one."""
        if not self._by_file_time:
            return self._period_ns
        try:
            self._waiting = self._next()
        except (NotYet, PermanentError):  # its end, too: told when the next one is asked for
            return self._longest_step_ns
        return self._step(picture.time_s, self._waiting.time_s)

    def _next(self) -> Picture:
        """The first picture again that ``open`` has read, then the clip's next; ``NotYet`` where it is
        searched for too long.
        """
        picture, self._waiting = self._waiting, None
        while picture is None:
            picture = self._search()
            if picture is None and self._late():
                raise NotYet(f"{named(Path(self._options.path))}: its next picture is still searched for")
        return picture

    def _search(self) -> Picture | None:
        """One step further in the clip; None where that gave no picture. ``EndOfVideo`` at its end."""
        assert self._pictures is not None
        assert self._clip is not None
        try:
            item = next(self._pictures)
        except StopIteration:
            damage = self._clip.damage
            if damage is not None:
                raise EndOfVideo(str(damage), damage.exit_code) from None
            raise EndOfVideo(f"{named(self._clip.path)}: it is over") from None
        if isinstance(item, Gap):
            self._losses.add(*item)
            self._sequence += item.pictures
            return None
        return item

    def _schedule(self, picture: Picture) -> int:
        """When this picture is due, in ns; follows the file's own time where it is sensible."""
        before_s, self._time_s = self._time_s, picture.time_s
        step_ns = self._step(before_s, picture.time_s)
        self._due_ns = self._clock.now_ns() if self._due_ns is None else self._due_ns + step_ns
        return self._due_ns

    def _step(self, before_s: float | None, time_s: float | None) -> int:
        """In ns, from one picture to the next."""
        if self._by_file_time and before_s is not None and time_s is not None:
            own_ns = round((time_s - before_s) * NS_PER_S)
            if NS_PER_S / pyav.MAX_FPS <= own_ns <= self._longest_step_ns:
                return own_ns
        return self._period_ns

    @staticmethod
    def _endless(clip: Clip) -> Iterator[Picture | Gap | None]:
        while True:  # cannot spin: a pass without a picture is an error
            yield from clip.pictures()


def _described(picture: Picture) -> str:
    image = picture.image
    return f"{named(picture.path)} {image.width}x{image.height} {image.format.name}"


def _not_converted(picture: Picture, error: Exception) -> PermanentError:
    return PermanentError(
        f"{named(picture.path)}: a frame cannot be converted ({clean(str(error))}); convert the file",
        os.EX_DATAERR,
    )

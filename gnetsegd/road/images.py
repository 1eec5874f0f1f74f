"""Pictures in colour for whoever subscribes to ``image``, made beside the road.

The camera's thread offers each frame's picture, the thread of masks says which frames got one, and a thread
of its own makes a JPEG of the newest and sends it. Nobody waits for that thread, and it keeps one picture.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from ..cameras.full_picture import FullPicture
from ..cameras.jpeg import Jpeg, JpegEncoder
from ..config import PublishConfig
from ..flag import Flag
from ..message import Region
from ..quiet import Quiet
from ..text import clean
from .supervisor import REST_BEAT_S

log = logging.getLogger(__name__)

#: Frames whose pictures are kept until they have a mask: those that can be under way.
WAITING_MAX = 8
#: Other threads of this machine go first.
NICENESS = 10
#: For the thread to end.
STOP_S = 0.5


class _Task(NamedTuple):
    header: bytes
    picture: FullPicture


class Images:
    """``send(mask's header, JPEG, what it shows)`` is called by the thread of pictures.

    ``wanted`` is written by the publisher; ``made`` and ``failures`` count.
    """

    def __init__(self, send: Callable[[bytes, Jpeg, Region], None]) -> None:
        self.wanted = False
        self.made = 0
        self.failures = 0
        self._send = send
        self._period_ns = 0
        self._due_ns = 0
        self._encoder: JpegEncoder | None = None
        #: For what the next three hold: for microseconds, by the camera's thread and by that of masks.
        self._lock = threading.Lock()
        self._pictures: dict[int, FullPicture] = {}
        self._headers: dict[int, bytes] = {}
        self._newest: _Task | None = None
        self._flag = Flag()
        self._quiet = Quiet()
        self._stop = False
        self._thread: threading.Thread | None = None

    def configure(self, config: PublishConfig) -> None:
        """Size, quality and rate of the next pictures."""
        self._period_ns = round(1e9 / config.image_fps)
        self._encoder = JpegEncoder(config.image_width, config.image_quality)

    def start(self) -> None:
        if self._thread is None:
            self._stop = False
            self._thread = threading.Thread(target=self._run, name="images", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; one that is in FFmpeg is left alone, and ends after that."""
        self.want(False)
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop = True
            with self._lock:
                self._flag.set()
            thread.join(STOP_S)

    def want(self, wanted: bool) -> None:
        """Does anybody want pictures? If not, none is kept."""
        self.wanted = wanted
        if not wanted:
            with self._lock:
                self._pictures.clear()
                self._headers.clear()
                self._newest = None

    def look(self, sequence: int, picture: Callable[[], FullPicture | None]) -> None:
        """By the camera's thread, once the frame is on its way: ``picture`` gives its picture, or none."""
        try:
            found = picture()
        except Exception as error:
            self._fail(error)
        else:
            if found is not None:
                self._offer(sequence, found)

    def _offer(self, sequence: int, picture: FullPicture) -> None:
        with self._lock:
            header = self._headers.pop(sequence, None)
            if header is not None:
                self._take(_Task(header, picture))
                return
            self._pictures[sequence] = picture
            if len(self._pictures) > WAITING_MAX:
                del self._pictures[next(iter(self._pictures))]

    def forget(self, sequence: int) -> None:
        """By the camera's thread: this frame will get no mask."""
        with self._lock:
            self._pictures.pop(sequence, None)

    def masked(self, sequence: int, sensor_timestamp_ns: int, header: bytes) -> None:
        """By the thread of masks, once the mask is sent: ``header`` is its own."""
        with self._lock:
            picture = self._pictures.pop(sequence, None)
            # Masks come in order: frames before this one will get none any more.
            for earlier in [number for number in self._pictures if number < sequence]:
                del self._pictures[earlier]
            # Twice the period: a camera whose clock goes back is not waited for.
            if 0 < self._due_ns - sensor_timestamp_ns <= 2 * self._period_ns:
                return
            late_ns = min(max(0, sensor_timestamp_ns - self._due_ns), self._period_ns // 2)
            self._due_ns = sensor_timestamp_ns + self._period_ns - late_ns
            if picture is not None:
                self._take(_Task(header, picture))
                return
            self._headers[sequence] = header
            if len(self._headers) > WAITING_MAX:
                del self._headers[next(iter(self._headers))]

    def _take(self, task: _Task) -> None:
        self._newest = task
        self._flag.set()

    def _run(self) -> None:
        with suppress(OSError):  # not every sandbox permits it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self._stop:
            self._flag.wait(REST_BEAT_S)
            with self._lock:
                task, self._newest = self._newest, None
            if task is None or self._encoder is None:
                continue
            try:
                jpeg = self._encoder.encode(task.picture)
                place = task.picture.geometry
                self._send(task.header, jpeg, Region(place.x, place.y, place.width, place.height))
                self.made += 1
            except Exception as error:  # whatever FFmpeg makes of a camera's bytes: the masks go on
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self.failures += 1
            may_say = self._quiet.may_say()
            left_out = self._quiet.left_out() if may_say else ""
        if may_say:
            words = clean(str(error)) or type(error).__name__
            log.warning("image: no picture could be made (%s)%s", words, left_out)

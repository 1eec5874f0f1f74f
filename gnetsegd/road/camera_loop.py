"""The camera's thread: open, capture into free slots, reopen with back-off, sleep when unwatched.

A camera library may block for ever inside a call (picamera2#794), and a camera has one owner at a time: a
second thread would never get it. So a call that does not return ends the process (``Supervised.blocked``).
"""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..cameras import Camera, CameraInfo, CaptureRequest
from ..cameras.full_picture import FullPicture, of_frame
from ..cameras.pacing import check_rate
from ..config import CameraConfig
from ..errors import CameraStalled, EndOfVideo, NotYet, as_fatal
from ..frame import Frame
from ..text import clean
from .images import Images
from .mailbox import Mailbox, Pool
from .supervisor import BEAT_S, REST_BEAT_S, Supervised

log = logging.getLogger(__name__)

#: A driver gives up waiting for a frame a little before its call is taken for blocked.
DRIVER_SHARE = 0.8
#: To open a camera may take so much longer than to wait for one frame, in s.
OPEN_EXTRA_S = 1.5


class CameraLoop(Supervised):
    """Fills slots of ``pool`` and lays them into ``mailbox``.

    The states are opening, streaming, resting (the next frame of a film is not due for long), sleeping, lost
    and ended. Beside what ``Supervised`` tells, written by the camera's thread alone: ``info``, ``frames``,
    ``dropped``, ``end`` (the error that the state ended stands for). ``make_camera`` gives a fresh camera
    object for each session, and raises ``PermanentError`` where its package is missing.
    """

    def __init__(
        self,
        config: CameraConfig,
        make_camera: Callable[[], Camera],
        pool: Pool,
        mailbox: Mailbox,
        may_fail_hard: Callable[[], bool],
        wake: Callable[[], None],
        first_sequence: int = 0,
        dropped: int = 0,
        images: Images | None = None,
        picture_width: int = 0,
    ) -> None:
        what = f"camera {config.name} ({config.driver})"
        super().__init__(log, what, config.backoff_max_s, may_fail_hard, wake, "camera")
        self._config = config
        self._make_camera = make_camera
        self._pool = pool
        self._mailbox = mailbox
        self._images = images
        self._picture_width = picture_width
        self.info: CameraInfo | None = None
        self.frames = 0
        self.dropped = dropped
        self.end: EndOfVideo | None = None
        #: What cameras that were closed had lost, by kind, and what the one that is open has.
        self._lost_before: Counter[str] = Counter()
        self._losing: dict[str, int] = {}
        self.next_sequence = first_sequence
        self._described = ""
        self._awake = threading.Event()
        self._awake.set()
        #: Awake and not to stop; plain, as it is asked for each frame.
        self._goes_on = True

    def set_awake(self, awake: bool) -> None:
        """Let the camera sleep, or wake it; one that is to stop is left alone."""
        with self._telling:
            if self.stopping:
                return
            self._goes_on = awake
            if awake:
                self._awake.set()
            else:
                self._awake.clear()

    def stop(self, timeout_s: float) -> bool:
        with self._telling:
            self.stopping = True
            self._goes_on = False
            self._awake.set()
        return super().stop(timeout_s)

    def signs_of_life(self) -> int:
        # A frame is one: so none has to be counted twice.
        return self.beats + self.frames

    def lost(self) -> Counter[str]:
        """How many pictures the camera lost, by kind."""
        # Copied in one step, because the camera's thread may add to it meanwhile.
        return self._lost_before + Counter(dict(self._losing))

    def _rests(self) -> bool:
        if self._awake.is_set():
            return False
        self.state, self.reason = "sleeping", ""
        self._awake.wait(REST_BEAT_S)
        return True

    def _session(self) -> None:
        """One opened camera, until it fails, sleeps or stops."""
        config = self._config
        stall_s = config.stall_timeout_s
        if self.state != "lost":
            self.state = "opening"
        camera = self._make_camera()  # its package may take seconds to import
        wait_s = DRIVER_SHARE * stall_s
        # A webcam that hangs is no library that does: another process would not open it any sooner.
        kernel_s = getattr(camera, "request_limit_s", 0.0)
        request = CaptureRequest.of(self._pool.spec, config, wait_s, self._picture_width)
        live = may_begin_anew = True
        try:
            self._enter("opening the camera", stall_s + OPEN_EXTRA_S + kernel_s)
            self.info = info = _clean(camera.open(request))
            lost = getattr(camera, "lost", None)
            self._losing = lost if isinstance(lost, dict) else {}
            live, may_begin_anew = info.live, info.may_sleep
            if not info.rests:
                check_rate(config.fps, wait_s, f"camera {config.name}")
                check_rate(info.fps, wait_s, f"camera {config.name}")
            # The same camera after a nap is no news, and would use up the lines that a fault needs.
            if info.description != self._described and self._quiet.may_say():
                self._described = info.description
                # At the start it is part of the one line that says that all is ready.
                level = logging.DEBUG if self._may_fail_hard() else logging.INFO
                log.log(level, "camera %s: %s%s", config.name, info.description, self._quiet.left_out())
            self._enter("a call for the camera's next frame", stall_s)
            self._stream(camera, live)
        except EndOfVideo as end:
            live, self.end = False, end  # its last frame is still to be taken
            raise
        except Exception as error:
            self._served_until = time.monotonic() - (wait_s if isinstance(error, CameraStalled) else 0.0)
            if may_begin_anew:
                raise
            live, self.end = False, EndOfVideo(str(error), as_fatal(error, self._what).exit_code)
            raise self.end from error
        finally:
            self._enter("closing the camera", stall_s + kernel_s)
            try:
                camera.close()
            finally:
                self._lost_before, self._losing = self.lost(), {}
                if live:
                    self._throw_away_what_waits()

    def _throw_away_what_waits(self) -> None:
        """No newer frame will replace it: left there, it might be computed hours later."""
        waiting = self._mailbox.steal()
        if waiting is not None:
            self._pool.give(waiting)

    def _stream(self, camera: Any, live: bool) -> None:
        offset: int | None = None
        rested = False
        # What it told when it was opened is known.
        tells, told = hasattr(camera, "info"), getattr(camera, "info", None)
        slot: Frame | None = None
        pool, mailbox, images = self._pool, self._mailbox, self._images
        picture = getattr(camera, "picture", None)
        try:
            while self._goes_on:
                if not live and not mailbox.wait_empty(BEAT_S):
                    self.beats += 1
                    continue
                slot = slot or pool.take() or mailbox.steal()
                if slot is None:  # only when an accelerator keeps more frames than it said
                    self._stop.wait(0.001)
                    self.beats += 1
                    continue
                wanted = images is not None and images.wanted
                if picture is not None and camera.wants_picture is not wanted:
                    camera.wants_picture = wanted
                try:
                    camera.capture(slot)
                except NotYet:
                    self.state = "resting"
                    rested = True
                    self.beats += 1
                    continue
                if rested:
                    self.state, rested = "streaming", False
                if tells and camera.info is not told:
                    told = camera.info
                    self.info = _clean(told)
                    self._wake()
                if offset is None:
                    # A reopened camera may count from 0 again; the road's numbers go on.
                    offset = self.next_sequence - slot.sequence
                    self._serving("streaming")
                slot.sequence = sequence = slot.sequence + offset
                self.dropped += sequence - self.next_sequence
                self.next_sequence = sequence + 1
                slot.dropped_camera = self.dropped
                self.frames += 1
                filled, slot = slot, None
                displaced = mailbox.put(filled)
                if displaced is not None:
                    pool.give(displaced)
                    if images is not None and wanted:
                        images.forget(displaced.sequence)
                if images is not None and wanted:
                    # Only after the frame is on its way; its pixels stay until this thread takes a slot.
                    images.look(sequence, picture or functools.partial(self._own_picture, filled))
        finally:
            if slot is not None:
                pool.give(slot)

    def _own_picture(self, frame: Frame) -> FullPicture | None:
        """What the network sees, of cameras that have no other picture."""
        return None if self.info is None else of_frame(frame, self.info.geometry)


def _clean(info: CameraInfo) -> CameraInfo:
    """What a camera says of itself, fit for ``status``: its words on one line, its rate a number."""
    fps = info.fps if math.isfinite(info.fps) else 0.0
    return info._replace(fps=fps, description=clean(str(info.description)))

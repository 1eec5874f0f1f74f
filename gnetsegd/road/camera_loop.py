"""The camera's thread: open, capture into free slots, reopen with back-off, sleep when unwatched.

A camera library may block for ever inside a call (picamera2#794). A thread cannot be ended from
outside, so ``check`` abandons it: a fresh thread with a fresh camera object takes over, and the old
one ends by itself if it ever returns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ..cameras import Camera, CameraInfo, CaptureRequest
from ..cameras.pacing import check_rate
from ..config import CameraConfig
from ..errors import EndOfVideo, GnetsegError, PermanentError, TransientError, as_fatal
from ..frame import Frame
from ..plugins import find
from .backoff import LOUD_ATTEMPTS, Backoff
from .mailbox import Mailbox, Pool

log = logging.getLogger(__name__)

#: A call that outlasts its own time limit by this much is taken for blocked.
GRACE_S = 3.0
#: Every blocked thread keeps its memory; after so many a restart by systemd is the honest way out.
ABANDONED_MAX = 3
#: How often a waiting thread shows that it is alive.
BEAT_S = 0.5


class CameraLoop:
    """Fills slots of ``pool`` and lays them into ``mailbox``.

    Read from other threads, written by the camera's thread alone: ``state`` (opening, streaming,
    sleeping, lost, ended), ``reason``, ``info``, ``frames``, ``dropped``, ``reopens``, ``beats``.
    ``fatal`` is the error that ended it before ``may_fail_hard`` turned False. ``wake`` is called
    when the main thread should look at once: at ``fatal`` and at the end of a video.
    """

    def __init__(
        self,
        config: CameraConfig,
        pool: Pool,
        mailbox: Mailbox,
        may_fail_hard: Callable[[], bool],
        wake: Callable[[], None],
        first_sequence: int = 0,
        dropped: int = 0,
    ) -> None:
        self._config = config
        self._pool = pool
        self._mailbox = mailbox
        self._may_fail_hard = may_fail_hard
        self._wake = wake
        self.state = "opening"
        self.reason = ""
        self.info: CameraInfo | None = None
        self.frames = 0
        self.dropped = dropped
        self.reopens = 0
        self.beats = 0
        self.abandoned = 0
        self.fatal: GnetsegError | None = None
        self.next_sequence = first_sequence
        self._called_at = 0.0
        self._awake = threading.Event()
        self._awake.set()
        self._stop = threading.Event()
        self._backoff = Backoff(log, f"camera {config.name} ({config.driver})", config.backoff_max_s)
        self._thread = self._spawn()

    def _spawn(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="camera", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def set_awake(self, awake: bool) -> None:
        """Let the camera sleep, or wake it."""
        if awake:
            self._awake.set()
        else:
            self._awake.clear()

    @property
    def awake(self) -> bool:
        return self._awake.is_set()

    def stop(self, timeout_s: float) -> None:
        """End the thread; a blocked one is left behind, it cannot do harm."""
        self._stop.set()
        self._awake.set()
        self._thread.join(timeout_s)

    def check(self) -> None:
        """From the main thread, once in a while: abandon a thread that is blocked in a call."""
        if self.state != "streaming" or self._stop.is_set() or self.abandoned > ABANDONED_MAX:
            return
        if time.monotonic() - self._called_at < self._config.stall_timeout_s + GRACE_S:
            return
        self.abandoned += 1
        if self.abandoned > ABANDONED_MAX:
            self.reason = "the camera's library blocks again and again"
            log.error("camera %s: %s; waiting for a restart", self._config.name, self.reason)
            return
        log.warning("camera %s: its library does not return; starting afresh", self._config.name)
        self._pool.grow()
        self.state, self.reason = "lost", "the camera's library does not return"
        self.reopens += 1
        self._thread = self._spawn()
        self._thread.start()

    def _mine(self) -> bool:
        """Is the calling thread still the one in charge?"""
        return threading.current_thread() is self._thread and not self._stop.is_set()

    def _run(self) -> None:
        while self._mine():
            self.beats += 1
            if not self._awake.is_set():
                self.state, self.reason = "sleeping", ""
                self._awake.wait(BEAT_S)
                continue
            pause = self._backoff.remaining_s()
            if pause > 0:
                self._stop.wait(min(pause, BEAT_S))
                continue
            try:
                self._session()
            except EndOfVideo as end:
                if not self._mine():
                    return
                self.state, self.reason = "ended", str(end)
                self._wake()
                return
            except Exception as error:
                if not self._mine():
                    return
                if self._may_fail_hard() and not isinstance(error, TransientError):
                    self.fatal = as_fatal(error, f"camera {self._config.name}")
                    self._wake()
                    return
                if not isinstance(error, GnetsegError) and self._backoff.failures < LOUD_ATTEMPTS:
                    log.exception("camera %s: unexpected error", self._config.name)
                self.state, self.reason = "lost", str(error) or type(error).__name__
                self.reopens += 1
                self._backoff.failed(error, slow=isinstance(error, PermanentError))

    def _session(self) -> None:
        """One opened camera, until it fails, sleeps or stops."""
        config = self._config
        camera: Camera = find("gnetsegd.cameras", config.driver)(config.options[config.driver])
        request = CaptureRequest(self._pool.spec, config.fps, config.geometry, config.stall_timeout_s)
        try:
            if self.state != "lost":
                self.state = "opening"
            check_rate(config.fps, config.stall_timeout_s, f"camera {config.name}")
            self.info = camera.open(request)
            check_rate(self.info.fps, config.stall_timeout_s, f"camera {config.name}")
            log.info("camera %s: %s", config.name, self.info.description)
            self._stream(camera, self.info.live)
        finally:
            camera.close()

    def _stream(self, camera: Camera, live: bool) -> None:
        offset: int | None = None
        slot: Frame | None = None
        self._called_at = time.monotonic()
        me, pool, mailbox = threading.current_thread(), self._pool, self._mailbox
        try:
            while self._thread is me and self._awake.is_set() and not self._stop.is_set():
                if not live and not mailbox.wait_empty(BEAT_S):
                    self.beats += 1
                    self._called_at = time.monotonic()
                    continue
                slot = pool.take() or mailbox.steal()
                if slot is None:  # only when an accelerator keeps more frames than it said
                    self._stop.wait(0.001)
                    continue
                camera.capture(slot)
                if self._thread is not me:
                    return
                if offset is None:
                    # A reopened camera may count from 0 again; the road's numbers go on.
                    offset = self.next_sequence - slot.sequence
                    self.state, self.reason = "streaming", ""
                    self._backoff.succeeded()
                slot.sequence = sequence = slot.sequence + offset
                self.dropped += sequence - self.next_sequence
                self.next_sequence = sequence + 1
                slot.dropped_camera = self.dropped
                self.frames += 1
                self.beats += 1
                displaced = mailbox.put(slot)
                slot = None
                if displaced is not None:
                    pool.give(displaced)
                self._called_at = time.monotonic()
        finally:
            # An abandoned thread's slot was replaced (Pool.grow); it must not come back twice.
            if slot is not None and self._thread is me:
                self._pool.give(slot)

"""The road from the mailbox through the accelerator to the publisher.

Two threads: OUT takes the newest frame and submits it; IN collects answers, publishes them and
brings the slots back. IN also opens the accelerator, and reopens it with back-off when it is lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..accelerators import Accelerator
from ..errors import GnetsegError, PermanentError, TransientError, as_fatal
from ..frame import Frame, Mask, ModelInfo
from .backoff import LOUD_ATTEMPTS, Backoff
from .mailbox import Mailbox, Pool
from .publisher import Publisher

log = logging.getLogger(__name__)

#: How long a thread waits at one go, so that it sees a stop and shows that it is alive.
WAIT_S = 0.25


class _Out:
    """The OUT thread of one opened accelerator."""

    def __init__(self, accelerator: Accelerator, mailbox: Mailbox) -> None:
        self.submitted = 0
        self.beats = 0
        self.error: Exception | None = None
        self._accelerator = accelerator
        self._mailbox = mailbox
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="out", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop = True
        self._thread.join()

    def _run(self) -> None:
        accelerator, mailbox = self._accelerator, self._mailbox
        try:
            while not self._stop:
                self.beats += 1
                # First the permission, then the frame: so the frame is the newest there is.
                if not accelerator.wait_for_credit(WAIT_S):
                    continue
                frame = mailbox.take(WAIT_S)
                if frame is not None:
                    self.submitted += 1
                    accelerator.submit(frame)
        except Exception as error:  # handed to IN, which closes the accelerator
            self.error = error


class Pipeline:
    """OUT and IN.

    Read from other threads, written by IN alone: ``state`` (opening, running, lost), ``reason``,
    ``info`` (of the last mask), ``results``, ``losses``, ``reopens``, ``beats``. ``fatal`` is the
    error that ended it before ``may_fail_hard`` turned False. ``wake`` is called when the main
    thread should look at once: at the first result, and at ``fatal``.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        pool: Pool,
        mailbox: Mailbox,
        publisher: Publisher,
        backoff_max_s: float,
        may_fail_hard: Callable[[], bool],
        wake: Callable[[], None],
        losses: int = 0,
    ) -> None:
        self._wake = wake
        self.accelerator = accelerator
        self._pool = pool
        self._mailbox = mailbox
        self._publisher = publisher
        self._may_fail_hard = may_fail_hard
        self.state = "opening"
        self.reason = ""
        self.info: ModelInfo | None = None
        self.results = 0
        self.losses = losses
        self.reopens = 0
        self.beats = 0
        self.fatal: GnetsegError | None = None
        self._out: _Out | None = None
        self._returned = 0
        self._stop = threading.Event()
        self._backoff = Backoff(log, "accelerator", backoff_max_s)
        self._thread = threading.Thread(target=self._run, name="in", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End both threads; False if they did not end in time."""
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def in_flight(self) -> int:
        """Frames submitted and not yet returned."""
        out = self._out
        return out.submitted - self._returned if out is not None else 0

    def _run(self) -> None:
        while not self._stop.is_set():
            self.beats += 1
            pause = self._backoff.remaining_s()
            if pause > 0:
                self._stop.wait(min(pause, WAIT_S))
                continue
            try:
                self._session()
            except Exception as error:
                if self._may_fail_hard() and not isinstance(error, TransientError):
                    self.fatal = as_fatal(error, "accelerator")
                    self._wake()
                    return
                if not isinstance(error, GnetsegError) and self._backoff.failures < LOUD_ATTEMPTS:
                    log.exception("accelerator: unexpected error")
                self.state, self.reason = "lost", str(error) or type(error).__name__
                self.reopens += 1
                self._backoff.failed(error, slow=isinstance(error, PermanentError))

    def _session(self) -> None:
        """One opened accelerator, until it fails or the road stops."""
        accelerator = self.accelerator
        out = _Out(accelerator, self._mailbox)
        try:
            self.info = accelerator.open()
            self._returned = 0
            self._out = out
            out.start()
            self.state, self.reason = "running", ""
            self._collect(accelerator, out)
        finally:
            if self._out is out:
                out.stop()
                self._out = None
            for frame in accelerator.close():
                self._lose(frame)

    def _collect(self, accelerator: Accelerator, out: _Out) -> None:
        pool, publish = self._pool, self._publisher.publish
        while not self._stop.is_set():
            self.beats += 1
            if out.error is not None:
                raise out.error
            result = accelerator.collect(WAIT_S)
            if result is None:
                continue
            self._returned += 1
            if isinstance(result, Mask):
                self.info = result.info
                try:
                    publish(result, self.losses)
                except BaseException:
                    self._lose(result.frame)
                    raise
                self.results += 1
                if self.results == 1:
                    self._wake()
                if self._backoff.failures:
                    self._backoff.succeeded()
                pool.give(result.frame)
            else:
                log.debug("frame %d is lost: %s", result.frame.sequence, result.reason)
                self._lose(result.frame)

    def _lose(self, frame: Frame) -> None:
        self.losses += 1
        self._pool.give(frame)

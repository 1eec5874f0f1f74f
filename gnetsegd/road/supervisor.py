"""The supervised loop: a thread around something that can fail. Open, serve, fail, wait, again.

A session that ends by an error is begun anew after a pause that grows (``backoff.py``). A call that does
not return cannot be ended from outside, and no thread is left behind: ``blocked`` tells the main thread,
which ends the process, and systemd brings a clean one.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from ..errors import EndOfVideo, GnetsegError, PermanentError, TransientError, as_fatal
from ..quiet import Quiet
from ..text import clean
from .backoff import Backoff

#: How often a thread that waits shows that it is alive, in s.
BEAT_S = 0.25
#: The same while nobody listens, when each wake-up counts.
REST_BEAT_S = 5.0
#: Of the time between two looks for a blocked call so much counts, in s.
LOOK_MAX_S = 0.5
#: A reason in ``status`` may be so long.
REASON_CHARACTERS = 500


class Supervised(ABC):
    """One thread that runs ``_session`` again and again until ``stop``.

    Read from other threads, written by its own alone: ``state``, ``reason`` (why it is so, for people),
    ``error`` (of the last failed session), ``attempts`` (sessions that have ended or have begun to
    serve), ``reopens`` (sessions that failed), ``beats``. ``fatal`` is the error that ended it before
    ``may_fail_hard`` turned False. ``wake`` is called when the main thread should look at once.
    """

    def __init__(
        self,
        log: logging.Logger,
        what: str,
        backoff_max_s: float,
        may_fail_hard: Callable[[], bool],
        wake: Callable[[], None],
        thread_name: str,
    ) -> None:
        self.state = "opening"
        self.reason = ""
        self.error: Exception | None = None
        self.attempts = 0
        self.reopens = 0
        self.beats = 0
        self.fatal: GnetsegError | None = None
        self._log = log
        self._what = what
        self._may_fail_hard = may_fail_hard
        self._wake = wake
        self._stop = threading.Event()
        #: The same, plain, for what is asked for each frame.
        self.stopping = False
        #: Whether to rest is told by one thread while another may stop it, which is the last word.
        self._telling = threading.Lock()
        self._backoff = Backoff(backoff_max_s)
        self._quiet = Quiet()
        self._said = ""
        #: A session has failed since one last served.
        self._failed = False
        #: When service of this session began, and until when it is known to have lasted.
        self._served_from = self._served_until = 0.0
        #: The call that is under way, and how long it may go on without a beat.
        self._call = ""
        self._limit_s = math.inf
        #: Of ``blocked``: the signs of life at its last look, when that was, for how long there was none new.
        self._signs = -1
        self._looked_at = 0.0
        self._silent_s = 0.0
        self._thread = threading.Thread(target=self._run, name=thread_name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End the thread; False if it did not end in time."""
        self.stopping = True
        self._stop.set()
        if self._thread.ident is None:  # it was never started
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def signs_of_life(self) -> int:
        """A number that changes whenever the thread gets on."""
        return self.beats

    def blocked(self, now: float) -> str:
        """The call that has outlasted its limit, in words; empty if none has. One other thread asks."""
        signs = self.signs_of_life()
        # Where whoever looks was kept from looking, the machine stood still, and not the call alone.
        since_last_look_s = min(now - self._looked_at, LOOK_MAX_S)
        self._looked_at = now
        if signs != self._signs or self._stop.is_set():
            self._signs, self._silent_s = signs, 0.0
            return ""
        self._silent_s += since_last_look_s
        if self._silent_s <= self._limit_s:
            return ""
        return f"{self._call} has not returned for {self._silent_s:.1f} s"

    # -- for the session --------------------------------------------------------------------------

    @abstractmethod
    def _session(self) -> None:
        """Open, serve until ``_stop``, close. An error ends it, and another one begins after a pause."""

    def _rests(self) -> bool:
        """Wait for a while if there is nothing to do before a session; True if that was so."""
        return False

    def _enter(self, call: str, limit_s: float) -> None:
        """From now on the thread is inside ``call``, which may take ``limit_s`` without a beat."""
        self.beats += 1
        self._call, self._limit_s = call, limit_s

    def _serving(self, state: str) -> None:
        """Service begins: say so, once a session."""
        self.state, self.reason = state, ""
        self.attempts += 1
        self._served_from = self._served_until = time.monotonic()
        failed, self._failed = self._failed, False
        if failed and self._quiet.may_say():
            self._log.warning(
                "%s: back after %d failed attempts%s",
                self._what, self._backoff.failures, self._quiet.left_out(),
            )  # fmt: skip
        self._wake()

    def _served_s(self) -> float:
        """How long the session that has just ended had served."""
        return self._served_until - self._served_from if self._served_from else 0.0

    # -- the loop ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._enter("waiting", math.inf)
            if self._rests():
                continue
            pause = self._backoff.remaining_s()
            if pause > 0:
                self._stop.wait(min(pause, BEAT_S))
                continue
            self._served_from = self._served_until = 0.0
            try:
                self._session()
            except EndOfVideo as end:
                # Its last call has returned: what is still computed may take longer than that might.
                self._enter("at its end", math.inf)
                self.state, self.reason = "ended", str(end)
                self.attempts += 1
                self._wake()
                return
            except Exception as error:
                if self.stopping or self._fails_hard(error):
                    return
            else:
                # It ended as it was told to, so it served until now.
                self._served_until = time.monotonic()
                self._backoff.served(self._served_s())

    def _fails_hard(self, error: Exception) -> bool:
        """Count and tell a failed session; True for one that ends the process."""
        if self._may_fail_hard() and not isinstance(error, TransientError):
            self.fatal = as_fatal(error, self._what)
            self._wake()
            return True
        self._failed = True
        least_s = getattr(error, "retry_after_s", 0.0)
        self._backoff.failed(self._served_s(), slow=isinstance(error, PermanentError), least_s=least_s)
        reason = clean(str(error) or type(error).__name__, REASON_CHARACTERS)
        if self._quiet.may_say(again=reason == self._said):
            self._said = reason
            foreseen = isinstance(error, GnetsegError)
            self._log.warning(
                "%s: %s (attempt %d)%s", self._what, reason, self._backoff.failures, self._quiet.left_out(),
                exc_info=None if foreseen else error,
            )  # fmt: skip
        self.state, self.reason, self.error = "lost", reason, error
        self.attempts += 1
        self.reopens += 1
        self._wake()
        return False

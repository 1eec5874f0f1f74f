"""What the daemon says to systemd: readiness, state, watchdog. Outside systemd all of this does nothing."""

from __future__ import annotations

import os
import time

from ..errors import PermanentError
from ..text import clean

#: The watchdog is fed at most this many times within its own interval.
WATCHDOG_SHARE = 4
#: Of one assignment.
MAX_CHARACTERS = 600


class Notifier:
    """sd_notify(3); does nothing without ``NOTIFY_SOCKET``.

    python-systemd holds the interpreter while it sends, so a systemd that is slow to read would
    stop the frames once the socket's queue is full: nothing is said twice, and the watchdog is fed
    no more often than it needs.
    """

    def __init__(self) -> None:
        self._status = ""
        self._fed_at = 0.0
        self._notify = None
        if os.environ.get("NOTIFY_SOCKET"):
            try:
                from systemd.daemon import notify
            except ImportError:
                raise PermanentError(
                    "systemd waits for a notification and python's systemd module is not here; "
                    "apt install python3-systemd, or pip install gnetsegd[systemd]"
                ) from None
            self._notify = notify
        pid = os.environ.get("WATCHDOG_PID")
        watched = self._notify is not None and pid in (None, "", str(os.getpid()))
        #: The time within which progress must be shown; 0 if no watchdog watches this process.
        self.watchdog_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 if watched else 0.0

    def send(self, *assignments: str) -> None:
        """Send ``NAME=value`` lines. A control character in one would begin a line of its own: it goes."""
        if self._notify is not None:
            self._notify("\n".join(clean(line, MAX_CHARACTERS) for line in assignments))

    def ready(self, status: str) -> None:
        self.send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        if status != self._status:
            self._status = status
            self.send(f"STATUS={status}")

    def still_starting(self, status: str, extend_s: float) -> None:
        """Ask for more time: something that is waited for has not come yet."""
        self.send(f"EXTEND_TIMEOUT_USEC={int(extend_s * 1e6)}", f"STATUS={status}")

    def reloading(self) -> None:
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self.send("STOPPING=1", "STATUS=stopping")

    def watchdog(self) -> None:
        """Progress was made; call it as often as that is so."""
        now = time.monotonic()
        if self.watchdog_s and now - self._fed_at >= self.watchdog_s / WATCHDOG_SHARE:
            self._fed_at = now
            self.send("WATCHDOG=1")

"""Signals, and what the main thread waits on.

A handler runs in the main thread wherever that is, so it takes no lock: it leaves a note and wakes the loop.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable
from typing import Any


class Wake:
    """Something that the main thread waits on, with other descriptors; any thread may set it."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._descriptors: list[int] = []
        self._poll.register(self._fd, select.POLLIN)

    def set(self) -> None:
        os.eventfd_write(self._fd, 1)

    def wait(self, timeout_s: float, descriptors: Iterable[int] = ()) -> None:
        """Until it is set, one of ``descriptors`` is readable, or the time is over; then it is not set."""
        wanted = list(descriptors)
        if wanted != self._descriptors:
            self._poll = select.poll()
            for fd in (self._fd, *wanted):
                self._poll.register(fd, select.POLLIN)
            self._descriptors = wanted
        if any(fd == self._fd for fd, _ in self._poll.poll(timeout_s * 1000)):
            os.eventfd_read(self._fd)


class Signals:
    """SIGTERM and SIGINT ask for a stop, SIGHUP for a reload. Installed before anything else is done."""

    def __init__(self, wake: Wake) -> None:
        #: The name of the signal that asked for a stop; empty if none has.
        self.stop = ""
        self._reload = False
        self._wake = wake
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def _on_stop(self, number: int, _: Any) -> None:
        self.stop = signal.Signals(number).name
        self._wake.set()

    def _on_reload(self, _: int, __: Any) -> None:
        self._reload = True
        self._wake.set()

    def take_reload(self) -> bool:
        """Was a reload asked for since this was last asked?"""
        wanted, self._reload = self._reload, False
        return wanted

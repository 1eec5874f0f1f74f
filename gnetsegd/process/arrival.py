"""The first accelerator that comes to a machine without one: then its own network is taken."""

from __future__ import annotations

import threading
from collections.abc import Callable

from . import networks
from .parts import Setup

#: How often is looked whether one was plugged in, in s: some ``stat`` calls each time.
LOOK_S = 0.5


class Arrival:
    """Looks for it in a thread of its own, only while it would change something; ``wake`` is called then.

    Where nothing came of it, since the reload failed, the next one that is plugged in is told again.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._found = threading.Event()
        self._stop = threading.Event()
        self._setup: Setup | None = None

    def follow(self, setup: Setup) -> None:
        """Look, or look no longer, as ``setup`` wants it; cheap where that is the same as before."""
        if setup is self._setup:
            return
        self.stop()
        self._setup = setup
        if setup.until_one_comes:
            # Both of its own: a thread that is just ending tells nobody any more.
            self._stop, self._found = threading.Event(), threading.Event()
            arguments = (networks.finder(setup.config.accelerator), self._stop, self._found)
            threading.Thread(target=self._look, args=arguments, name="arrival", daemon=True).start()

    def take(self) -> bool:
        """True once after one has come."""
        found = self._found.is_set()
        self._found.clear()
        return found

    def stop(self) -> None:
        self._stop.set()
        self._found = threading.Event()

    def _look(self, is_there: Callable[[], bool], stop: threading.Event, found: threading.Event) -> None:
        was_there = False
        while not stop.wait(LOOK_S):
            there = is_there()
            if there and not was_there:
                found.set()
                self._wake()
            was_there = there

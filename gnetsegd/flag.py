"""The cheapest hand-over between two threads in Python: a bare lock."""

from __future__ import annotations

import threading


class Flag:
    """One thread sets it, another waits for it and thereby lowers it again."""

    __slots__ = ("_lowered",)

    def __init__(self) -> None:
        self._lowered = threading.Lock()
        self._lowered.acquire()

    def set(self) -> None:
        """Raise the flag; only one thread may do so."""
        if self._lowered.locked():
            self._lowered.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is raised and lower it; False if that did not come in time."""
        return self._lowered.acquire(True, timeout_s)

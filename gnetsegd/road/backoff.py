"""Pauses between attempts: they grow, and are forgotten only after stable service."""

from __future__ import annotations

import time

FIRST_S = 0.1


class Backoff:
    """Doubles the pause after each failure, from ``FIRST_S`` to ``max_s``."""

    def __init__(self, max_s: float) -> None:
        self.max_s = max_s
        #: In a row: since the last service that lasted.
        self.failures = 0
        self._next = 0.0

    def failed(self, served_s: float, *, slow: bool = False, least_s: float = 0.0) -> None:
        """Count a failure after ``served_s`` of service and set the pause, ``least_s`` at least; ``slow``
        takes the longest.
        """
        self.served(served_s)
        self.failures += 1
        pause = self.max_s if slow else min(self.max_s, FIRST_S * 2.0 ** min(self.failures - 1, 16))
        self._next = time.monotonic() + max(pause, least_s)

    def served(self, served_s: float) -> None:
        """Service has ended. If it lasted as long as the longest pause, the failures before are forgotten."""
        if served_s >= self.max_s:
            self.failures = 0

    def remaining_s(self) -> float:
        """How long to wait until the next attempt."""
        return max(0.0, self._next - time.monotonic())

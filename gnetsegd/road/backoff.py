"""Pauses between attempts, and a log that does not repeat itself."""

from __future__ import annotations

import logging
import time

FIRST_S = 0.1
#: Attempts that are written at full length; later ones only every ``QUIET_EVERY``th.
LOUD_ATTEMPTS = 3
QUIET_EVERY = 100


class Backoff:
    """Doubles the pause after each failure, from ``FIRST_S`` to ``max_s``; success resets it."""

    def __init__(self, log: logging.Logger, what: str, max_s: float) -> None:
        self._log = log
        self._what = what
        self.max_s = max_s
        self.failures = 0
        self._next = 0.0

    def failed(self, error: Exception, *, slow: bool = False) -> None:
        """Count a failure and set the pause; ``slow`` takes the longest at once."""
        self.failures += 1
        pause = self.max_s if slow else min(self.max_s, FIRST_S * 2.0 ** min(self.failures - 1, 16))
        self._next = time.monotonic() + pause
        if self.failures <= LOUD_ATTEMPTS or self.failures % QUIET_EVERY == 0:
            more = "; further attempts are logged rarely" if self.failures == LOUD_ATTEMPTS else ""
            self._log.warning("%s: %s (attempt %d%s)", self._what, error, self.failures, more)

    def succeeded(self) -> None:
        if self.failures:
            self._log.warning("%s: back after %d failed attempts", self._what, self.failures)
        self.failures = 0
        self._next = 0.0

    def remaining_s(self) -> float:
        """How long to wait until the next attempt."""
        return max(0.0, self._next - time.monotonic())

"""A log that does not repeat itself: whatever fails again and again gets a few lines, then a few an hour."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Lines that may come at once.
BURST_LINES = 6
#: One line more after so long: nine an hour.
REFILL_S = 400.0


class Quiet:
    """A token bucket for one thing's log lines. One thread uses it."""

    def __init__(
        self,
        burst_lines: int = BURST_LINES,
        refill_s: float = REFILL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst_lines = burst_lines
        self._refill_s = refill_s
        self._clock = clock
        self._left = float(burst_lines)
        self._at = clock()
        self._left_out = 0

    def may_say(self, *, again: bool = False, waits: bool = False) -> bool:
        """May one more line be written now? ``again``: it says what the last one said, so it can wait.

        ``waits``: it is the very line that was asked for last and might not be written, so it counts once.
        """
        now = self._clock()
        self._left = min(self._burst_lines, self._left + (now - self._at) / self._refill_s)
        self._at = now
        if self._left < (self._burst_lines if again else 1):
            self._left_out += not waits
            return False
        self._left_out -= waits
        self._left -= 1
        return True

    def left_out(self) -> str:
        """Words about the lines that were not written since the last that was; empty if there were none."""
        count, self._left_out = self._left_out, 0
        return f" ({count} lines like this were left out)" if count else ""

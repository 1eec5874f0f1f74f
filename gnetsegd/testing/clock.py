"""A clock for tests: waiting takes no time, it only moves the hands."""

from __future__ import annotations


class FakeClock:
    """A ``gnetsegd.cameras.pacing.Clock`` whose time passes only by waiting on it, or by ``pass_s``."""

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self.time_ns = start_ns

    def now_ns(self) -> int:
        return self.time_ns

    def sleep_until(self, deadline_ns: int) -> None:
        self.time_ns = max(self.time_ns, deadline_ns)

    def pass_s(self, duration_s: float) -> None:
        """Let time go by, as if the caller had been busy elsewhere."""
        self.time_ns += round(duration_s * 1e9)

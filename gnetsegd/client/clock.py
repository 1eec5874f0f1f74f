"""The daemon's clock as seen from here."""

from __future__ import annotations

import time

#: How far two machines' clocks may run apart.
CLOCK_DRIFT = 1e-4


class Clock:
    """The daemon's CLOCK_MONOTONIC as seen from here.

    On the same machine it is ours. Of another machine's only this is known: no message arrives
    before it was sent, so the smallest difference seen is the clocks' offset and the shortest way.
    """

    def __init__(self, endpoint: str) -> None:
        local = ("ipc://", "inproc://", "tcp://127.", "tcp://localhost", "tcp://[::1]")
        self.same_machine = endpoint.startswith(local)
        self._offset_ns: float | None = None
        self._observed_ns = 0
        self._session = 0

    def observe(self, session: int, sent_ns: int) -> None:
        """A message of ``session``, sent at ``sent_ns``, has arrived just now."""
        now = time.monotonic_ns()
        offset = float(now - sent_ns)
        if self._offset_ns is not None and session == self._session:
            # Forget slowly, or a clock that runs slower than ours would age everything in the end.
            offset = min(offset, self._offset_ns + CLOCK_DRIFT * (now - self._observed_ns))
        # Another run of the daemon may come after a reboot: its clock may stand elsewhere.
        self._offset_ns, self._observed_ns, self._session = offset, now, session

    def age_s(self, then_ns: int) -> float:
        """Seconds since ``then_ns`` of the daemon's clock."""
        return (time.monotonic_ns() - then_ns - self.offset_ns) / 1e9

    @property
    def offset_ns(self) -> float:
        """This machine's clock less the daemon's; at first, and on the same machine, 0."""
        return 0.0 if self.same_machine or self._offset_ns is None else self._offset_ns

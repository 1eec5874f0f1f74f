"""When each message of a recording is due again."""

from __future__ import annotations

from ..newest import Newest

_NS = 1_000_000_000
#: No silence is replayed for longer. A daemon that is heard tells its status each second; what is longer is
#: a clock that was set between two runs, a recorder that was left alone, or a lie.
SILENCE_MAX_S = 60.0
#: Of two topics one may have been taken off its socket a little later; a longer way back is another clock's.
_BACK_MAX_S = 5.0
#: Of a publisher that makes up sessions no more are kept.
_SESSIONS_MAX = 64


class Schedule:
    """Times in ns: of a recording since 1970, of now CLOCK_MONOTONIC. ``rate``: 2 is twice as fast.

    Within a session the spacing is that of the recording, to the ns. Between two runs of a daemon its wall
    clock may have been set, forth or back; ``shortened`` counts what of that, and of silences, was left out.
    """

    def __init__(self, rate: float, begin_ns: int) -> None:
        self._rate = rate
        self._due_ns = begin_ns
        self._published_ns: int | None = None
        #: Of each session: a publish time, and when that was due.
        self._anchors: Newest[int, tuple[int, int]] = Newest(_SESSIONS_MAX)
        self.shortened = 0

    def due_ns(self, session: int, published_ns: int) -> int:
        """Of the next message; never before that of the last one."""
        due_ns = self._by_anchor(session, published_ns)
        if due_ns is None:
            due_ns = self._due_ns + self._gap_ns(published_ns)
            self._anchors[session] = published_ns, due_ns
        self._published_ns = published_ns
        self._due_ns = max(self._due_ns, due_ns)
        return self._due_ns

    def late(self, by_ns: int) -> None:
        """All that follows is due so much later: what was missed is not made up in a burst."""
        self._due_ns += by_ns
        for session, (published_ns, due_ns) in list(self._anchors.items()):
            self._anchors[session] = published_ns, due_ns + by_ns

    def _by_anchor(self, session: int, published_ns: int) -> int | None:
        anchor = self._anchors.get(session)
        if anchor is None:
            return None
        due_ns = anchor[1] + round((published_ns - anchor[0]) / self._rate)
        step_s = (due_ns - self._due_ns) * self._rate / _NS
        return due_ns if -_BACK_MAX_S <= step_s <= SILENCE_MAX_S else None

    def _gap_ns(self, published_ns: int) -> int:
        if self._published_ns is None:
            return 0
        gap_s = (published_ns - self._published_ns) / _NS
        fair_s = min(max(gap_s, 0.0), SILENCE_MAX_S)
        self.shortened += gap_s > SILENCE_MAX_S or gap_s < -_BACK_MAX_S
        return round(fair_s * _NS / self._rate)

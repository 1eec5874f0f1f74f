"""How far a network camera's stream is behind: on a link that is too slow TCP keeps all, older and older."""

from __future__ import annotations

from .pacing import NS_PER_S

#: Where pictures come so late, for so long, the connection is begun anew: what is new is better than all.
BEHIND_MAX_S, BEHIND_FOR_S = 3.0, 2.0
#: A step of the stream's own time that is longer, or back, is a time that begins anew.
_STEP_MAX_S = 30.0
#: The camera's clock may be off by so much: of its wall clock (RTCP), and of a video's own time, which some
#: cameras count from the frame rate that they would like to have.
_DRIFT_RTCP, _DRIFT_VIDEO = 0.001, 0.05


class Lag:
    """Of one connection: by its fastest packet, each of the others is late by so much.

    It is never more than the truth: what the fastest one took is not known.
    """

    def __init__(self) -> None:
        self.lag_ns = 0
        #: Arrival less own time of the fastest packet.
        self._base_ns: int | None = None
        self._own_ns = self._arrived_ns = 0
        self._by_rtcp = False
        self._behind_since_ns: int | None = None

    def take(self, sent_ns: int, video_ns: int, arrived_ns: int) -> int:
        """The lag of a packet, in ns. ``sent_ns``: by the camera's wall clock, 0 where it tells none;
        ``video_ns``: by the video's own time (decoding order); ``arrived_ns``: CLOCK_MONOTONIC.
        """
        by_rtcp = sent_ns != 0
        own_ns = sent_ns if by_rtcp else video_ns
        begins = not 0 <= own_ns - self._own_ns <= _STEP_MAX_S * NS_PER_S or by_rtcp != self._by_rtcp
        if self._base_ns is None:
            self._base_ns = arrived_ns - own_ns
        elif begins:
            # As late as the one before: the time has changed, and not the link.
            self._base_ns = arrived_ns - own_ns - self.lag_ns
        else:
            drift = _DRIFT_RTCP if by_rtcp else _DRIFT_VIDEO
            self._base_ns += round(drift * (arrived_ns - self._arrived_ns))
        self._base_ns = min(self._base_ns, arrived_ns - own_ns)
        self._own_ns, self._arrived_ns, self._by_rtcp = own_ns, arrived_ns, by_rtcp
        self.lag_ns = arrived_ns - own_ns - self._base_ns
        if self.lag_ns <= BEHIND_MAX_S * NS_PER_S:
            self._behind_since_ns = None
        elif self._behind_since_ns is None:
            self._behind_since_ns = arrived_ns
        return self.lag_ns

    @property
    def is_behind(self) -> bool:
        """For long: after a moment without a network all comes at once, and is not behind any more."""
        since_ns = self._behind_since_ns
        return since_ns is not None and self._arrived_ns - since_ns > BEHIND_FOR_S * NS_PER_S

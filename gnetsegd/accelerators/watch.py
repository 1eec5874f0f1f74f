"""Health is masks, not motion: tells an accelerator that takes frames and gives no masks."""

from __future__ import annotations

#: An accelerator is given up after so long without a mask, in s, or after so many of its own limits for one
#: answer if they are longer.
GIVEN_UP_S = 2.0
GIVEN_UP_ANSWERS = 3
#: Lost frames say something only when they are several; one that never comes back says it alone.
LOSSES_MIN = 3


def limit_s(answer_limit_s: float) -> float:
    """How long frames may go in without a mask coming out."""
    return max(GIVEN_UP_S, GIVEN_UP_ANSWERS * answer_limit_s)


class MaskWatch:
    """Asked after every answer that is no mask, by the thread that collects; a mask costs nothing."""

    def __init__(self, now: float) -> None:
        #: How long frames have gone in without a mask, in s, as of the last look.
        self.lasts_s = 0.0
        self._masks = -1
        self._since = self._looked_at = now
        self._losses = 0
        self._waits = False

    def look(self, masks: int, lost: bool, in_flight: int, now: float) -> None:
        """``masks`` have come in all; the last answer was a loss if ``lost``, else there was none."""
        if masks != self._masks:
            self._masks, self._losses, self._since = masks, 0, now
        elif not lost and not in_flight:
            self._since += now - self._looked_at  # nothing was asked of it: that time does not count
        self._looked_at = now
        self._losses += lost
        self._waits = bool(in_flight) and not lost
        self.lasts_s = now - self._since

    def is_over(self, answer_limit_s: float) -> bool:
        """Has it lasted too long?"""
        tells = self._waits or self._losses >= LOSSES_MIN
        return tells and self.lasts_s > limit_s(answer_limit_s)

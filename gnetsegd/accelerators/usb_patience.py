"""When a device that is mended again and again is given up.

Each failure alone may be mended. A device that answers its proof and then nothing, or refuses every frame,
never gives a mask in between: its failures make a *row*, and a row that lasts too long is the end.
"""

from __future__ import annotations

import time

#: A row of failures is over after so many masks, however quickly they came.
STABLE_MASKS = 32
#: A device is borne for at least so long, and for so many of its limits for one answer.
PATIENCE_S = 2.0
PATIENCE_ANSWERS = 3
#: One failure or two are no row, however far apart they are.
_FAILURES_MIN = 3


class Patience:
    """Counts failures in a row. Not on the hot path: it is told of failures, not of masks."""

    def __init__(self, answer_limit_s: float) -> None:
        #: How long no mask may come, in s. Masks for so long without a failure end one, too.
        self.limit_s = max(PATIENCE_S, PATIENCE_ANSWERS * answer_limit_s)
        # Without the wait before the first failure was seen, and the one for the next to be seen.
        self._bearable_s = self.limit_s - 2 * answer_limit_s
        self.forget()

    def forget(self) -> None:
        """It is another device, or was plugged in anew."""
        self._began = self._serves_since = self._failed_at = time.monotonic()
        self._mends = self._errors = 0

    def serves(self) -> None:
        """It was opened or mended just now."""
        self._serves_since = time.monotonic()

    def failed(self, masks: int, *, refused_only: bool) -> None:
        """It failed after ``masks`` good ones. ``refused_only``: it only answered a frame with an ERROR."""
        now = time.monotonic()
        # The link holds while frames are refused one by one: there, any mask shows that the device works.
        stable = masks >= STABLE_MASKS or (
            masks > 0 and (not self._mends or now - self._serves_since >= self.limit_s)
        )
        if stable or not self._mends + self._errors:
            self._began, self._mends, self._errors = now, 0, 0
        self._failed_at = now
        if refused_only:
            self._errors += 1
        else:
            self._mends += 1

    @property
    def is_over(self) -> bool:
        """Whether the row has lasted too long."""
        lasted_s = self._failed_at - self._began
        return self._mends + self._errors >= _FAILURES_MIN and lasted_s > self._bearable_s

    @property
    def words(self) -> str:
        """What happened, for a sentence."""
        said = []
        if self._mends:
            said.append(f"failed {self._mends} times, though its link was mended each time")
        if self._errors:
            said.append(f"refused {self._errors} frames")
        seconds = self._failed_at - self._began
        return f"in {seconds:.1f} s it {' and '.join(said)}, with few masks or none between"

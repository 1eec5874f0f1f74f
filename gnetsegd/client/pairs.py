"""A mask and the picture that it is of come in two messages, on two sockets, in any order."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..frame import MaskFormat
    from ..message import MaskHeader
    from .mask import ReceivedMask

#: So many masks wait for their pictures at most, and so many pictures for their masks.
WAITING_MAX = 64
#: How long a mask waits for its picture, which the daemon sends right behind it.
PAIR_WAIT_S = 0.25


class Pairs:
    """Puts masks and pictures of one (session, sequence) together; no sockets here.

    With ``newest_only`` it gives the newest mask whose picture is there, and drops older ones; else every
    mask in its order. A mask whose picture does not come is given without one, and until a picture
    comes again none waits for one.
    """

    def __init__(self, newest_only: bool) -> None:
        self._newest_only = newest_only
        self._masks: deque[tuple[float, ReceivedMask]] = deque()
        self._frames: dict[tuple[int, int], tuple[MaskFormat, memoryview]] = {}
        self._coming = True
        self._skipped = 0
        self._begins = False

    @property
    def full(self) -> bool:
        """No more masks should be read."""
        return len(self._masks) >= WAITING_MAX

    @property
    def due(self) -> float:
        """When ``take`` gives a mask though nothing comes, as ``time.monotonic()``."""
        if not self._masks:
            return math.inf
        return self._masks[0][0] + (PAIR_WAIT_S if self._coming else 0.0)

    def add_mask(self, mask: ReceivedMask, now: float) -> None:
        self._masks.append((now, mask))
        if len(self._masks) > WAITING_MAX:
            self._drop()

    def add_frame(self, header: MaskHeader, payload: memoryview) -> None:
        self._coming = True
        self._frames[header.session, header.sequence] = header.format, payload
        if len(self._frames) > WAITING_MAX:
            del self._frames[next(iter(self._frames))]

    def take(self, now: float) -> ReceivedMask | None:
        """The next mask that need not wait any longer."""
        if not self._masks:
            return None
        if self._newest_only:
            for place in range(len(self._masks) - 1, -1, -1):
                if self._key(place) in self._frames:
                    return self._give(place)
        elif self._key(0) in self._frames or self._overtaken():
            return self._give(0)
        if now < self.due:
            return None
        self._coming = False
        return self._give(len(self._masks) - 1 if self._newest_only else 0)

    def _key(self, place: int) -> tuple[int, int]:
        mask = self._masks[place][1]
        return mask.session, mask.sequence

    def _overtaken(self) -> bool:
        """A later picture is here: that of the first mask has been lost, as pictures come in order."""
        session, sequence = self._key(0)
        return any(key[0] == session and key[1] > sequence for key in self._frames)

    def _drop(self) -> None:
        _, mask = self._masks.popleft()
        self._skipped += 1 + mask.skipped
        self._begins |= mask.new_session

    def _give(self, place: int) -> ReceivedMask:
        for _ in range(place):
            self._drop()
        _, mask = self._masks.popleft()
        key = mask.session, mask.sequence
        frame = self._frames.get(key)
        # Pictures before this one have no mask to wait for any more; those of the run before neither.
        waiting = {(other.session, other.sequence) for _, other in self._masks}
        self._frames = {
            k: v for k, v in self._frames.items() if (k[0] == key[0] and k[1] > key[1]) or k in waiting
        }
        skipped, begins = self._skipped, self._begins
        self._skipped, self._begins = 0, False
        return replace(
            mask, _frame=frame, skipped=mask.skipped + skipped, new_session=mask.new_session or begins
        )

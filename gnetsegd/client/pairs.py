"""A mask and the pictures of it come in messages and on sockets of their own, in any order."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .mask import ReceivedMask

#: So many masks wait for their pictures at most, and so many pictures of a kind for their masks.
WAITING_MAX = 64
#: How long a mask waits for its picture, by the picture's kind: a ``frame`` is sent right behind it, an
#: ``image`` has to be made, and not every mask has one.
PAIR_WAIT_S = {"frame": 0.25, "image": 0.5}


class _Parts:
    """The pictures of one kind that wait for their masks, by (session, sequence)."""

    def __init__(self, kind: str) -> None:
        self.wait_s = PAIR_WAIT_S[kind]
        self.by_key: dict[tuple[int, int], Any] = {}
        #: Masks wait for them: they come.
        self.coming = True

    def add(self, key: tuple[int, int], part: Any) -> None:
        self.coming = True
        self.by_key[key] = part
        if len(self.by_key) > WAITING_MAX:
            del self.by_key[next(iter(self.by_key))]

    def overtaken(self, key: tuple[int, int]) -> bool:
        """A later one is here: this one does not come any more, as they come in order."""
        return any(other[0] == key[0] and other[1] > key[1] for other in self.by_key)

    def forget(self, given: tuple[int, int], waiting: set[tuple[int, int]]) -> None:
        """Those before ``given`` have no mask to wait for any more; those of the run before neither."""
        self.by_key = {
            key: part
            for key, part in self.by_key.items()
            if (key[0] == given[0] and key[1] > given[1]) or key in waiting
        }


class Pairs:
    """Puts masks and pictures (of ``kinds``) of one (session, sequence) together; no sockets here.

    With ``newest_only`` it gives the newest mask whose pictures are there, and drops older ones; else every
    mask in its order. A mask whose picture does not come is given without one, and until one of that kind
    comes again none waits for one.
    """

    def __init__(self, newest_only: bool, kinds: tuple[str, ...] = ("frame",)) -> None:
        self._newest_only = newest_only
        self._masks: deque[tuple[float, ReceivedMask]] = deque()
        self._parts = {kind: _Parts(kind) for kind in kinds}
        self._skipped = 0
        self._begins = False

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self._parts)

    @property
    def full(self) -> bool:
        """No more masks should be read."""
        return len(self._masks) >= WAITING_MAX

    @property
    def due(self) -> float:
        """When ``take`` gives a mask though nothing comes, as ``time.monotonic()``."""
        if not self._masks:
            return math.inf
        waits = (parts.wait_s for parts in self._parts.values() if parts.coming)
        return self._masks[0][0] + max(waits, default=0.0)

    def add_mask(self, mask: ReceivedMask, now: float) -> None:
        self._masks.append((now, mask))
        if len(self._masks) > WAITING_MAX:
            self._drop()

    def add(self, kind: str, session: int, sequence: int, part: Any) -> None:
        """A picture has come; ``part`` is what ``ReceivedMask`` keeps of it."""
        self._parts[kind].add((session, sequence), part)

    def take(self, now: float) -> ReceivedMask | None:
        """The next mask that need not wait any longer."""
        if not self._masks:
            return None
        if self._newest_only:
            for place in range(len(self._masks) - 1, -1, -1):
                if self._complete(place):
                    return self._give(place)
        elif self._complete(0, may_be_overtaken=True):
            return self._give(0)
        if now < self.due:
            return None
        place = len(self._masks) - 1 if self._newest_only else 0
        for parts in self._parts.values():
            parts.coming &= self._key(place) in parts.by_key
        return self._give(place)

    def _key(self, place: int) -> tuple[int, int]:
        mask = self._masks[place][1]
        return mask.session, mask.sequence

    def _complete(self, place: int, may_be_overtaken: bool = False) -> bool:
        """Its pictures are here, of all kinds that come; at least one is."""
        key, some = self._key(place), False
        for parts in self._parts.values():
            here = key in parts.by_key or (may_be_overtaken and parts.overtaken(key))
            if parts.coming and not here:
                return False
            some |= here
        return some

    def _drop(self) -> None:
        _, mask = self._masks.popleft()
        self._skipped += 1 + mask.skipped
        self._begins |= mask.new_session

    def _give(self, place: int) -> ReceivedMask:
        for _ in range(place):
            self._drop()
        _, mask = self._masks.popleft()
        key = mask.session, mask.sequence
        found = {kind: parts.by_key.get(key) for kind, parts in self._parts.items()}
        waiting = {(other.session, other.sequence) for _, other in self._masks}
        for parts in self._parts.values():
            parts.forget(key, waiting)
        skipped, begins = self._skipped, self._begins
        self._skipped, self._begins = 0, False
        return replace(
            mask,
            _frame=found.get("frame"),
            _image=found.get("image"),
            skipped=mask.skipped + skipped,
            new_session=mask.new_session or begins,
        )

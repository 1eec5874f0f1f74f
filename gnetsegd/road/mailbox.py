"""The mailbox between camera and accelerator: one place, the newest frame wins."""

from __future__ import annotations

from collections import deque

from ..flag import Flag
from ..frame import NO_ROOM, Frame, FrameSpec, Room


class Mailbox:
    """Holds at most one frame. ``displaced`` counts those that gave way to a newer one.

    One thread puts, one takes.
    """

    def __init__(self) -> None:
        # A deque's own operations are atomic: with one thread at each end nothing else is needed.
        self._box: deque[Frame] = deque()
        self._full = Flag()
        self._taken = Flag()
        #: Somebody waits for it to be empty, now and then.
        self._awaited = False
        self.displaced = 0

    def put(self, frame: Frame) -> Frame | None:
        """Lay the newest frame in, its ``dropped_daemon`` set; the frame that it displaced, for the pool."""
        displaced = self.steal() if self._box else None
        frame.dropped_daemon = self.displaced
        self._box.append(frame)
        self._full.set()
        return displaced

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame, or None if none came in time."""
        box = self._box
        while not box:
            if not self._full.wait(timeout_s):
                return None
        try:
            frame = box.popleft()
        except IndexError:  # it was stolen just now
            return None
        if self._awaited:
            self._taken.set()
        return frame

    def wait_empty(self, timeout_s: float) -> bool:
        """For a source that waits for its taker: True once there is no frame in the mailbox."""
        self._awaited = True
        while self._box:
            if not self._taken.wait(timeout_s):
                return False
        return True

    def __bool__(self) -> bool:
        return bool(self._box)

    def steal(self) -> Frame | None:
        """Take a waiting frame back because its slot is needed; it counts as displaced."""
        try:
            frame = self._box.popleft()
        except IndexError:
            return None
        self.displaced += 1
        return frame


class Pool:
    """The slots of the road, allocated once.

    One being filled, one in the mailbox, one being published, and those in flight.
    """

    def __init__(self, spec: FrameSpec, mask_bytes: int, depth_frames: int, room: Room = NO_ROOM) -> None:
        self.spec = spec
        self._free = deque(Frame(spec, mask_bytes, room) for _ in range(depth_frames + 3))

    def take(self) -> Frame | None:
        """A free slot, or None if all are out."""
        try:
            return self._free.popleft()
        except IndexError:
            return None

    def give(self, frame: Frame) -> None:
        """Bring a slot back."""
        self._free.append(frame)

    def __len__(self) -> int:
        return len(self._free)

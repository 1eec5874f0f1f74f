"""What waits for the disk: bounded in bytes, so that a disk that hangs costs no more memory."""

from __future__ import annotations

import queue
import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")

#: For the disk may be waited so long: this much waits in memory meanwhile.
WAITING_MAX_BYTES = 128 << 20


class Waiting(Generic[Item]):
    """From one thread to another. ``no_room``: how many items found none, and are lost."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Item, int]] = queue.SimpleQueue()
        self._bytes = 0
        self._lock = threading.Lock()
        self.no_room = 0

    def __len__(self) -> int:
        return self._queue.qsize()

    def put(self, item: Item, size_bytes: int) -> None:
        """Never waits. What has no size always finds room."""
        with self._lock:
            if size_bytes and self._bytes > WAITING_MAX_BYTES:
                self.no_room += 1
                return
            self._bytes += size_bytes
        self._queue.put((item, size_bytes))

    def get(self, timeout_s: float) -> Item:
        """The oldest; ``queue.Empty`` where none comes in time."""
        item, size_bytes = self._queue.get(timeout=timeout_s)
        with self._lock:
            self._bytes -= size_bytes
        return item

"""Calls that never return, for fakes: as a driver or a library that waits for what does not come."""

from __future__ import annotations

import threading


class Hang:
    """Where a fake hangs; change it from any thread at any time.

    ``calls`` are the names of the calls that block: add to it, or take from it. ``reached`` is set once
    one blocks. ``end()`` lets all of them go on, so that a test can end its threads.
    """

    def __init__(self) -> None:
        self.calls: set[str] = set()
        self.reached = threading.Event()
        self._ended = threading.Event()

    def here(self, call: str) -> None:
        """The fake is in ``call``: block for ever if that is one of ``calls``."""
        if call in self.calls:
            self.reached.set()
            self._ended.wait()

    def end(self) -> None:
        self.calls.clear()
        self._ended.set()

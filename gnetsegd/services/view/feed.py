"""What one camera shows just now, from a thread that reads masks to the event loop that serves viewers.

The thread runs only while somebody looks, so that nobody's page keeps a camera awake. There is one newest
event; a viewer that is slow finds the newest when it comes back, and no queue grows.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from ...client import MaskSubscriber, NoData, ReceivedMask
from ...text import clean
from .. import zones

if TYPE_CHECKING:
    from pathlib import Path

    from numpy import bool_
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

#: After the last viewer has gone, masks are read on for so long: a page that is loaded anew finds them.
LINGER_S = 5.0
#: A mask of more than this age is none to show, or of three of its camera's periods.
MAX_AGE_S = 1.5
#: The thread looks so often whether anybody is there.
LOOK_S = 0.5
#: After an error that nobody foresaw.
ERROR_PAUSE_S = 1.0


class Shown(NamedTuple):
    """What there is to see: a mask with its persons, or why there is none."""

    mask: ReceivedMask | None = None
    person: NDArray[bool_] | None = None
    no_data: NoData | None = None
    fps: float = 0.0
    missed: int = 0
    fps_nominal: float = 0.0


class TooManyViewersError(Exception):
    """As many look already as may."""


class Feed:
    """One camera. ``subscribe`` makes its subscriber, in the thread; ``zones_file`` tells what is ignored."""

    def __init__(
        self, name: str, subscribe: Callable[[], MaskSubscriber], zones_file: Path, viewers_max: int
    ) -> None:
        self.name = name
        self.zones = zones.Followed(zones_file)
        self.viewers = 0
        self._subscribe = subscribe
        self._viewers_max = viewers_max
        self._thread: threading.Thread | None = None
        self._left_at = 0.0
        self.stopped = False
        self._newest = Shown(no_data=NoData("starting", "the first mask is waited for"))
        self._changed: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def newest(self) -> Shown:
        return self._newest

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """While it lasts, masks are read. ``TooManyViewersError``."""
        if self.viewers >= self._viewers_max:
            raise TooManyViewersError
        self.viewers += 1
        self._loop = asyncio.get_running_loop()
        self._changed = self._changed or asyncio.Event()
        if self._thread is None or not self._thread.is_alive():
            self._newest = Shown(no_data=NoData("starting", "the first mask is waited for"))
            self._thread = threading.Thread(target=self._read, name=f"view {self.name}", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self.viewers -= 1
            self._left_at = time.monotonic()

    async def next_after(self, seen: Shown | None, timeout_s: float) -> Shown | None:
        """The newest that is not ``seen``; None where none came in time."""
        deadline = time.monotonic() + timeout_s
        while self._newest is seen and not self.stopped:
            left_s = deadline - time.monotonic()
            changed = self._changed
            if left_s <= 0 or changed is None:
                return None
            try:
                await asyncio.wait_for(changed.wait(), left_s)
            except TimeoutError:
                return None
        return self._newest

    def stop(self) -> None:
        """By the event loop: the thread ends, and so does whoever follows."""
        self.stopped = True
        if self._changed is not None:
            self._changed.set()

    # -- the thread -------------------------------------------------------------------------------

    @property
    def _goes_on(self) -> bool:
        return not self.stopped and (self.viewers > 0 or time.monotonic() - self._left_at < LINGER_S)

    def _read(self) -> None:
        while self._goes_on:
            try:
                with self._subscribe() as masks:
                    self._follow(masks)
            except Exception as error:  # a page that stays grey says why, whatever it is
                log.warning("%s: %s", self.name, clean(str(error)))
                self._show(Shown(no_data=NoData("error", clean(str(error)) or type(error).__name__)))
                time.sleep(ERROR_PAUSE_S)

    def _follow(self, masks: MaskSubscriber) -> None:
        looked_at = 0.0
        for found in masks.follow(MAX_AGE_S, LOOK_S):
            now = time.monotonic()
            if now - looked_at > LOOK_S:
                looked_at = now
                if not self._goes_on:
                    return
                self.zones.look()
            if isinstance(found, NoData):
                if found.why == "stale" and self._is_slow(masks, found):
                    continue
                self._show(Shown(no_data=found))
            else:
                self._show(self._shown(masks, found))

    @staticmethod
    def _is_slow(masks: MaskSubscriber, found: NoData) -> bool:
        """It is a camera of less than two pictures a second."""
        info = masks.info()
        nominal = float(info["fps_nominal"]) if info is not None else 0.0
        return nominal > 0 and found.age_s is not None and found.age_s < 3 / nominal

    def _shown(self, masks: MaskSubscriber, mask: ReceivedMask) -> Shown:
        try:
            person = zones.counted(mask, self.zones.areas)
        except ValueError as error:  # a network that knows no persons
            return Shown(no_data=NoData("no-persons", clean(str(error))))
        return Shown(mask, person, None, masks.rate_fps, masks.missed, float(mask.info["fps_nominal"]))

    def _show(self, shown: Shown) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._take, shown)

    def _take(self, shown: Shown) -> None:
        self._newest = shown
        if self._changed is not None:
            # Whoever waits now is woken; who comes later waits for the next.
            self._changed.set()
            self._changed = asyncio.Event()

"""The cameras of this machine: which daemons there are, and how each is read."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from ...client import DEFAULT_ENDPOINT, MaskSubscriber
from .. import here, zones
from ..here import Found
from .feed import Feed

if TYPE_CHECKING:
    from pathlib import Path

#: Cameras are looked for no more often than so.
AGAIN_S = 5.0


class Cameras:
    """The feeds by their names on the page: the camera's, or the camera's with a number where two have one.

    ``endpoints`` empty: those of this machine, looked for again and again.
    """

    def __init__(self, endpoints: tuple[str, ...], state_folder: Path, viewers_max: int) -> None:
        self.feeds: dict[str, Feed] = {}
        self._here = here.Cameras(endpoints)
        self._zones_folder = state_folder / "zones"
        self._viewers_max = viewers_max
        self._looked_at = -AGAIN_S
        self._looking = asyncio.Lock()
        #: The feed that is there for want of any that spoke.
        self._stands_in: Found | None = None

    def zones_file(self, name: str) -> Path:
        return zones.path_of(self._zones_folder, name)

    async def look(self) -> dict[str, Feed]:
        """All cameras that are, or were, there."""
        async with self._looking:
            now = time.monotonic()
            if now - self._looked_at >= AGAIN_S or not self.feeds:
                loop = asyncio.get_running_loop()
                new = await loop.run_in_executor(None, self._here.look)
                self._looked_at = time.monotonic()
                if new and self._stands_in is not None:
                    self.feeds.pop(self._stands_in.name).stop()
                    self._stands_in = None
                for found in new:
                    self._add(found)
                if not self.feeds:
                    # Where nobody speaks there is one to look at, which says why.
                    endpoints = self._here.endpoints
                    self._stands_in = Found("cam0", endpoints[0] if endpoints else DEFAULT_ENDPOINT, "cam0")
                    self._add(self._stands_in)
        return self.feeds

    def _add(self, found: Found) -> None:
        self.feeds[found.name] = Feed(
            found.name,
            lambda: MaskSubscriber(found.endpoint, found.camera, picture=True),
            self.zones_file(found.name),
            self._viewers_max,
        )

    def stop(self) -> None:
        for feed in self.feeds.values():
            feed.stop()

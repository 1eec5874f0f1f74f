"""The cameras of this machine: which daemons there are, and how each is read."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from ...client import DEFAULT_ENDPOINT, MaskSubscriber
from .. import zones
from ..here import MAX_CAMERAS, endpoints_here, listen
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
        self._endpoints = endpoints
        self._zones_folder = state_folder / "zones"
        self._viewers_max = viewers_max
        self._known: dict[tuple[str, str], str] = {}
        self._looked_at = -AGAIN_S
        self._looking = asyncio.Lock()
        #: The feed that is there for want of any that spoke.
        self._stands_in = ""

    def zones_file(self, name: str) -> Path:
        return zones.path_of(self._zones_folder, name)

    async def look(self) -> dict[str, Feed]:
        """All cameras that are, or were, there."""
        async with self._looking:
            now = time.monotonic()
            if now - self._looked_at >= AGAIN_S or not self.feeds:
                endpoints = self._endpoints or tuple(endpoints_here())
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(None, listen, endpoints)
                self._looked_at = time.monotonic()
                for endpoint, cameras in found.items():
                    for camera in cameras:
                        self._add(endpoint, camera)
                if not self.feeds:
                    # Where nobody speaks there is one to look at, which says why.
                    self._add(endpoints[0] if endpoints else DEFAULT_ENDPOINT, "cam0")
                    self._stands_in = self._known.popitem()[1]
        return self.feeds

    def _add(self, endpoint: str, camera: str) -> None:
        if (endpoint, camera) in self._known or len(self.feeds) >= MAX_CAMERAS:
            return
        if self._stands_in:
            self.feeds.pop(self._stands_in).stop()
            self._stands_in = ""
        name, number = camera, 1
        while name in self.feeds:
            number += 1
            name = f"{camera[:6]}-{number}"
        self._known[endpoint, camera] = name
        self.feeds[name] = Feed(
            name,
            lambda: MaskSubscriber(endpoint, camera, picture=True),
            self.zones_file(name),
            self._viewers_max,
        )

    def stop(self) -> None:
        for feed in self.feeds.values():
            feed.stop()

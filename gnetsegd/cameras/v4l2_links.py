"""A webcam found again: udev's links to it stay when its number changes."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from pathlib import Path

#: By its maker, model and serial number, then by the port that it is plugged into.
FOLDERS = (Path("/dev/v4l/by-id"), Path("/dev/v4l/by-path"))
#: A folder is read up to here.
_LINKS_MAX = 256


class Links:
    """Which webcam stood behind each configured path when it was opened last."""

    def __init__(self) -> None:
        self._seen: dict[str, list[str]] = {}

    def remember(self, path: str, found: str) -> None:
        """The webcam of the configured ``path`` has just been opened at ``found``."""
        links = links_to(found)
        if links:
            self._seen[path] = links

    def find(self, path: str) -> str:
        """Where the webcam stands now that stood behind ``path``; ``path`` itself where nobody knows.

        Another webcam at ``path`` is taken where the old one is not there at all.
        """
        for link in self._seen.get(path, []):
            if os.path.lexists(link):
                return path if os.path.realpath(link) == os.path.realpath(path) else link
        return path


def links_to(path: str) -> list[str]:
    """The links of udev to the webcam at ``path``, those by its name first; none without udev."""
    target = os.path.realpath(path)
    links: list[Path] = []
    for folder in FOLDERS:
        with suppress(OSError):  # without udev there are none
            links += sorted(islice(folder.iterdir(), _LINKS_MAX))
    return [str(link) for link in links if os.path.realpath(link) == target]

"""Named areas of a camera's picture, drawn on the page, followed by whoever needs them.

One JSON file a camera, in fractions of the upright sensor's picture::

    {"version": 1, "zones": [{"name": "Sofa", "kind": "zone", "points": [[0.1, 0.5], [0.4, 0.5], [0.4, 1]]}]}

Persons in an area of kind ``ignored`` (a television, a mirror, a poster) do not count.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..client import Zone
from ..errors import ConfigError
from ..files import read_regular, write_whole
from ..message import CAMERA_NAME
from ..text import clean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..client import ReceivedMask

VERSION = 1
KINDS = ("zone", "ignored")
#: More than anybody draws.
MAX_ZONES = 32
NAME_CHARACTERS = 40
#: Presence and metrics call the whole picture so.
WHOLE = "picture"
MAX_FILE_BYTES = 256 * 1024


class Area(NamedTuple):
    """A zone with its name; ``kind`` is one of ``KINDS``."""

    name: str
    kind: str
    zone: Zone

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "points": [list(point) for point in self.zone.points]}


def parse(body: Any) -> tuple[Area, ...]:
    """The areas of a file's JSON; ``ConfigError`` names the one that is none, and why."""
    if (
        not isinstance(body, dict)
        or body.get("version") != VERSION
        or not isinstance(body.get("zones"), list)
    ):
        raise ConfigError(
            f'zones are an object {{"version": {VERSION}, "zones": [...]}}; draw them on the page'
        )
    rows = body["zones"]
    if len(rows) > MAX_ZONES:
        raise ConfigError(f"there are {len(rows)} zones; {MAX_ZONES} is the most")
    areas: list[Area] = []
    for number, row in enumerate(rows, 1):
        areas.append(_area(row, number))
        if [area.name for area in areas].count(areas[-1].name) > 1:
            raise ConfigError(
                f"zone {number}: there is another one named {areas[-1].name}; give it its own name"
            )
    return tuple(areas)


def refuse_taken_name(areas: tuple[Area, ...]) -> None:
    """``ConfigError`` for a zone that is drawn now and named as the whole picture, and told to nobody.

    Not so in ``read``: a file that has one keeps its other zones.
    """
    if any(area.name == WHOLE and area.kind == "zone" for area in areas):
        raise ConfigError(f"zone {WHOLE}: so is the whole picture called; give it another name")


def _area(row: Any, number: int) -> Area:
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(name, str) or not name.strip() or len(name) > NAME_CHARACTERS or clean(name) != name:
        raise ConfigError(f"zone {number}: its name must be 1 to {NAME_CHARACTERS} printable characters")
    if row.get("kind") not in KINDS:
        raise ConfigError(f"zone {name}: its kind must be one of {', '.join(KINDS)}")
    points = row.get("points")
    if not isinstance(points, list) or not all(isinstance(point, list) for point in points):
        raise ConfigError(f"zone {name}: its points must be a list of [x, y]")
    try:
        return Area(name.strip(), row["kind"], Zone(points))
    except ValueError as error:
        raise ConfigError(f"zone {name}: {error}") from None


def read(path: Path) -> tuple[Area, ...]:
    """The areas in a file; none where there is no file. ``ConfigError`` for any other trouble."""
    try:
        return parse(json.loads(read_regular(path, MAX_FILE_BYTES)))
    except FileNotFoundError:
        return ()
    except ConfigError as error:
        raise ConfigError(f"{clean(str(path))}: {error}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{clean(str(path))}: cannot be read: {clean(str(error))}; draw the zones anew"
        ) from None


def path_of(folder: Path, camera: str) -> Path:
    """The file of one camera. ``ValueError`` for a name that is none."""
    if not CAMERA_NAME.fullmatch(camera):
        raise ValueError(f"{clean(camera)!r} is no camera's name")
    return folder / f"{camera}.json"


def write(path: Path, areas: tuple[Area, ...]) -> None:
    """Replace the file whole. ``OSError`` or ``ValueError`` if it cannot be, as ``files.write_whole``."""
    text = json.dumps({"version": VERSION, "zones": [area.as_json() for area in areas]}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode() + b"\n")


class Followed:
    """The areas of a file that may change at any time. A file that is none leaves what was before.

    ``trouble`` is a sentence about the file as it is now; empty where it is good, or not there.
    """

    def __init__(self, path: Path) -> None:
        self.areas: tuple[Area, ...] = ()
        self.trouble = ""
        self._path = path
        self._seen: tuple[int, ...] | None = None  # of the file; empty where there is none

    def look(self) -> bool:
        """Read the file if it changed (one stat(2) else); True if the areas are others now."""
        try:
            status = self._path.stat()
            seen: tuple[int, ...] = (status.st_mtime_ns, status.st_ino, status.st_size)
        except OSError:
            seen = ()
        if seen == self._seen:
            return False
        self._seen = seen
        before = self.areas
        try:
            self.areas, self.trouble = read(self._path), ""
        except ConfigError as error:
            self.trouble = str(error)
        return self.areas != before


def counted(mask: ReceivedMask, areas: tuple[Area, ...]) -> NDArray[np.bool_]:
    """``mask.person`` without the areas that are ignored, bool of shape (height, width)."""
    person = mask.person
    for area in areas:
        if area.kind == "ignored":
            person = person & ~area.zone.pixels(mask.geometry, mask.width, mask.height)
    return person

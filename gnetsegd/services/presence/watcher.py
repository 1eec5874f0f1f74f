"""One camera: from its masks to what is told of each zone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...client import MaskSubscriber, NoData, ReceivedMask, Zone, shapes
from ...quiet import Quiet
from ...text import clean
from .. import zones
from .occupancy import GAP_NS, Occupancy

if TYPE_CHECKING:
    from .config import OccupancyConfig

log = logging.getLogger(__name__)

#: The newest picture may be so old: a camera, an accelerator or a daemon that is dead is told within 5 s.
MAX_AGE_S = 2.0
#: Numbers that change with every mask are told so often.
NUMBERS_APART_S = 1.0
ZONES_LOOK_S = 1.0
ERROR_PAUSE_S = 2.0
#: The whole of what the camera sees, beside the zones that are drawn.
WHOLE = zones.WHOLE

_WHOLE_AREA = zones.Area(WHOLE, "zone", Zone((0, 0, 1, 1)))


class Told(NamedTuple):
    """A zone as it is told. ``occupied`` None: nobody knows, and ``reason`` says why.

    ``share`` is of the zone, 0 to 1; ``centre`` is in fractions of the sensor's picture, None: nobody.
    """

    occupied: bool | None
    reason: str = ""
    share: float = 0.0
    blobs: int = 0
    centre: tuple[float, float] | None = None


class Watcher:
    """Calls ``tell(camera, zone, Told)`` from its thread: changes at once, numbers each second.

    ``announce(camera, zones, info)`` is called when the camera comes and when its zones change.
    """

    def __init__(
        self,
        camera: str,
        subscribe: Callable[[], MaskSubscriber],
        zones_file: Path,
        config: OccupancyConfig,
        tell: Callable[[str, str, Told], None],
        announce: Callable[[str, list[str]], None],
    ) -> None:
        self.camera = camera
        self._subscribe = subscribe
        self._followed = zones.Followed(zones_file)
        self._config = config
        self._tell = tell
        self._announce = announce
        self._occupancy: dict[str, Occupancy] = {}
        self._areas: tuple[zones.Area, ...] = ()
        self._why = ""
        self._looked_at = self._told_at = 0.0
        self._quiet = Quiet()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name=f"presence {camera}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._stop = True
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self._look_at_zones(first=True)
        while not self._stop:
            try:
                with self._subscribe() as masks:
                    for found in masks.follow(MAX_AGE_S, repeat_s=ZONES_LOOK_S):
                        if self._stop:
                            return
                        self.take(found, time.monotonic())
            except Exception as error:  # one camera's trouble is not another's
                words = clean(str(error)) or type(error).__name__
                self.take(NoData("error", words), time.monotonic())
                time.sleep(ERROR_PAUSE_S)

    def take(self, found: ReceivedMask | NoData, now: float) -> None:
        """One mask, or that there is none."""
        if now - self._looked_at >= ZONES_LOOK_S:
            self._looked_at = now
            self._look_at_zones()
        if isinstance(found, NoData):
            self._no_data(found.reason)
            return
        try:
            person = zones.counted(found, self._areas)
        except ValueError as error:  # a network that knows no persons
            self._no_data(clean(str(error)))
            return
        if self._why and self._quiet.may_say():
            log.info("camera %s: masks come again%s", self.camera, self._quiet.left_out())
        self._why = ""
        numbers = now - self._told_at >= NUMBERS_APART_S
        if numbers:
            self._told_at = now
        fps = float(found.info["fps_nominal"])
        gap_ns = max(GAP_NS, round(3e9 / fps)) if fps > 0 else GAP_NS
        for name, occupancy in self._occupancy.items():
            pixels = self._zone_of(name).pixels(found.geometry, found.width, found.height)
            if not pixels.any():
                occupancy.forget()
                if numbers:
                    self._tell(self.camera, name, Told(None, "the mask shows nothing of this zone"))
                continue
            share = shapes.share(person, pixels)
            if occupancy.add(share, found.sensor_timestamp_ns, gap_ns) or numbers:
                self._tell(self.camera, name, self._told(found, occupancy, share, person & pixels))

    def _told(self, mask: ReceivedMask, occupancy: Occupancy, share: float, inside: shapes.Region) -> Told:
        centre = shapes.centroid(inside)
        return Told(
            occupancy.occupied,
            "" if occupancy.occupied is not None else "the first masks are looked at",
            share,
            len(shapes.blobs(inside, self._config.blob_share)),
            None if centre is None else mask.to_sensor(*centre),
        )

    def _no_data(self, reason: str) -> None:
        first = reason != self._why
        self._why = reason
        if first and self._quiet.may_say():
            log.warning(
                "camera %s: nobody knows who is there: %s%s", self.camera, reason, self._quiet.left_out()
            )
        for name, occupancy in self._occupancy.items():
            known = occupancy.occupied is not None
            occupancy.forget()
            if first or known:
                self._tell(self.camera, name, Told(None, reason))

    def _zone_of(self, name: str) -> Zone:
        return next(area.zone for area in (_WHOLE_AREA, *self._areas) if area.name == name)

    def _look_at_zones(self, first: bool = False) -> None:
        if not (self._followed.look() or first):
            return
        if self._followed.trouble and self._quiet.may_say():
            log.warning("%s%s", self._followed.trouble, self._quiet.left_out())
        before = {area.name: area for area in self._areas}
        self._areas = self._followed.areas
        names = [WHOLE, *(area.name for area in self._areas if area.kind == "zone" and area.name != WHOLE)]
        # A zone that was drawn anew is another place.
        kept = {area.name for area in self._areas if before.get(area.name) == area} | {WHOLE}
        self._occupancy = {
            name: self._occupancy[name]
            if name in kept and name in self._occupancy
            else Occupancy(self._config)
            for name in names
        }
        self._announce(self.camera, names)

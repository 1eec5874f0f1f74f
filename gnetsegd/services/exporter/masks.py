"""What only the masks tell, where that is asked for: latency, and how much of each zone is person."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import Gauge, Histogram

from ...client import MaskSubscriber, NoData, Zone, shapes
from ...quiet import Quiet
from ...text import clean
from .. import zones

log = logging.getLogger(__name__)

BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
MAX_AGE_S = 3.0
ZONES_LOOK_S = 1.0
ERROR_PAUSE_S = 2.0
WHOLE = zones.Area(zones.WHOLE, "zone", Zone((0, 0, 1, 1)))


class MaskMetrics:
    """The metrics, for all cameras."""

    def __init__(self, registry: Any) -> None:
        self.latency = Histogram(
            "gnetsegd_mask_latency_seconds", "From exposure to sending.", ["camera"],
            buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.person = Gauge(
            "gnetsegd_zone_person_ratio",
            "How much of the zone is person.",
            ["camera", "zone"],
            registry=registry,
        )


class MaskReader:
    """Reads every mask of one camera in a thread; without data the zones have no value."""

    def __init__(
        self, camera: str, subscribe: Callable[[], MaskSubscriber], zones_file: Path, metrics: MaskMetrics
    ) -> None:
        self._camera = camera
        self._subscribe = subscribe
        self._followed = zones.Followed(zones_file)
        self._metrics = metrics
        self._shown: set[str] = set()
        self._looked_at = 0.0
        self._quiet = Quiet()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name=f"masks {camera}", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._stop = True
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop:
            try:
                with self._subscribe() as masks:
                    for found in masks.follow(MAX_AGE_S, repeat_s=1.0):
                        if self._stop:
                            return
                        if isinstance(found, NoData):
                            self._show({})
                        else:
                            self._take(found)
            except Exception as error:  # a network that knows no persons, too
                self._show({})
                if self._quiet.may_say():
                    log.warning("camera %s: %s%s", self._camera, clean(str(error)), self._quiet.left_out())
                time.sleep(ERROR_PAUSE_S)

    def _take(self, mask: Any) -> None:
        self._metrics.latency.labels(self._camera).observe(mask.header.latency_ns / 1e9)
        now = time.monotonic()
        if now - self._looked_at < ZONES_LOOK_S:
            return
        self._looked_at = now
        self._followed.look()
        person, shares = zones.counted(mask, self._followed.areas), {}
        for area in (WHOLE, *self._followed.areas):
            pixels = area.zone.pixels(mask.geometry, mask.width, mask.height)
            if area.kind == "zone" and pixels.any():
                shares[area.name] = shapes.share(person, pixels)
        self._show(shares)

    def _show(self, shares: dict[str, float]) -> None:
        for gone in self._shown - set(shares):
            self._metrics.person.remove(self._camera, gone)
        for zone, share in shares.items():
            self._metrics.person.labels(self._camera, zone).set(share)
        self._shown = set(shares)

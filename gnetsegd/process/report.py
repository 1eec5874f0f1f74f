"""What the daemon says of itself: ``info`` and ``status`` on ZeroMQ, words for systemd, lines in the log.

Both messages go out at once when something changes, and at each interval.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from .. import __version__
from ..message import INFO_SCHEMA, STATUS_SCHEMA
from ..quiet import Quiet
from ..road import health
from ..road.health import Health
from ..road.road import Road
from .parts import Setup
from .sd_notify import Notifier

log = logging.getLogger(__name__)

#: How much more time systemd is asked for while the start gets on, in s.
EXTEND_S = 20.0
#: A change is told at once, but not more often than so, in s.
CHANGES_APART_S = 0.05
#: ``info`` is told once more this long after a change, in s: a reader whose connection stood and whose
#: subscription was still on its way has got neither the change nor the welcome.
INFO_AGAIN_S = 1.0


class Reporter:
    """The main thread's. ``setup`` gives the configuration that is in force."""

    def __init__(self, road: Road, notifier: Notifier, setup: Callable[[], Setup]) -> None:
        self._road = road
        self._notifier = notifier
        self._setup = setup
        self._started = time.monotonic()
        self._rate = health.Rate()
        self._due = 0.0
        self._sent_at = 0.0
        self._sent: tuple[object, ...] = ()
        self._info_of: tuple[object, ...] = ()
        self._info_again = math.inf
        self._logged = self._waits = ("", "")
        self._was_ready = False
        self._quiet = Quiet(burst_lines=8)

    def tick(self, now: float, ready: bool, achieved: bool) -> bool:
        """Say what is due; True if the periodic status was sent. ``achieved``: progress since then."""
        road, setup = self._road, self._setup()
        found = health.judge(road, ready)
        info = road.pipeline.info
        backend = info.backend if info is not None else ""
        # A change of the words alone, such as a counter in them, can wait for the next interval.
        publisher = road.publisher
        keys, watched = publisher.keys_in_force(), publisher.watched
        told = (found.state, info, road.camera.info, setup.bundles, watched, keys, ready)
        periodic = now >= self._due
        again = periodic or now >= self._info_again
        if not periodic and (told == self._sent or now - self._sent_at < CHANGES_APART_S):
            if again:
                self._send_info(again, now)
            return False
        if periodic:
            self._due = now + setup.config.publish.status_interval_s
            self._rate.update(road.publisher.masks)
        self._sent, self._sent_at = told, now
        self._send_info(again, now)
        self.send_status(found)
        self._tell_systemd(found, backend, ready, achieved)
        self._log_change(found, backend, ready)
        return periodic

    def _send_info(self, anyway: bool, now: float) -> None:
        camera, model = self._road.camera.info, self._road.pipeline.info
        info_of = (camera, model, self._setup().bundles)
        changed = info_of != self._info_of
        if camera is not None and model is not None and (changed or anyway):
            self._info_of, self._info_again = info_of, now + INFO_AGAIN_S if changed else math.inf
            self._road.publisher.send_info(self._info_body(camera, model))

    def _info_body(self, camera: Any, model: Any) -> dict[str, Any]:
        setup = self._setup()
        config, bundle, mask = setup.config, setup.bundles.of(model.model_hash), model.mask
        return {
            "schema": INFO_SCHEMA,
            "version": __version__,
            "camera": config.camera.name,
            "session": self._road.publisher.session,
            "backend": model.backend,
            "model": {
                "id": bundle.id,
                "sha256": bundle.sha256.hex(),
                "title": bundle.title,
                "licence": bundle.licence,
            },
            "runtime": model.runtime,
            "labels": list(model.labels),
            "persons": [k for k, label in enumerate(model.labels) if label in bundle.persons],
            "input": {
                "width": model.input.width,
                "height": model.input.height,
                "pixel_format": model.input.pixel_format,
            },
            "mask": {"width": mask.width, "height": mask.height, "bits": mask.bits, "stride": mask.stride},
            "geometry": dataclasses.asdict(camera.geometry),
            "fps_nominal": camera.fps,
            "monotonic_to_wall_offset_ns": time.time_ns() - time.monotonic_ns(),
        }

    def send_status(self, found: Health) -> None:
        """One ``status`` with the counters of now."""
        road, config = self._road, self._setup().config
        camera, model = road.camera.info, road.pipeline.info
        road.publisher.send_status(
            {
                "schema": STATUS_SCHEMA,
                "camera": config.camera.name,
                "session": road.publisher.session,
                "state": found.state,
                "reason": found.reason,
                "backend": model.backend if model else "",
                "fallback": model.fallback if model else False,
                "fps": round(self._rate.fps, 2),
                "subscribers": road.publisher.watched,
                "keys": road.publisher.keys_in_force(),
                "uptime_s": round(time.monotonic() - self._started, 3),
                "timestamp_ns": time.monotonic_ns(),
                "counters": road.counters(),
                "camera_device": {
                    "driver": config.camera.driver,
                    "description": camera.description if camera else "",
                    "fps": camera.fps if camera else 0.0,
                    "lost": road.lost(),
                },
                "accelerator": road.pipeline.describe(),
            }
        )

    def _tell_systemd(self, found: Health, backend: str, ready: bool, achieved: bool) -> None:
        words = (
            f"{found.state}: {found.reason}"
            if found.reason
            else f"{found.state}: {self._rate.fps:.1f} masks/s from {backend or 'nothing yet'}"
        )
        if ready:
            self._notifier.status(words)
        elif achieved:
            # More time only for what gets on: a start that hangs gets none.
            self._notifier.still_starting(words, EXTEND_S)

    def _log_change(self, found: Health, backend: str, ready: bool) -> None:
        change = (found.state, backend)
        if not ready or not self._was_ready:
            # A start has one line, and that tells where it has led to.
            self._was_ready, self._logged = ready, change
            return
        waits, self._waits = change == self._waits, change
        if change == self._logged or not self._quiet.may_say(waits=waits):
            return
        self._logged = change
        # The reason was logged where it arose; here it is a field to search for.
        log.info(
            "%s%s%s", found.state, f" on {backend}" if backend else "", self._quiet.left_out(),
            extra={
                "GNETSEGD_STATE": found.state, "GNETSEGD_BACKEND": backend, "GNETSEGD_REASON": found.reason,
            },
        )  # fmt: skip

"""MQTT topics and payloads: Home Assistant's device discovery, and the states that it names."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from ... import __version__

if TYPE_CHECKING:
    from .config import MqttConfig
    from .watcher import Told

ONLINE, OFFLINE = "online", "offline"
_NO_SLUG = re.compile(r"[^a-z0-9]+")


def slug(name: str) -> str:
    """A name of any letters as a part of topics and ids: a-z, 0-9 and _, and no other name gives the same."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = _NO_SLUG.sub("_", plain).strip("_")[:24]
    if plain == name:
        return plain
    return f"{plain or 'zone'}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


class Topics:
    """All topics of one service, below ``prefix``."""

    def __init__(self, config: MqttConfig) -> None:
        self._prefix = config.prefix.strip("/")
        self._discovery = config.discovery_prefix.strip("/")

    @property
    def service(self) -> str:
        """Online while the service lives; the broker says offline in its place (last will)."""
        return f"{self._prefix}/availability"

    def availability(self, camera: str, zone: str) -> str:
        return f"{self._prefix}/{slug(camera)}/{slug(zone)}/availability"

    def state(self, camera: str, zone: str) -> str:
        return f"{self._prefix}/{slug(camera)}/{slug(zone)}/state"

    def discovery(self, camera: str) -> str:
        """Empty where there is to be none."""
        return f"{self._discovery}/device/gnetsegd_{slug(camera)}/config" if self._discovery else ""

    def announcement(self, camera: str, zones: list[str], gone: list[str]) -> dict[str, Any]:
        """The payload of device discovery. ``gone``: zones that were announced before and are no more."""
        components: dict[str, Any] = {}
        for zone in zones:
            components |= self._components(camera, zone)
        for zone in gone:
            # A component with its platform alone is taken away.
            components |= {
                key: {"platform": value["platform"]} for key, value in self._components(camera, zone).items()
            }
        return {
            "device": {
                "identifiers": [f"gnetsegd_{slug(camera)}"],
                "name": f"Camera {camera}",
                "manufacturer": "gnetsegd",
                "model": "Person masks",
                "sw_version": __version__,
            },
            "origin": {"name": "gnetsegd", "sw_version": __version__},
            "components": components,
            "qos": 1,
        }

    def _components(self, camera: str, zone: str) -> dict[str, dict[str, Any]]:
        base = f"gnetsegd_{slug(camera)}_{slug(zone)}"
        common = {
            "state_topic": self.state(camera, zone),
            "availability": [{"topic": self.service}, {"topic": self.availability(camera, zone)}],
            "availability_mode": "all",
        }
        kinds: tuple[tuple[str, dict[str, Any]], ...] = (
            ("occupancy", {"platform": "binary_sensor", "device_class": "occupancy"}),
            ("share", {"platform": "sensor", "unit_of_measurement": "%", "state_class": "measurement"}),
            ("blobs", {"platform": "sensor", "state_class": "measurement"}),
            ("x", {"platform": "sensor", "unit_of_measurement": "%"}),
            ("y", {"platform": "sensor", "unit_of_measurement": "%"}),
        )
        words = {"share": "share", "blobs": "blobs", "x": "centre x", "y": "centre y"}
        return {
            f"{base}_{kind}": {
                **special,
                **common,
                "unique_id": f"{base}_{kind}",
                "name": f"{zone} {words[kind]}" if kind in words else zone,
                "value_template": f"{{{{ value_json.{kind} }}}}",
                # The numbers are for those who want them.
                **({} if kind == "occupancy" else {"enabled_by_default": kind == "share"}),
            }
            for kind, special in kinds
        }


def state_payload(told: Told) -> str:
    """JSON: ``occupancy`` ON or OFF, ``blobs``, and in percent ``share``, ``x`` and ``y`` of the centre."""
    x, y = told.centre if told.centre is not None else (None, None)
    return json.dumps(
        {
            "occupancy": "ON" if told.occupied else "OFF",
            "share": round(100 * told.share, 1),
            "blobs": told.blobs,
            "x": None if x is None else round(100 * x, 1),
            "y": None if y is None else round(100 * y, 1),
        }
    )

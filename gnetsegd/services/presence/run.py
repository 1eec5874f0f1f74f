"""``gnetsegctl presence``: watch all cameras of this machine until it is ended."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

from ...client import MaskSubscriber
from ...errors import PermanentError
from ...text import clean
from .. import zones
from ..here import Cameras, Found, check
from ..signals import stop_on_signals
from . import others
from .config import PresenceConfig
from .watcher import Told, Watcher

log = logging.getLogger(__name__)

#: New cameras are looked for so often.
LOOK_S = 5.0
STOP_S = 2.0


class Presence:
    """The watchers, and whom they tell."""

    def __init__(self, config: PresenceConfig, state_folder: Path) -> None:
        self._config = config
        self._watchers: dict[str, Watcher] = {}
        self._cameras = Cameras(config.service.endpoints)
        self._tellers: list[others.Teller] = []
        self._broker: Any = None
        if config.service.exec:
            self._tellers.append(others.Teller(others.command(config.service.exec), "service.exec"))
        if config.service.webhook:
            self._tellers.append(others.Teller(others.webhook(config.service.webhook), "service.webhook"))
        if config.mqtt.host:
            self._broker = _broker(config, state_folder)

    def start(self) -> None:
        if self._broker is not None:
            self._broker.start()

    def look(self) -> None:
        """Begin to watch the cameras that are new."""
        for found in self._cameras.look():
            self._watch(found)

    def _watch(self, found: Found) -> None:
        self._watchers[found.name] = watcher = Watcher(
            found.name,
            lambda: MaskSubscriber(found.endpoint, found.camera),
            zones.path_of(Path(self._config.service.zones_dir), found.name),
            self._config.occupancy,
            self._tell,
            self._announce,
        )
        log.info("camera %s at %s is watched", found.name, clean(found.endpoint))
        watcher.start()

    def _tell(self, camera: str, zone: str, told: Told) -> None:
        if self._broker is not None:
            self._broker.tell(camera, zone, told)
        for teller in self._tellers:
            teller.tell(camera, zone, told)

    def _announce(self, camera: str, names: list[str]) -> None:
        if self._broker is not None:
            self._broker.announce(camera, names)

    def stop(self) -> None:
        for watcher in self._watchers.values():
            watcher.stop(STOP_S)
        for teller in self._tellers:
            teller.stop()
        if self._broker is not None:
            self._broker.stop()


def _broker(config: PresenceConfig, state_folder: Path) -> Any:
    try:
        from .broker import Broker
    except ImportError as error:
        raise PermanentError(
            f"MQTT needs paho-mqtt ({clean(str(error))}): apt install python3-paho-mqtt, "
            "or pip install 'gnetsegd[presence]'; or set mqtt.host to \"\""
        ) from None
    return Broker(config.mqtt, state_folder / "announced.json")


def serve(config: PresenceConfig, state_folder: Path) -> None:
    """Until a signal ends it."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    ended = stop_on_signals()
    check(config.service.endpoints, "service.endpoints")
    presence = Presence(config, state_folder)
    presence.start()
    try:
        while not ended.is_set():
            presence.look()
            ended.wait(LOOK_S)
    finally:
        presence.stop()


def default_state_folder() -> Path:
    """systemd's, or the user's own."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "gnetsegd-presence"

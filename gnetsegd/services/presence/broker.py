"""The way to the MQTT broker: what is known is kept, and told anew whenever the broker is there again."""

from __future__ import annotations

import json
import logging
import ssl
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from paho.mqtt import client as mqtt

from ...errors import ConfigError
from ...files import read_regular, write_whole
from ...quiet import Quiet
from ...text import clean
from .config import MqttConfig, read_password
from .topics import OFFLINE, ONLINE, Topics, state_payload
from .watcher import Told

log = logging.getLogger(__name__)

#: A broker that hears nothing for one and a half of this says that we are offline.
KEEPALIVE_S = 3
RECONNECT_MIN_S, RECONNECT_MAX_S = 1, 10
#: Messages on their way; more are of no use, as the newest are told anew.
QUEUE_MESSAGES = 200
STOP_S = 1.0
QOS = 1
MAX_FILE_BYTES = 1 << 20


class Broker:
    """Publishes states of zones, retained. Any thread may call it.

    ``memory`` is a file of what was announced in earlier runs: what is not known any more must not be
    taken for true just because the service is online again.
    """

    def __init__(self, config: MqttConfig, memory: Path) -> None:
        self.topics = Topics(config)
        self.connected = False
        self._refused = False
        self._memory = memory
        self._lock = threading.Lock()
        self._zones: dict[str, list[str]] = {}
        self._gone: dict[str, list[str]] = {}
        self._told: dict[tuple[str, str], Told] = {}
        self._old = self._remembered()
        self._quiet = Quiet()
        self._address = f"{config.host}:{config.port or (8883 if config.tls else 1883)}"
        self._client = client = _new_client()
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        if config.user:
            client.username_pw_set(config.user, read_password(config))
        if config.tls:
            try:
                client.tls_set(ca_certs=config.ca_file or None, cert_reqs=ssl.CERT_REQUIRED)
            except (OSError, ValueError) as error:
                raise ConfigError(f"mqtt.ca_file: {clean(config.ca_file)}: {clean(str(error))}") from None
        client.will_set(self.topics.service, OFFLINE, QOS, retain=True)
        client.reconnect_delay_set(RECONNECT_MIN_S, RECONNECT_MAX_S)
        client.max_queued_messages_set(QUEUE_MESSAGES)
        client.connect_async(config.host, config.port or (8883 if config.tls else 1883), KEEPALIVE_S)

    def start(self) -> None:
        self._client.loop_start()

    def stop(self) -> None:
        """Say goodbye: offline, as the will would."""
        with suppress(Exception):
            if self.connected:
                self._client.publish(self.topics.service, OFFLINE, QOS, retain=True).wait_for_publish(STOP_S)
            self._client.on_disconnect = None
            self._client.disconnect()
            self._client.loop_stop()

    def announce(self, camera: str, zones: list[str]) -> None:
        """These are the camera's zones from now on."""
        with self._lock:
            before = {*self._zones.get(camera, []), *self._old.pop(camera, [])}
            self._gone[camera] = [*self._gone.get(camera, []), *sorted(before - {*zones})]
            self._gone[camera] = [zone for zone in dict.fromkeys(self._gone[camera]) if zone not in zones]
            self._zones[camera] = list(zones)
            for known in [key for key in self._told if key[0] == camera and key[1] not in zones]:
                del self._told[known]
            self._remember()
        if self.connected:
            self._publish_camera(camera)

    def tell(self, camera: str, zone: str, told: Told) -> None:
        with self._lock:
            self._told[camera, zone] = told
        if self.connected:
            self._publish_zone(camera, zone, told)

    # -- paho's thread ----------------------------------------------------------------------------

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, *_: Any) -> None:
        # paho 2 gives an object, paho 1 a number.
        self._refused = code != 0
        if self._refused:
            self._complain(f"refuses: {clean(str(code))}; mend mqtt.user and mqtt.password_file")
            return
        log.info("connected to the MQTT broker at %s", self._address)
        # The broker may have forgotten all, or still say what was true before.
        with self._lock:
            old, cameras = dict(self._old), list(self._zones)
        for camera, zones in old.items():
            for zone in zones:
                self._send(self.topics.availability(camera, zone), OFFLINE)
        for camera in cameras:
            self._publish_camera(camera)
        self.connected = True
        with self._lock:
            told = dict(self._told)
        for (camera, zone), what in told.items():
            self._publish_zone(camera, zone, what)
        self._send(self.topics.service, ONLINE)

    def _on_connect_fail(self, *_: Any) -> None:
        reason = sys.exc_info()[1]  # paho calls this where it has caught it, and does not pass it on
        words = getattr(reason, "strerror", None) or reason or "no answer"
        self._complain(f"cannot be reached ({clean(str(words))}); mend mqtt.host and mqtt.port")

    def _on_disconnect(self, *_: Any) -> None:
        if self.connected:
            self._complain("is gone; it is tried again")
        elif not self._refused:
            self._complain("hangs up without an answer; mend mqtt.port, and set mqtt.tls as it is there")
        self.connected = self._refused = False

    def _complain(self, words: str) -> None:
        if self._quiet.may_say():
            log.warning("the MQTT broker at %s %s%s", self._address, words, self._quiet.left_out())

    def _publish_camera(self, camera: str) -> None:
        with self._lock:
            zones, gone = list(self._zones.get(camera, [])), list(self._gone.get(camera, []))
            told = {zone: self._told.get((camera, zone)) for zone in zones}
        topic = self.topics.discovery(camera)
        if topic:
            self._send(topic, json.dumps(self.topics.announcement(camera, zones, gone)))
            if gone:
                self._send(topic, json.dumps(self.topics.announcement(camera, zones, [])))
        for zone in gone:
            for leftover in (self.topics.state(camera, zone), self.topics.availability(camera, zone)):
                self._send(leftover, "")
        for zone in zones:
            self._publish_zone(camera, zone, told[zone])

    def _publish_zone(self, camera: str, zone: str, told: Told | None) -> None:
        known = told is not None and told.occupied is not None
        if told is not None and known:
            # The state first: whoever hears that it is online must not read an old one.
            self._send(self.topics.state(camera, zone), state_payload(told))
        self._send(self.topics.availability(camera, zone), ONLINE if known else OFFLINE)

    def _send(self, topic: str, payload: str) -> None:
        self._client.publish(topic, payload, QOS, retain=True)

    # -- what earlier runs announced --------------------------------------------------------------

    def _remembered(self) -> dict[str, list[str]]:
        try:
            body = json.loads(read_regular(self._memory, MAX_FILE_BYTES))
            return {str(camera): [str(zone) for zone in zones] for camera, zones in body.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            log.warning("%s cannot be read (%s): what it knew is forgotten", self._memory, clean(str(error)))
            return {}

    def _remember(self) -> None:
        text = json.dumps({**self._old, **self._zones}, indent=1)
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._memory, text.encode())
        except (OSError, ValueError) as error:
            if self._quiet.may_say():
                log.warning("%s cannot be written (%s)%s", self._memory, error, self._quiet.left_out())


def _new_client() -> Any:
    version = getattr(mqtt, "CallbackAPIVersion", None)
    return mqtt.Client() if version is None else mqtt.Client(version.VERSION2)

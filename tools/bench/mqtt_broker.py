"""A real mosquitto, an observer of all that it has, and a wire to it that can be cut."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from paho.mqtt import client as mqtt
from processes import Process

MOSQUITTO = "/usr/sbin/mosquitto"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """It keeps nothing over a restart."""

    def __init__(self, start: Callable[..., Process], folder: Path, *lines: str) -> None:
        self.port = free_port()
        self._start = start
        self._starts = 0
        self._config = folder / "mosquitto.conf"
        rest = lines or ("allow_anonymous true",)
        # As root it would become a user that may not read the test's files.
        self._config.write_text("\n".join([f"listener {self.port} 127.0.0.1", "user root", *rest]) + "\n")
        self.process: Process
        self.start()

    def start(self) -> None:
        self._starts += 1
        self.process = self._start(
            MOSQUITTO, "-v", "-c", str(self._config), log=f"mosquitto-{self.port}-{self._starts}.log"
        )
        self.process.wait_for("running")


class Observer:
    """All retained messages by topic, and each message with the time of its coming."""

    def __init__(self, port: int, **login: Any) -> None:
        self.now: dict[str, str] = {}
        self.log: list[tuple[float, str, str]] = []
        version = getattr(mqtt, "CallbackAPIVersion", None)
        self._client: Any = mqtt.Client() if version is None else mqtt.Client(version.VERSION2)
        if login:
            self._client.username_pw_set(login["user"], login["password"])
        self._client.on_connect = lambda client, *_: client.subscribe("#")
        self._client.on_message = self._hear
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port, 5)
        self._client.loop_start()

    def _hear(self, _client: Any, _data: Any, message: Any) -> None:
        self.now[message.topic] = message.payload.decode()
        self.log.append((time.monotonic(), message.topic, message.payload.decode()))

    def wait_for(self, condition: Callable[[dict[str, str]], Any], timeout_s: float = 30.0) -> float:
        """How long it took."""
        began = time.monotonic()
        while not condition(dict(self.now)):
            assert time.monotonic() - began < timeout_s, f"it did not come about: {self.now}"
            time.sleep(0.02)
        return time.monotonic() - began

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Wire:
    """A relay to a port that can be cut: then nothing goes through, and nobody is told."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                while self.cut.is_set():
                    time.sleep(0.05)
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()

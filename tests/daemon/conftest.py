"""A daemon as its own process, with a fake systemd that listens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from gnetsegd.message import parse_header, parse_json

MODELS = Path(__file__).parents[1] / "data" / "models"


class RunningDaemon:
    """``gnetsegd run`` in ``folder``, publishing on ``endpoint``; ``notified`` is what systemd heard."""

    def __init__(self, folder: Path, settings: list[str], watchdog_s: float = 0.0) -> None:
        self.folder = folder
        self.endpoint = f"ipc://{folder}/m.sock"
        self.config = folder / "gnetsegd.toml"
        self.notified: list[str] = []
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        threading.Thread(target=self._hear, daemon=True).start()
        command = [sys.executable, "-m", "gnetsegd", "run", "--set", f'publish.endpoints=["{self.endpoint}"]']
        if self.config.exists():
            command += ["--config", str(self.config)]
        for setting in settings:
            command += ["--set", setting]
        environment = dict(os.environ, NOTIFY_SOCKET=str(folder / "notify"))
        environment.pop("WATCHDOG_PID", None)
        if watchdog_s:
            environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stderr=log, env=environment)
        self.context = zmq.Context()

    def words(self) -> str:
        return self.log.read_text()

    def _hear(self) -> None:
        # systemd reads all the time; a full queue would stop the daemon.
        while True:
            message = self._notify.recv(4096).decode()
            if not message:
                return
            self.notified.append(message)

    def wait_for(self, text: str, timeout_s: float = 20.0) -> None:
        """Wait until systemd was told ``text``."""
        deadline = time.monotonic() + timeout_s
        while not any(text in message for message in self.notified):
            assert self.process.poll() is None, f"it ended: {self.words()}"
            assert time.monotonic() < deadline, f"never said {text!r}: {self.notified} {self.words()}"
            time.sleep(0.01)

    def wait_for_log(self, text: str, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.words():
            assert time.monotonic() < deadline, f"never logged {text!r}: {self.words()}"
            time.sleep(0.02)

    def subscribe(self, kind: bytes = b"mask/") -> Any:
        reader = self.context.socket(zmq.SUB)
        reader.setsockopt(zmq.RCVHWM, 10_000)
        reader.setsockopt(zmq.SUBSCRIBE, kind)
        reader.connect(self.endpoint)
        return reader

    def status(self) -> dict[str, Any]:
        with self.subscribe(b"status/") as reader:
            assert reader.poll(5000), "no status came"
            return parse_json(reader.recv())[2]

    def wait_for_state(self, state: str, timeout_s: float = 20.0) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        with self.subscribe(b"status/") as reader:
            while True:
                assert time.monotonic() < deadline, f"never {state}: {self.words()}"
                if reader.poll(200):
                    body = parse_json(reader.recv())[2]
                    if body["state"] == state:
                        return body

    def mask(self, reader: Any) -> tuple[Any, bytes]:
        assert reader.poll(10_000), f"no mask came: {self.words()}"
        message = reader.recv()
        header = parse_header(message)
        return header, message[header.payload_offset :]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> tuple[int, float]:
        """(exit code, seconds it took) of a SIGTERM."""
        start = time.monotonic()
        self.signal(signal.SIGTERM)
        return self.process.wait(10), time.monotonic() - start

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as goodbye:
            goodbye.sendto(b"", str(self.folder / "notify"))
        self.context.destroy(linger=0)


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningDaemon]]:
    running: list[RunningDaemon] = []

    def make(*settings: str, config: str | None = None, watchdog_s: float = 0.0) -> RunningDaemon:
        folder = tmp_path_factory.mktemp("d")
        if config is not None:
            (folder / "gnetsegd.toml").write_text(config)
        defaults = [
            "camera.driver=pattern",
            "accelerator.driver=standin",
            "accelerator.standin.threads=1",
            f"model.bundle={MODELS / 'threshold-32'}",
            "publish.status_interval_s=0.1",
        ]
        running.append(RunningDaemon(folder, [*([] if config else defaults), *settings], watchdog_s))
        return running[-1]

    yield make
    for daemon in running:
        daemon.close()

"""What the checks in the guest have in common: the unit, what it publishes, and the right masks."""

from __future__ import annotations

import functools
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from gnetsegd.accelerators.tflite import TfliteNetwork
from gnetsegd.message import MaskHeader, parse_header, parse_json, unpack_mask
from gnetsegd.model import ModelBundle, load_bundle

LOGS = Path("/host/logs")
CONFIG = Path("/etc/gnetsegd/gnetsegd.toml")
SOCKET = "ipc:///run/gnetsegd/masks.sock"
CHECKOUT = Path("/host/src")
#: The network that is shipped, and one that costs next to nothing: its masks depend on the picture, too.
MODEL = "gnetseg-large-cpu30"
QUICK = "tests/data/models/threshold-224"

#: The guest's CPU is emulated, and the machine that does it has others to serve.
PATIENCE_S = 180.0

CONFIGURATION = """
[camera]
driver = "{camera}"
fps = {fps}
[model]
bundle = "{model}"
[accelerator]
driver = "{accelerator}"
backoff_max_s = 0.5
[accelerator.usb]
answer_timeout_s = {answer_timeout_s}
[publish]
endpoints = ["{socket}"]
frames = true
"""


def call(command: str, check: bool = True) -> str:
    """Run it; what it printed."""
    result = subprocess.run(shlex.split(command), capture_output=True, text=True)
    assert not check or result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout + result.stderr


def eventually(what: str, ask: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """The first true answer of ``ask``."""
    deadline = time.monotonic() + timeout_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.1)
    return answer


def now() -> str:
    """For ``Service.said_since``."""
    return "@" + call("date +%s.%N").strip()


def bundle_of(model: str) -> str:
    """As the configuration has it."""
    return str(CHECKOUT / model) if "/" in model else model


@functools.cache
def network(model: str) -> tuple[ModelBundle, TfliteNetwork]:
    """The stand-in's network, in this process."""
    bundle = load_bundle(bundle_of(model))
    return bundle, TfliteNetwork(bundle, threads=2)


def right_labels(picture: NDArray[np.uint8], model: str) -> NDArray[np.uint8]:
    """The mask that the stand-in gives for ``picture``."""
    bundle, stand_in = network(model)
    labels = np.zeros((bundle.mask.height, bundle.mask.width), np.uint8)
    stand_in.run(picture, labels)
    return labels


class Listener:
    """Subscribes to everything that the daemon says, or to the kind of message that is named."""

    def __init__(self, kind: str = "") -> None:
        self._socket = zmq.Context.instance().socket(zmq.SUB)
        self._socket.subscribe(kind.encode())
        self._socket.connect(SOCKET)
        self._masks: dict[tuple[int, int], tuple[MaskHeader, NDArray[np.uint8]]] = {}
        self.info: dict[str, Any] = {}
        self.status: dict[str, Any] = {}

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close(linger=0)

    def drain(self) -> None:
        """Forget what has come so far."""
        while self._socket.poll(0):
            self._socket.recv()
        self._masks.clear()
        self.info, self.status = {}, {}

    def _next(self, deadline: float, what: str) -> Any:
        """A mask's header, or (header, labels, picture) when its picture has come as well."""
        left_ms = max(0, int((deadline - time.monotonic()) * 1000))
        assert self._socket.poll(left_ms), f"no {what} came; status: {self.status}"
        message = self._socket.recv()
        if message[:5] in (b"info/", b"statu"):
            kind, _, body = parse_json(message)
            setattr(self, kind, body)
            return None
        header = parse_header(message)
        payload = message[header.payload_offset :]
        key = (header.session, header.sequence)
        if header.kind == "mask":
            self._masks[key] = header, unpack_mask(payload, header.format)
            return header
        mask = self._masks.pop(key, None)
        self._masks.clear()
        if mask is None:
            return None
        picture = np.frombuffer(payload, np.uint8).reshape(header.format.height, header.format.width)
        return *mask, picture

    def mask(self, backend: str = "", timeout_s: float = PATIENCE_S) -> MaskHeader:
        """The next mask's header, of that backend if one is named."""
        deadline = time.monotonic() + timeout_s
        while True:
            got = self._next(deadline, f"mask of {backend or 'any backend'}")
            if isinstance(got, MaskHeader) and backend in ("", got.backend):
                return got

    def pair(self, backend: str) -> tuple[MaskHeader, NDArray[np.uint8], NDArray[np.uint8]]:
        """(header, labels, picture) of the next mask of that backend."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            got = self._next(deadline, f"mask and picture of {backend}")
            if isinstance(got, tuple) and got[0].backend == backend:
                return got

    def check_masks(self, backend: str, count: int = 5, model: str = QUICK) -> None:
        """Are the next masks, to the last bit, what the stand-in makes of their pictures?"""
        network(model)
        for _ in range(count):
            header, labels, picture = self.pair(backend)
            wrong = int((labels != right_labels(picture, model)).sum())
            assert wrong == 0, f"mask {header.sequence}: {wrong} of {labels.size} labels are wrong"

    def wait_for(
        self, what: str, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """The first status for which ``wanted`` is true."""
        deadline = time.monotonic() + timeout_s
        self.status = {}
        while not self.status or not wanted(self.status):
            self._next(deadline, what)
        return self.status


class Service:
    """A unit of the project, installed as it is shipped. ``more`` is a drop-in for its [Service]."""

    def __init__(self, name: str, more: str = "") -> None:
        self.name = name
        drop_in = Path(f"/run/systemd/system/{name}.d/more.conf")
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        text = f"[Service]\n{more}"
        if not drop_in.exists() or drop_in.read_text() != text:
            drop_in.write_text(text)
            call("systemctl daemon-reload")  # takes seconds here

    def start(self) -> None:
        """``Type=notify``: this returns when it is READY."""
        call(f"systemctl reset-failed {self.name}", check=False)
        call(f"systemctl start {self.name}")

    def stop(self) -> None:
        call(f"systemctl stop {self.name}")

    def reload(self) -> None:
        call(f"systemctl reload {self.name}")

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to its main process."""
        os.kill(self.pid, number)

    def show(self, name: str) -> str:
        """A property, as ``systemctl show`` has it."""
        return call(f"systemctl show {self.name} -P {name}").strip()

    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    @property
    def active(self) -> bool:
        return self.show("ActiveState") == "active"

    def journal(self) -> str:
        """What this run has logged."""
        return call(f"journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID={self.show('InvocationID')}")

    def journal_of(self, pid: int) -> str:
        """What the process ``pid`` has logged."""
        return call(f"journalctl --no-pager -o cat -u {self.name} _PID={pid}")

    def wait_for_another(self, pid: int) -> int:
        """Until another process than ``pid`` is READY; its id."""
        eventually("systemd has not restarted it", lambda: self.pid not in (0, pid) and self.active)
        return self.pid

    def said_since(self, since: str) -> str:
        """What it has logged, and systemd of it, since ``now()``."""
        return call(f"journalctl --no-pager -o cat -u {self.name} --since={since}")


class Unit(Service):
    """gnetsegd.service. With ``patient`` it has more time than the unit allows, but for stopping:

    the emulated processor may have to share its own with others.
    """

    #: The configuration that was last brought into force by ``apply``.
    applied = ""

    def __init__(self, patient: bool = False) -> None:
        super().__init__("gnetsegd.service", "TimeoutStartSec=300\nWatchdogSec=120\n" if patient else "")

    def configure(
        self,
        accelerator: str = "standin",
        fps: float = 4,
        answer_timeout_s: float = 15,
        model: str = QUICK,
        camera: str = "pattern",
        more: str = "",
    ) -> None:
        """Write its configuration: the pattern camera, small waits, pictures published."""
        text = CONFIGURATION.format(
            accelerator=accelerator, fps=fps, answer_timeout_s=answer_timeout_s, socket=SOCKET,
            model=bundle_of(model), camera=camera,
        )  # fmt: skip
        CONFIG.write_text(text + more)

    def write(self, text: str) -> None:
        """Write another configuration."""
        CONFIG.write_text(text)

    def apply(self) -> None:
        """Start it with its configuration, or have the process that runs take that over."""
        text = CONFIG.read_text()
        if not self.active:
            self.start()
        elif text != Unit.applied:
            said = self.reload_and_wait()
            assert said == "reload: done", said
        Unit.applied = text

    def reload_and_wait(self) -> str:
        """Reload it; what the daemon says of that at its end: ``reload: done`` if all is well."""
        before = len(self._reloads())
        self.reload()
        eventually("nothing is said of the reload", lambda: len(self._reloads()) > before)
        eventually("systemd takes it for reloading still", lambda: self.active)
        return self._reloads()[-1]

    def _reloads(self) -> list[str]:
        return [line for line in self.journal().splitlines() if line.startswith("reload: ")]

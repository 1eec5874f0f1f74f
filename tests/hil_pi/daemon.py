"""gnetsegd's unit in the emulated Pi: how a check configures it, and the masks that it publishes."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from cable import MODEL
from numpy.typing import NDArray

from gnetsegd.message import MaskHeader, parse_header, unpack_mask

if TYPE_CHECKING:
    from machine import Machine

UNIT = "gnetsegd.service"

#: The machine is emulated, and the one that does it has others to serve.
PATIENCE_S = 300.0

#: It gets more time to start than the unit allows, and a longer watchdog; nothing else is changed.
PATIENT = f"""\
[Service]
TimeoutStartSec={PATIENCE_S:g}
WatchdogSec=120
"""

#: QEMU's dwc2 (7.2) ends the whole machine (``!usb_packet_is_inflight(p)`` fails in usb_packet_setup) when a
#: transfer in flight is cancelled, or its device unplugged. So a check that pulls, resets or reconfigures
#: waits until the network rests, as nobody is subscribed. Pictures come seldom for whoever listens meanwhile.
FRAMES_PER_S = 0.25

CONFIGURATION = """\
[camera]
driver = "pattern"
fps = {fps}
stall_timeout_s = 30
[model]
bundle = "{model}"
[accelerator]
driver = "{driver}"
backoff_max_s = 0.5
[accelerator.usb]
answer_timeout_s = 15
mask_bits = {mask_bits}
[publish]
endpoints = ["ipc:///run/gnetsegd/masks.sock"]
frames = true
"""


def eventually(what: str, ask: Callable[[], bool]) -> None:
    """Until ``ask`` gives True."""
    deadline = time.monotonic() + PATIENCE_S
    while not ask():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.1)


class Received(NamedTuple):
    """A mask as a subscriber in the Pi received it, with its own picture.

    ``labels`` is uint8 of (height, width), unpacked; ``picture`` the frame's bytes, uint8 of
    (height, width).
    """

    header: MaskHeader
    labels: NDArray[np.uint8]
    picture: NDArray[np.uint8]


class Daemon:
    """The unit; ``configure`` starts it if it is not running."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._text = ""
        machine.ask("write", path=f"/run/systemd/system/{UNIT}.d/patient.conf", text=PATIENT)
        machine.call("systemctl", "daemon-reload")

    def configure(self, driver: str = "usb", mask_bits: int = 8) -> None:
        """Write its configuration and have it taken over: by a start, or by a reload."""
        text = CONFIGURATION.format(fps=FRAMES_PER_S, model=MODEL, driver=driver, mask_bits=mask_bits)
        if not self.active:
            self._machine.ask("write", path="/etc/gnetsegd/gnetsegd.toml", text=text)
            self._machine.call("systemctl", "start", UNIT, timeout_s=2 * PATIENCE_S)
        elif text != self._text:
            self.wait_for_quiet()
            self._machine.ask("write", path="/etc/gnetsegd/gnetsegd.toml", text=text)
            before = len(self._reloads())
            self._machine.call("systemctl", "reload", UNIT)
            eventually("something is said of the reload", lambda: len(self._reloads()) > before)
            assert self._reloads()[-1] == "reload: done"
        self._text = text

    def _reloads(self) -> list[str]:
        return [line for line in self.journal().splitlines() if line.startswith("reload: ")]

    def show(self, name: str) -> str:
        """A property of the unit, as ``systemctl show`` has it."""
        return self._machine.call("systemctl", "show", UNIT, "-P", name).strip()

    @property
    def active(self) -> bool:
        return self.show("ActiveState") == "active"

    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    def journal(self) -> str:
        """What it has logged since the machine's start."""
        return self._machine.call("journalctl", "-b", "--no-pager", "-o", "cat", "-u", UNIT)

    def status(self) -> dict[str, Any]:
        """The next status that it publishes."""
        answer: dict[str, Any] = self._machine.ask("status", timeout_s=PATIENCE_S)
        return answer

    def wait_for_quiet(self) -> None:
        """Until a mask has come, and then, as nobody is subscribed any more, the network rests."""
        self._machine.ask("mask", timeout_s=PATIENCE_S)
        eventually("the network rests", lambda: self.status()["state"] == "idle")

    def masks(self, count: int, backend: str = "usb", bits: int = 8) -> list[Received]:
        """``count`` masks of that backend and encoding that it publishes from now on."""
        found = self._machine.ask("pairs", backend=backend, bits=bits, count=count, timeout_s=PATIENCE_S)
        return [_received(_unpacked(pair["mask"]), _unpacked(pair["frame"])) for pair in found]


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def _received(mask: bytes, frame: bytes) -> Received:
    header, of_frame = parse_header(mask), parse_header(frame)
    labels = unpack_mask(memoryview(mask)[header.payload_offset :], header.format)
    picture = np.frombuffer(frame, np.uint8, of_frame.payload_size, of_frame.payload_offset)
    return Received(header, labels, picture.reshape(of_frame.format.height, of_frame.format.width))

"""OUT and IN meet at the worst moment: nobody mends the link under a transfer that still runs."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from gnetseg_device.device import MockDevice
from gnetseg_device.pyusb_backend import PyusbBackend

from gnetsegd.accelerators import usb_port
from gnetsegd.frame import Frame, Loss
from gnetsegd.link.header import ROOM

from ..road.fakes import wait_until
from .model import MODEL, driver


class Gated(PyusbBackend):
    """OUT transfers wait at a gate; ``events`` says what happened in which order."""

    def __init__(self, device: MockDevice) -> None:
        super().__init__(device.host)
        self.gate = threading.Event()
        self.gate.set()
        self.events: list[str] = []

    def bulk_write(self, *arguments: Any) -> int:
        self.events.append("out begins")
        assert self.gate.wait(10)
        count = super().bulk_write(*arguments)
        self.events.append("out ends")
        return count

    def ctrl_transfer(self, *arguments: Any) -> int:
        self.events.append("request")
        return super().ctrl_transfer(*arguments)


def frame() -> Frame:
    return Frame(MODEL.input, MODEL.mask.size_bytes, ROOM)


def test_in_mends_the_link_only_after_out_has_come_back_from_its_transfer() -> None:
    device = MockDevice(model=MODEL)
    backend = Gated(device)
    accelerator = driver(device, backend, answer_timeout_s=0.5)
    accelerator.open()
    first, second = frame(), frame()
    assert accelerator.wait_for_credit(1.0)
    accelerator.submit(first)
    backend.events.clear()
    backend.gate.clear()
    assert accelerator.wait_for_credit(1.0)
    out = threading.Thread(target=accelerator.submit, args=(second,))
    out.start()
    wait_until(lambda: backend.events == ["out begins"])
    device.inject("garbage-header")
    back: list[Any] = []
    into = threading.Thread(target=lambda: back.extend([accelerator.collect(5), accelerator.collect(5)]))
    into.start()
    wait_until(lambda: accelerator._mending)
    # Time for a request that must not come.
    time.sleep(0.05)
    assert backend.events == ["out begins"]
    assert not accelerator.wait_for_credit(0)
    backend.gate.set()
    for thread in (out, into):
        thread.join(10)
        assert not thread.is_alive()
    assert backend.events.index("out ends") < backend.events.index("request")
    assert [loss.frame for loss in back] == [first, second]
    assert all(isinstance(loss, Loss) for loss in back)
    assert accelerator.wait_for_credit(1.0)
    accelerator.close()


def test_a_closed_accelerator_keeps_nobody_waiting_for_room() -> None:
    accelerator = driver(MockDevice(model=MODEL))
    accelerator.open()
    while accelerator.wait_for_credit(0):
        accelerator.submit(frame())
    said: list[bool] = []
    waiting = threading.Thread(target=lambda: said.append(accelerator.wait_for_credit(30)))
    waiting.start()
    assert len(accelerator.close()) == 3
    waiting.join(10)
    assert said == [False]


@pytest.mark.parametrize(("text", "said"), [("0x50005", True), ("10000", True), ("0", False), ("x", False)])
def test_under_voltage_of_a_raspberry_pi_is_named_with_a_lost_device(
    text: str, said: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    throttled = tmp_path / "get_throttled"
    throttled.write_text(text + "\n")
    monkeypatch.setattr(usb_port, "THROTTLED", throttled)
    words = str(usb_port.classify(OSError(19, "No such device")))
    assert ("use a stronger power supply or a powered hub" in words) is said
    throttled.unlink()
    assert "under-voltage" not in str(usb_port.classify(OSError(19, "No such device")))


def test_lack_of_usb_memory_is_told_with_the_present_limit(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "usbfs_memory_mb"
    limit.write_text("16\n")
    monkeypatch.setattr(usb_port, "USBFS_MEMORY", limit)
    assert "raise usbcore.usbfs_memory_mb (now 16)" in str(usb_port.classify(OSError(12, "no memory")))
    limit.unlink()
    assert "(now unknown)" in str(usb_port.classify(OSError(12, "no memory")))

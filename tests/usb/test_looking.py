"""Looking for devices: none is opened for it, it costs nothing, and absent is told from unusable."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import usb.core
from gnetseg_device.device import MockDevice
from gnetseg_device.pyusb_backend import Host, PyusbBackend

from gnetsegd.accelerators import usb_port
from gnetsegd.accelerators.usb import UsbAccelerator, UsbOptions, usb_finder
from gnetsegd.accelerators.usb_port import SETTLE_S
from gnetsegd.errors import AbsentError, GnetsegError, TransientError

from .model import MODEL, driver


def places(*devices: MockDevice) -> frozenset[tuple[int, int]]:
    return frozenset((device.port.place.bus, device.port.place.address) for device in devices)


def test_the_devices_that_are_plugged_in_are_told_without_opening_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def opened(*_: Any) -> None:
        raise AssertionError("a device was opened")

    monkeypatch.setattr(PyusbBackend, "open_device", opened)
    host = Host()
    one = MockDevice(model=MODEL, serial="one", host=host)
    two = MockDevice(model=MODEL, serial="two", host=host)
    accelerator = driver(one)
    first = accelerator.attachments()
    assert first == places(one, two)
    two.unplug()
    assert accelerator.attachments() == places(one)
    two.plug(elsewhere=True)
    assert accelerator.attachments() == places(one, two) != first
    one.unplug()
    two.unplug()
    assert accelerator.attachments() == frozenset()


class Bus:
    """A folder like /dev/bus/usb, and libusb's view of it; counts how often libusb is asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked = 0
        self.devices: set[tuple[int, int]] = set()
        self._old_ns = time.time_ns() - int(10 * SETTLE_S * 1e9)
        for bus in (1, 2):
            (root / f"{bus:03}").mkdir()
        self.age()

    def find(self, *_: Any) -> Iterator[Any]:
        self.asked += 1
        return iter([SimpleNamespace(bus=bus, address=address) for bus, address in self.devices])

    def plug(self, bus: int, address: int) -> None:
        (self.root / f"{bus:03}" / f"{address:03}").touch()
        self.devices.add((bus, address))

    def age(self) -> None:
        """As if every change had been long ago, each at a time of its own."""
        for folder in [*self.root.iterdir(), self.root]:
            self._old_ns += 1_000_000
            os.utime(folder, ns=(self._old_ns, self._old_ns))


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bus:
    bus = Bus(tmp_path)
    monkeypatch.setattr(usb_port, "DEVICES", tmp_path)
    monkeypatch.setattr(usb_port, "find", bus.find)
    return bus


def test_while_nothing_is_plugged_in_or_out_libusb_is_not_asked(bus: Bus) -> None:
    accelerator = UsbAccelerator(MODEL, UsbOptions())
    for _ in range(100):
        assert accelerator.attachments() == frozenset()
    assert bus.asked == 1
    bus.plug(2, 7)
    bus.age()
    for _ in range(100):
        assert accelerator.attachments() == {(2, 7)}
    assert bus.asked == 2


def test_after_a_change_libusb_is_asked_until_it_has_surely_heard_of_it(bus: Bus) -> None:
    accelerator = UsbAccelerator(MODEL, UsbOptions())
    assert accelerator.attachments() == frozenset()
    bus.plug(1, 3)
    bus.devices.clear()  # udev is busy: libusb hears of it later
    assert accelerator.attachments() == frozenset()
    bus.devices.add((1, 3))
    assert accelerator.attachments() == {(1, 3)}
    bus.age()
    accelerator.attachments()
    asked = bus.asked
    accelerator.attachments()
    assert bus.asked == asked


def test_a_bus_that_comes_or_goes_is_a_change(bus: Bus) -> None:
    accelerator = UsbAccelerator(MODEL, UsbOptions())
    accelerator.attachments()
    (bus.root / "003").mkdir()
    bus.plug(3, 2)
    bus.age()
    assert accelerator.attachments() == {(3, 2)}


def test_a_system_without_that_folder_is_asked_each_time(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usb_port, "DEVICES", bus.root / "not there")
    accelerator = UsbAccelerator(MODEL, UsbOptions())
    for _ in range(3):
        accelerator.attachments()
    assert bus.asked == 3


@pytest.mark.parametrize("error", [usb.core.NoBackendError("none"), usb.core.USBError("I/O", -1, 5)])
def test_where_nobody_can_tell_it_is_as_if_there_were_one_and_opening_says_why(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(**_: Any) -> None:
        raise error

    monkeypatch.setattr(usb.core, "find", failing)
    accelerator = driver(MockDevice(model=MODEL))
    assert accelerator.attachments() == {(0, 0)}
    with pytest.raises(GnetsegError, match=r"finds no libusb|a transfer failed"):
        accelerator.open()


# -- absent, or there and unusable


def test_no_device_at_all_is_absent() -> None:
    device = MockDevice(model=MODEL)
    device.unplug()
    with pytest.raises(AbsentError, match="no USB accelerator 1209:0001 is plugged in"):
        driver(device).open()


def test_a_device_that_is_configured_by_its_serial_number_is_never_absent() -> None:
    device = MockDevice(model=MODEL)
    wanted = driver(device, serial="another")
    with pytest.raises(TransientError, match="with the serial number another is plugged in") as caught:
        wanted.open()
    assert not isinstance(caught.value, AbsentError)
    device.unplug()
    with pytest.raises(TransientError, match="no USB accelerator 1209:0001 is plugged in") as caught:
        wanted.open()
    assert not isinstance(caught.value, AbsentError)


@pytest.mark.parametrize("name", ["permission", "busy", "not-ours", "other-major", "no-credit", "mute"])
def test_a_device_that_is_there_and_cannot_be_used_is_not_absent(name: str) -> None:
    device = MockDevice(model=MODEL)
    device.inject(name)
    with pytest.raises(TransientError) as caught:
        driver(device, answer_timeout_s=0.02).open()
    assert not isinstance(caught.value, AbsentError)


def test_an_enumeration_that_fails_half_way_leaves_no_device_open(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    one = MockDevice(model=MODEL, serial="one", host=host)
    MockDevice(model=MODEL, serial="two", host=host)
    opened: list[Any] = []
    enumerate_devices, open_device = PyusbBackend.enumerate_devices, PyusbBackend.open_device

    def half_way(self: PyusbBackend) -> Iterator[Any]:
        yield next(enumerate_devices(self))
        raise usb.core.USBError("Input/Output Error", -1, 5)

    def noted(self: PyusbBackend, device: Any) -> Any:
        opened.append(open_device(self, device))
        return opened[-1]

    monkeypatch.setattr(PyusbBackend, "enumerate_devices", half_way)
    monkeypatch.setattr(PyusbBackend, "open_device", noted)
    with pytest.raises(TransientError, match="a transfer failed"):
        driver(one).open()
    assert len(opened) == 1
    assert all(handle.closed for handle in opened)


def test_an_opening_can_be_interrupted_from_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    device = MockDevice()
    accelerator = driver(device)
    writing, go_on = threading.Event(), threading.Event()
    write = device.store.write

    def held(offset: int, data: memoryview) -> int:
        writing.set()
        assert go_on.wait(10)
        return write(offset, data)

    monkeypatch.setattr(device.store, "write", held)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            accelerator.open()
        except TransientError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert writing.wait(10)
    accelerator.interrupt()
    go_on.set()
    thread.join(10)
    assert not thread.is_alive()
    assert "it is being closed while it is opened" in str(raised[0])
    assert not device.host.claims
    with pytest.raises(TransientError):
        accelerator.open()  # it holds until close
    accelerator.close()
    accelerator.open()
    accelerator.close()


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``sysfs(NAME, vendor, product)`` lists a device; libusb may not be asked."""
    root = tmp_path / "sysfs"
    root.mkdir()
    monkeypatch.setattr(usb_port, "SYSFS", root)
    monkeypatch.setattr(usb_port, "DEVICES", tmp_path / "no devices")
    monkeypatch.setattr(usb_port, "find", lambda *_: pytest.fail("libusb was asked"))

    def listed(name: str, **files: str) -> None:
        (root / name).mkdir()
        for file, content in files.items():
            (root / name / file).write_text(f"{content}\n")

    return listed


def test_before_there_is_an_accelerator_the_kernels_own_list_is_enough(sysfs: Any) -> None:
    is_there = usb_finder(UsbOptions(id="1209:0001"))
    assert not is_there()
    sysfs("usb1", idVendor="1d6b", idProduct="0002", busnum="1", devnum="1")
    sysfs("1-0:1.0")  # an interface has no such numbers
    sysfs("1-2", idVendor="1209", idProduct="0002", busnum="1", devnum="4")
    sysfs("1-3", idVendor="broken", idProduct="", busnum="1", devnum="5")
    assert not is_there()
    sysfs("1-1", idVendor="1209", idProduct="0001", busnum="1", devnum="6")
    assert is_there()
    assert not usb_finder(UsbOptions(id="dead:beef"))()


def test_where_nothing_can_tell_no_accelerator_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def failing(*_: Any) -> Any:
        raise usb_port.PermanentError("no libusb here")

    monkeypatch.setattr(usb_port, "SYSFS", tmp_path / "none")
    monkeypatch.setattr(usb_port, "find", failing)
    assert usb_finder(UsbOptions())() is False


@pytest.mark.usefixtures("sysfs")
def test_one_that_is_named_by_its_serial_number_is_looked_for_as_if_it_were_there() -> None:
    assert usb_finder(UsbOptions(serial="7"))()
    assert not usb_finder(UsbOptions())()


def test_it_was_there_once_it_has_been_opened_and_not_before() -> None:
    device = MockDevice(model=MODEL)
    device.unplug()
    accelerator = driver(device)
    with pytest.raises(AbsentError):
        accelerator.open()
    assert not accelerator.was_there
    device.plug()
    accelerator.open()
    device.unplug()
    accelerator.close()
    assert accelerator.was_there

"""A device of four methods behind a USB port: what it says, and what it does not, ends as on a real one."""

from __future__ import annotations

import errno
import threading
from array import array

import pytest
import usb.core
import usb.util
from gnetseg_device.plain_port import backend_of

from gnetsegd.link.constants import REQUEST_IN, REQUEST_OUT, USB_ID


class Echo:
    """Answers with what it was sent; request 1 tells its name, request 5 forgets everything."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.resets = 0

    def control_in(self, request: int, length: int) -> bytes | None:
        return b"echo"[:length] if request == 1 else None

    def control_out(self, request: int, data: bytes) -> bool:
        if request == 5:
            self.resets += 1
            self.waiting.clear()
        return request == 5 and not data

    def bulk_out(self, data: bytes) -> None:
        self.waiting.append(data)

    def bulk_in(self) -> bytes | None:
        return self.waiting.pop(0) if self.waiting else None


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def host(echo: Echo) -> usb.core.Device:
    found = usb.core.find(backend=backend_of(echo, "echo-1"), idVendor=USB_ID[0], idProduct=USB_ID[1])
    usb.util.claim_interface(found, 0)
    return found


def test_it_is_found_by_its_descriptors(host: usb.core.Device) -> None:
    assert host.serial_number == "echo-1"
    (interface,) = host.get_active_configuration()
    assert [endpoint.wMaxPacketSize for endpoint in interface] == [512, 512]


def test_requests_reach_it_and_none_or_false_is_a_stall(host: usb.core.Device, echo: Echo) -> None:
    assert bytes(host.ctrl_transfer(REQUEST_IN, 1, 0, 0, 512)) == b"echo"
    assert bytes(host.ctrl_transfer(REQUEST_IN, 1, 0, 0, 2)) == b"ec"
    assert host.ctrl_transfer(REQUEST_OUT, 5, 0, 0, b"") == 0
    assert echo.resets == 1
    for kind, request, data in ((REQUEST_IN, 2, 512), (REQUEST_OUT, 4, b"1234"), (REQUEST_OUT, 5, b"1")):
        with pytest.raises(usb.core.USBError) as caught:
            host.ctrl_transfer(kind, request, 0, 0, data)
        assert caught.value.errno == errno.EPIPE


def test_each_transfer_and_each_answer_stays_whole(host: usb.core.Device) -> None:
    assert host.write(1, array("B", b"one")) == 3
    assert host.write(1, array("B", bytes(600))) == 600
    assert bytes(host.read(0x81, 1024)) == b"one"
    assert bytes(host.read(0x81, 1024)) == bytes(600)


def test_no_answer_is_a_time_limit_and_one_that_is_too_long_an_overflow(host: usb.core.Device) -> None:
    with pytest.raises(usb.core.USBTimeoutError):
        host.read(0x81, 512, 10)
    host.write(1, array("B", bytes(600)))
    with pytest.raises(usb.core.USBError) as caught:
        host.read(0x81, 512, 10)
    assert caught.value.errno == errno.EOVERFLOW


def test_an_answer_is_had_by_a_transfer_that_waits_for_it(host: usb.core.Device) -> None:
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(bytes(host.read(0x81, 512, 20_000))))
    reader.start()
    host.write(1, array("B", b"late"))
    reader.join(20)
    assert got == [b"late"]


def test_halts_can_be_cleared_and_the_port_be_reset(host: usb.core.Device, echo: Echo) -> None:
    host.write(1, array("B", b"lost"))
    host.clear_halt(1)
    host.reset()
    assert echo.resets == 1
    with pytest.raises(usb.core.USBTimeoutError):
        host.read(0x81, 512, 10)

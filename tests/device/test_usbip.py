"""The USB/IP server is the same device to a kernel: checked with the kernel's side played here."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

import pytest
from gnetseg_device import descriptors
from gnetseg_device.device import MockDevice
from gnetseg_device.usbip_server import UsbipServer

from gnetsegd.link.constants import Request
from gnetsegd.link.requests import Hello, pack_epoch, parse_capabilities

from .fake_vhci import FakeVhci
from .host import EPOCH, bundle, expected, frame_message, picture, split

MODEL = bundle(width=224, height=224)
PIXELS = picture(MODEL)


class Setup:
    def __init__(self, **options: float) -> None:
        self.mock = MockDevice(model=MODEL, **options)  # type: ignore[arg-type]
        self.mock.port.start_worker()
        self.server = UsbipServer([self.mock.port], ("127.0.0.1", 0))
        self.server.start()
        self.kernels: list[FakeVhci] = []

    def kernel(self) -> FakeVhci:
        self.kernels.append(FakeVhci(self.server.address))
        return self.kernels[-1]

    def attached(self) -> FakeVhci:
        kernel = self.kernel()
        assert kernel.attach()
        assert kernel.control_out(9, b"", kind=0, value=1) == 0
        assert kernel.control_out(Request.HELLO, Hello(EPOCH).pack()) == 0
        return kernel

    def close(self) -> None:
        for kernel in self.kernels:
            kernel.close()
        self.server.close()
        self.mock.close()


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    yield made
    made.close()


def test_the_kernel_sees_the_descriptors_that_every_transport_gives(setup: Setup) -> None:
    assert setup.kernel().devlist() == ["1-1"]
    kernel = setup.kernel()
    assert kernel.attach("9-9") is False
    kernel = setup.kernel()
    assert kernel.attach("1-1")
    identity = setup.mock.port.identity
    assert kernel.control_in(6, 64, 0x80, 0x0100) == (0, descriptors.device_descriptor(identity))
    assert kernel.control_in(6, 255, 0x80, 0x0200) == (0, descriptors.configuration_descriptor())
    assert kernel.control_in(6, 9, 0x80, 0x0200)[1] == descriptors.configuration_descriptor()[:9]
    assert kernel.control_in(6, 255, 0x80, 0x0303)[1][2:].decode("utf-16-le") == "mock-0001"
    assert kernel.control_in(6, 255, 0x80, 0x0600)[0] == -errno.EPIPE


def test_a_frame_goes_out_and_its_mask_comes_in_in_pieces_of_16_kib(setup: Setup) -> None:
    kernel = setup.attached()
    assert parse_capabilities(kernel.control_in(Request.CAPABILITIES, 512)[1]).slots == 3
    for sequence in (1, 2):
        assert kernel.write(frame_message(MODEL, PIXELS, sequence)) == 0
        status, data = kernel.read(50688)
        header, payload = split(data)
        assert (status, header.sequence) == (0, sequence)
        assert payload == expected(MODEL, PIXELS).tobytes()


def test_an_urb_that_waits_can_be_unlinked_and_the_next_one_gets_the_mask(setup: Setup) -> None:
    kernel = setup.attached()
    waiting = kernel.submit(1, None, 512)
    unlink = kernel.unlink(waiting)
    assert kernel.answer(True) == (4, unlink, -errno.ECONNRESET, b"")
    unlink = kernel.unlink(waiting)
    assert kernel.answer(True) == (4, unlink, 0, b"")
    assert kernel.write(frame_message(MODEL, PIXELS, 1)) == 0
    assert split(kernel.read(50688)[1])[0].sequence == 1


def test_a_stall_is_a_broken_pipe_until_the_kernel_clears_it(setup: Setup) -> None:
    kernel = setup.attached()
    assert kernel.control_out(Request.ABORT, pack_epoch(0)) == -errno.EPIPE
    setup.mock.inject("stall-out")
    assert kernel.write(frame_message(MODEL, PIXELS, 1)[:1024]) == -errno.EPIPE
    assert kernel.control_out(Request.ABORT, pack_epoch(5)) == 0
    assert kernel.write(b"x") == -errno.EPIPE
    assert kernel.control_out(1, kind=0x02, index=descriptors.ENDPOINT_OUT) == 0
    assert kernel.write(frame_message(MODEL, PIXELS, 1, epoch=5)) == 0
    assert split(kernel.read(50688)[1])[0].epoch == 5


def test_an_unplug_closes_the_connection_and_after_a_replug_it_can_be_attached_again(setup: Setup) -> None:
    kernel = setup.attached()
    kernel.submit(1, None, 512)
    setup.mock.unplug()
    kernel.wait_for_the_end()
    assert setup.kernel().devlist() == []
    setup.mock.plug(elsewhere=True)
    assert setup.kernel().devlist() == ["2-2"]
    again = setup.kernel()
    while not again.attach("2-2"):  # the old connection's thread may not have ended yet
        again = setup.kernel()
    assert again.control_in(Request.CAPABILITIES, 512)[0] == 0


def test_a_device_can_be_attached_once_at_a_time_and_a_killed_kernel_frees_it(setup: Setup) -> None:
    first = setup.attached()
    assert setup.kernel().attach() is False
    first.write(frame_message(MODEL, PIXELS, 1)[:1000])
    first.close()
    second = setup.kernel()
    while not second.attach():
        second = setup.kernel()
    assert second.control_out(Request.HELLO, Hello(9).pack()) == 0
    assert second.write(frame_message(MODEL, PIXELS, 1, epoch=9)) == 0
    assert split(second.read(50688)[1])[0].epoch == 9


@pytest.mark.parametrize(
    "bytes_",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"\xff" * 4096,
        struct.pack(">HHI", 0x0111, 0x8003, 0) + b"1-1".ljust(32, b"\0") + b"\xff" * 48,
        # An URB that claims 2 GB.
        struct.pack(">HHI", 0x0111, 0x8003, 0)
        + b"1-1".ljust(32, b"\0")
        + struct.pack(">IIIIIIi20x", 1, 1, 0, 0, 1, 0, 0x7FFFFFFF),
    ],
    ids=["http", "ones", "unknown command", "2 GB URB"],
)
def test_a_hostile_peer_loses_its_connection_and_nothing_else(setup: Setup, bytes_: bytes) -> None:
    hostile = setup.kernel()
    hostile.socket.sendall(bytes_)
    hostile.wait_for_the_end()
    kernel = setup.kernel()
    while not kernel.attach():
        kernel = setup.kernel()


def test_a_request_that_a_mute_endpoint_0_does_not_answer_is_unlinked_and_the_server_lives(
    setup: Setup,
) -> None:
    kernel = setup.attached()
    setup.mock.inject("mute-control", value=0)
    waiting = kernel.submit(0, None, 512, struct.pack("<BBHHH", 0xC1, Request.CAPABILITIES, 0, 0, 512))
    hanging = kernel.submit(1, None, 512)
    unlink = kernel.unlink(waiting)
    assert kernel.answer(True) == (4, unlink, -errno.ECONNRESET, b"")  # nothing came before it
    unlink = kernel.unlink(hanging)
    assert kernel.answer(True) == (4, unlink, -errno.ECONNRESET, b"")
    setup.mock.clear()
    assert kernel.control_in(Request.CAPABILITIES, 512)[0] == 0

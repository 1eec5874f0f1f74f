"""The usbredir peer is the same device to QEMU's guest: checked with QEMU's side played here."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gnetseg_device import descriptors
from gnetseg_device.device import MockDevice
from gnetseg_device.usbredir import UsbredirPeer
from gnetseg_device.usbredir_wire import CAPABILITIES, Kind, Status

from gnetsegd.link.constants import REQUEST_IN, REQUEST_OUT, Request
from gnetsegd.link.requests import Hello, pack_epoch, parse_capabilities

from .host import EPOCH, bundle, expected, frame_message, picture, split

MODEL = bundle(width=224, height=224)
PIXELS = picture(MODEL)


class FakeQemu:
    """Listens as QEMU's chardev does; ``accept`` is the plugging-in."""

    def __init__(self, path: Path, capabilities: int = CAPABILITIES) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(10)
        self._listener.bind(str(path))
        self._listener.listen()
        self._capabilities = capabilities
        self.head = struct.Struct("<IIQ" if capabilities & 1 << 5 else "<III")
        self.socket: socket.socket | None = None
        self._number = 0

    def accept(self) -> None:
        """Take the connection, and what plugs the device in."""
        self.socket, _ = self._listener.accept()
        self.socket.settimeout(10)
        assert struct.unpack("<III", self.receive(12)) == (Kind.HELLO, 68, 0)
        self.receive(68)
        self.socket.sendall(
            struct.pack("<III64sI", Kind.HELLO, 68, 0, b"qemu usb-redir guest", self._capabilities)
        )
        kinds = [self.message() for _ in range(3)]
        assert [kind for kind, _, _ in kinds] == [Kind.EP_INFO, Kind.INTERFACE_INFO, Kind.DEVICE_CONNECT]
        self.endpoints, self.interfaces, self.device = (body for _, _, body in kinds)

    def receive(self, size: int) -> bytes:
        assert self.socket
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def message(self) -> tuple[int, int, bytes]:
        kind, length, number = self.head.unpack(self.receive(self.head.size))
        return kind, number, self.receive(length)

    def send(self, kind: int, body: bytes = b"") -> int:
        assert self.socket
        self._number += 1
        self.socket.sendall(self.head.pack(kind, len(body), self._number) + body)
        return self._number

    def ask(self, kind: int, body: bytes) -> bytes:
        number = self.send(kind, body)
        _, answered, answer = self.message()
        assert answered == number
        return answer

    def control(self, kind: int, request: int, data: bytes, length: int, value: int = 0) -> tuple[int, bytes]:
        head = struct.pack("<BBBBHHH", kind & 0x80, request, kind, 0, value, 0, length)
        answer = self.ask(Kind.CONTROL_PACKET, head + data)
        return answer[3], answer[10:]

    def bulk(self, endpoint: int, length: int, data: bytes = b"") -> int:
        head = struct.pack("<BBHI", endpoint, 0, length & 0xFFFF, 0)
        if self._capabilities & 1 << 6:
            head += struct.pack("<H", length >> 16)
        return self.send(Kind.BULK_PACKET, head + data)

    def bulk_answer(self) -> tuple[int, int, int, bytes]:
        """(id, status, count, data)"""
        _, number, body = self.message()
        size, count = 8, struct.unpack_from("<H", body, 2)[0]
        if self._capabilities & 1 << 6:
            size, count = 10, count | struct.unpack_from("<H", body, 8)[0] << 16
        return number, body[1], count, body[size:]

    def frame(self, sequence: int) -> bytes:
        """Send a frame; the answer to it."""
        message = frame_message(MODEL, PIXELS, sequence)
        number = self.bulk(1, len(message), message)
        assert self.bulk_answer() == (number, Status.SUCCESS, len(message), b"")
        number = self.bulk(0x81, 50688)
        answered, status, count, data = self.bulk_answer()
        assert (answered, status, count) == (number, Status.SUCCESS, len(data))
        return data

    def wait_for_the_end(self) -> None:
        """Until the peer has closed the connection."""
        assert self.socket
        while self.socket.recv(4096):
            pass
        self.socket.close()

    def pull(self) -> None:
        assert self.socket
        self.socket.close()

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self._listener.close()


@pytest.fixture
def mock() -> Iterator[MockDevice]:
    made = MockDevice(model=MODEL)
    made.port.start_worker()
    yield made
    made.close()


@pytest.fixture(params=[CAPABILITIES, 0], ids=["today's QEMU", "no capabilities"])
def qemu(request: pytest.FixtureRequest, tmp_path: Path, mock: MockDevice) -> Iterator[FakeQemu]:
    made = FakeQemu(tmp_path / "redir", request.param)
    peer = UsbredirPeer(mock.port, str(tmp_path / "redir"))
    thread = threading.Thread(target=peer.serve, daemon=True)
    thread.start()
    made.accept()
    yield made
    peer.close()
    thread.join(10)
    assert not thread.is_alive()
    made.close()


def begin(qemu: FakeQemu) -> None:
    assert qemu.ask(Kind.SET_CONFIGURATION, b"\1") == b"\0\1"
    assert qemu.control(REQUEST_OUT, Request.HELLO, Hello(EPOCH).pack(), 16)[0] == Status.SUCCESS


def test_the_guest_sees_the_descriptors_that_every_transport_gives(qemu: FakeQemu, mock: MockDevice) -> None:
    assert qemu.device[:8] == b"\2\0\0\0" + struct.pack("<HH", 0x1209, 0x0001)
    assert [qemu.endpoints[index] for index in (0, 16, 1, 17, 2, 18)] == [0, 0, 2, 2, 255, 255]
    assert [qemu.interfaces[4 + 32 * k] for k in range(4)] == [0, 0xFF, 0x47, 0x01]
    identity = mock.port.identity
    assert qemu.control(0x80, 6, b"", 64, 0x0100) == (0, descriptors.device_descriptor(identity))
    assert qemu.control(0x80, 6, b"", 255, 0x0200) == (0, descriptors.configuration_descriptor())
    assert qemu.control(0x80, 6, b"", 255, 0x0600) == (Status.STALL, b"")
    assert qemu.ask(Kind.GET_CONFIGURATION, b"") == b"\0\1"
    assert qemu.ask(Kind.SET_ALT_SETTING, b"\0\0") == b"\0\0\0"
    assert qemu.ask(Kind.SET_ALT_SETTING, b"\0\1")[0] == Status.STALL


def test_a_frame_goes_out_and_its_mask_comes_in(qemu: FakeQemu) -> None:
    begin(qemu)
    assert parse_capabilities(qemu.control(REQUEST_IN, Request.CAPABILITIES, b"", 512)[1]).slots == 3
    for sequence in (1, 2):
        header, payload = split(qemu.frame(sequence))
        assert header.sequence == sequence
        assert payload == expected(MODEL, PIXELS).tobytes()


def test_a_transfer_that_waits_can_be_cancelled_and_the_next_one_gets_the_mask(qemu: FakeQemu) -> None:
    begin(qemu)
    number = qemu.bulk(0x81, 512)
    assert qemu.socket
    qemu.socket.sendall(qemu.head.pack(Kind.CANCEL_DATA_PACKET, 0, number))
    assert qemu.bulk_answer() == (number, Status.CANCELLED, 0, b"")
    # Once more, for one that has ended: nothing happens.
    qemu.socket.sendall(qemu.head.pack(Kind.CANCEL_DATA_PACKET, 0, number))
    assert split(qemu.frame(1))[0].sequence == 1


def test_a_refused_request_and_a_halted_endpoint_are_stalls(qemu: FakeQemu, mock: MockDevice) -> None:
    begin(qemu)
    assert qemu.control(REQUEST_OUT, Request.ABORT, pack_epoch(0), 4)[0] == Status.STALL
    mock.inject("stall-out")
    number = qemu.bulk(1, 1024, frame_message(MODEL, PIXELS, 1)[:1024])
    assert qemu.bulk_answer()[:2] == (number, Status.STALL)


def test_an_unplug_closes_the_connection_and_a_replug_makes_a_new_one(
    qemu: FakeQemu, mock: MockDevice
) -> None:
    begin(qemu)
    qemu.bulk(0x81, 512)
    mock.unplug(0.05)
    qemu.wait_for_the_end()
    qemu.accept()
    begin(qemu)
    assert split(qemu.frame(1))[0].sequence == 1


def test_a_qemu_that_goes_away_is_plugged_in_again_when_it_is_back(qemu: FakeQemu) -> None:
    begin(qemu)
    qemu.bulk(0x81, 512)
    qemu.pull()
    qemu.accept()
    begin(qemu)
    assert split(qemu.frame(1))[0].sequence == 1


@pytest.mark.parametrize("body", [b"\xff" * 4096, bytes(4096)], ids=["ones", "zeros"])
def test_a_peer_that_talks_nonsense_loses_its_connection_and_nothing_else(
    qemu: FakeQemu, body: bytes
) -> None:
    assert qemu.socket
    qemu.socket.sendall(struct.pack("<III", Kind.CONTROL_PACKET, 3, 7)[: qemu.head.size])
    qemu.socket.sendall(body)
    qemu.pull()
    qemu.accept()
    begin(qemu)
    assert split(qemu.frame(1))[0].sequence == 1


def test_a_request_that_a_mute_endpoint_0_does_not_answer_keeps_nothing_else_waiting(
    mock: MockDevice, qemu: FakeQemu
) -> None:
    mock.inject("mute-control", value=0)
    head = struct.pack("<BBBBHHH", 0x80, Request.CAPABILITIES, REQUEST_IN, 0, 0, 0, 512)
    qemu.send(Kind.CONTROL_PACKET, head)
    # The next answer is the one to the next question.
    assert qemu.ask(Kind.GET_CONFIGURATION, b"")[0] == Status.SUCCESS
    mock.clear()
    assert qemu.control(REQUEST_IN, Request.CAPABILITIES, b"", 512)[0] == Status.SUCCESS

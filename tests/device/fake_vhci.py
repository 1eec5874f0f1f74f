"""What Linux's vhci-hcd does over USB/IP, for tests: attaches, sends URBs, unlinks them."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct

from gnetsegd.link.constants import REQUEST_IN, REQUEST_OUT

#: libusb cuts bulk transfers into URBs of this size.
URB = 16384


class FakeVhci:
    """A connection to a USB/IP server, with a device imported after ``attach``."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self._sequence = itertools.count(1)

    def receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError(f"{len(data)} of {size} bytes")
            data += piece
        return data

    def devlist(self) -> list[str]:
        self.socket.sendall(struct.pack(">HHI", 0x0111, 0x8005, 0))
        version, reply, status, count = struct.unpack(">HHII", self.receive(12))
        assert (version, reply, status) == (0x0111, 5, 0)
        names = []
        for _ in range(count):
            device = self.receive(312)
            names.append(device[256:288].rstrip(b"\0").decode())
            assert self.receive(4) == b"\xff\x47\x01\0"
        return names

    def attach(self, name: str = "1-1") -> bool:
        self.socket.sendall(struct.pack(">HHI32s", 0x0111, 0x8003, 0, name.encode()))
        _, reply, status = struct.unpack(">HHI", self.receive(8))
        assert reply == 3
        if status:
            return False
        device = self.receive(312)
        assert device[256:288].rstrip(b"\0").decode() == name
        return True

    def submit(self, endpoint: int, out: bytes | None, size: int = 0, setup: bytes = bytes(8)) -> int:
        """Send an URB; its sequence."""
        sequence = next(self._sequence)
        length = len(out) if out is not None else size
        head = struct.pack(
            ">IIIIIIiiiI8s",
            1, sequence, 0x10001, int(out is None), endpoint, 0, length, 0, 0, 0, setup,
        )  # fmt: skip
        self.socket.sendall(head + (out or b""))
        return sequence

    def unlink(self, target: int) -> int:
        sequence = next(self._sequence)
        self.socket.sendall(struct.pack(">IIIIII24x", 2, sequence, 0x10001, 0, 0, target))
        return sequence

    def answer(self, is_in: bool) -> tuple[int, int, int, bytes]:
        """(command, sequence, status, data) of whatever comes next; of an OUT, its length as 4 bytes."""
        command, sequence, _, _, _, status, length = struct.unpack(">IIIIIii20x", self.receive(48))
        if command == 4:
            return command, sequence, status, b""
        data = self.receive(length) if is_in else struct.pack("<I", length)
        return command, sequence, status, data

    def wait_for_the_end(self) -> None:
        """Until the server has closed the connection; an error after ten seconds."""
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(4096):
                pass

    def control_in(
        self, request: int, length: int, kind: int = REQUEST_IN, value: int = 0
    ) -> tuple[int, bytes]:
        sequence = self.submit(0, None, length, struct.pack("<BBHHH", kind, request, value, 0, length))
        command, answered, status, data = self.answer(True)
        assert (command, answered) == (3, sequence)
        return status, data

    def control_out(
        self, request: int, data: bytes = b"", kind: int = REQUEST_OUT, value: int = 0, index: int = 0
    ) -> int:
        setup = struct.pack("<BBHHH", kind, request, value, index, len(data))
        sequence = self.submit(0, data, 0, setup)
        command, answered, status, _ = self.answer(False)
        assert (command, answered) == (3, sequence)
        return status

    def write(self, message: bytes) -> int:
        """Bulk OUT as libusb does it; the status of the last URB."""
        status = 0
        for start in range(0, len(message), URB):
            sequence = self.submit(1, message[start : start + URB])
            command, answered, status, _ = self.answer(False)
            assert (command, answered) == (3, sequence)
        return status

    def read(self, size: int) -> tuple[int, bytes]:
        """Bulk IN as libusb does it: URBs until a short one."""
        data = b""
        while len(data) < size:
            wanted = min(URB, size - len(data))
            sequence = self.submit(1, None, wanted)
            command, answered, status, piece = self.answer(True)
            assert (command, answered) == (3, sequence)
            data += piece
            if status or len(piece) < wanted:
                return status, data
        return 0, data

    def close(self) -> None:
        self.socket.close()

"""The usbredir protocol's layout, as far as one bulk device needs it. Little-endian. No I/O.

`usbredirproto.h` and `usb-redirection-protocol.txt` of the spice project are its reference. QEMU is
the *guest* side there, and we, who have the device, are the *host* side.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from gnetsegd.link import constants as c

from .descriptors import ENDPOINT_IN, ENDPOINT_OUT, INTERFACE, Identity


class Kind(IntEnum):
    """Types of messages."""

    HELLO = 0
    DEVICE_CONNECT = 1
    RESET = 3
    INTERFACE_INFO = 4
    EP_INFO = 5
    SET_CONFIGURATION = 6
    GET_CONFIGURATION = 7
    CONFIGURATION_STATUS = 8
    SET_ALT_SETTING = 9
    GET_ALT_SETTING = 10
    ALT_SETTING_STATUS = 11
    CANCEL_DATA_PACKET = 21
    CONTROL_PACKET = 100
    BULK_PACKET = 101


class Status(IntEnum):
    """How a transfer ended."""

    SUCCESS = 0
    CANCELLED = 1
    INVALID = 2
    IO_ERROR = 3
    STALL = 4
    TIMEOUT = 5
    BABBLE = 6


#: Capabilities that we offer: the device's version in DEVICE_CONNECT, packet sizes in EP_INFO, ids of
#: 64 and bulk lengths of 32 bits.
_VERSION, _PACKET_SIZES, _IDS_64, _LENGTHS_32 = (1 << bit for bit in (1, 4, 5, 6))
CAPABILITIES = _VERSION | _PACKET_SIZES | _IDS_64 | _LENGTHS_32

_HELLO = struct.Struct("<III64sI")
HELLO_SIZE = _HELLO.size
_CONTROL = struct.Struct("<BBBBHHH")
_BULK = struct.Struct("<BBHI")
#: Longer messages are not believed: QEMU's largest is one bulk transfer of the guest's.
MAX_MESSAGE = 4 << 20


@dataclass(frozen=True, slots=True)
class Control:
    """A control transfer; ``data`` are what goes out."""

    request_type: int
    request: int
    value: int
    index: int
    length: int
    data: bytes

    @property
    def is_out(self) -> bool:
        return not self.request_type & 0x80


@dataclass(frozen=True, slots=True)
class Bulk:
    """A bulk transfer of ``length`` bytes; ``data`` are what goes out."""

    endpoint: int
    length: int
    stream: int
    data: bytes

    @property
    def is_out(self) -> bool:
        return not self.endpoint & 0x80


def pack_hello() -> bytes:
    """The first message of either side: (name, capabilities)."""
    return _HELLO.pack(Kind.HELLO, HELLO_SIZE - 12, 0, b"gnetseg-mockdev", CAPABILITIES)


class Codec:
    """The layout that both sides' capabilities lead to; ``hello`` is the peer's, at least 12 bytes."""

    def __init__(self, hello_body: bytes) -> None:
        theirs = int.from_bytes(hello_body[64:68], "little")
        agreed = theirs & CAPABILITIES
        self._head = struct.Struct("<IIQ" if agreed & _IDS_64 else "<III")
        self._lengths_32 = bool(agreed & _LENGTHS_32)
        self._packet_sizes = bool(agreed & _PACKET_SIZES)
        self._version = bool(agreed & _VERSION)

    @property
    def head_size(self) -> int:
        """How long the head of each message is."""
        return self._head.size

    def parse_head(self, head: bytes) -> tuple[int, int, int]:
        """(kind, length of the body, id); ``ValueError`` for a body that is not believed."""
        kind, length, number = self._head.unpack(head)
        if length > MAX_MESSAGE:
            raise ValueError(f"a usbredir message of {length} bytes")
        return kind, length, number

    def pack(self, kind: Kind, number: int, body: bytes = b"") -> bytes:
        """A whole message."""
        return self._head.pack(kind, len(body), number) + body

    def connect(self, identity: Identity, speed: int) -> bytes:
        """What plugs the device in: its endpoints, its interface and itself. ``speed`` is 1 or 2."""
        # Each endpoint has an index: 0 to 15 are OUT, 16 to 31 are IN.
        types, sizes = bytearray(b"\xff" * 32), [0] * 32
        for index in (0, 16):
            types[index], sizes[index] = 0, 64
        for address in (ENDPOINT_OUT, ENDPOINT_IN):
            index = address & 0x0F | (address & 0x80) >> 3
            types[index], sizes[index] = 2, c.PACKET
        endpoints = bytes(types) + bytes(32) + bytes(32)
        if self._packet_sizes:
            endpoints += struct.pack("<32H", *sizes)
        interface = struct.pack("<I", 1)
        for value in (INTERFACE, c.INTERFACE_CLASS, c.INTERFACE_SUBCLASS, c.INTERFACE_PROTOCOL):
            interface += bytes([value]).ljust(32, b"\0")
        device = struct.pack("<BBBBHH", speed, 0, 0, 0, identity.vendor_id, identity.product_id)
        if self._version:
            device += struct.pack("<H", 0x0100)
        return (
            self.pack(Kind.EP_INFO, 0, endpoints)
            + self.pack(Kind.INTERFACE_INFO, 0, interface)
            + self.pack(Kind.DEVICE_CONNECT, 0, device)
        )

    @staticmethod
    def parse_control(body: bytes) -> Control:
        """A CONTROL_PACKET; ``ValueError`` if it is cut."""
        if len(body) < _CONTROL.size:
            raise ValueError("a control packet without its head")
        _, request, request_type, _, value, index, length = _CONTROL.unpack_from(body)
        return Control(request_type, request, value, index, length, body[_CONTROL.size :])

    def pack_control(self, number: int, asked: Control, status: Status, count: int, data: bytes) -> bytes:
        """The answer to a CONTROL_PACKET."""
        endpoint = asked.request_type & 0x80
        head = _CONTROL.pack(
            endpoint, asked.request, asked.request_type, status, asked.value, asked.index, count
        )
        return self.pack(Kind.CONTROL_PACKET, number, head + data)

    def parse_bulk(self, body: bytes) -> Bulk:
        """A BULK_PACKET; ``ValueError`` if it is cut."""
        size = _BULK.size + 2 * self._lengths_32
        if len(body) < size:
            raise ValueError("a bulk packet without its head")
        endpoint, _, length, stream = _BULK.unpack_from(body)
        if self._lengths_32:
            length |= int.from_bytes(body[_BULK.size : size], "little") << 16
        return Bulk(endpoint, length, stream, body[size:])

    def pack_bulk(self, number: int, asked: Bulk, status: Status, count: int, data: bytes) -> bytes:
        """The answer to a BULK_PACKET."""
        head = _BULK.pack(asked.endpoint, status, count & 0xFFFF, asked.stream)
        if self._lengths_32:
            head += struct.pack("<H", count >> 16)
        return self.pack(Kind.BULK_PACKET, number, head + data)

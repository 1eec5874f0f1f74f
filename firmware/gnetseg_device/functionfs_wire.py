"""What FunctionFS wants to be told, and what it says (Linux: usb/functionfs.h). Little-endian. No I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from gnetsegd.link import constants as c

from .descriptors import ENDPOINT_IN, ENDPOINT_OUT, INTERFACE

_DESCRIPTORS_MAGIC, _STRINGS_MAGIC = 3, 2
_FULL_SPEED, _HIGH_SPEED, _SUPER_SPEED = 1, 2, 4
_EVENT = struct.Struct("<BBHHHB3x")
EVENT_SIZE = _EVENT.size
#: Bytes in a packet of a bulk endpoint.
_PACKETS = {_FULL_SPEED: 64, _HIGH_SPEED: c.PACKET, _SUPER_SPEED: 1024}


class Event(IntEnum):
    """What ep0 gives to read."""

    BIND = 0
    UNBIND = 1
    ENABLE = 2
    DISABLE = 3
    SETUP = 4
    SUSPEND = 5
    RESUME = 6


@dataclass(frozen=True, slots=True)
class Setup:
    """A control request's eight bytes."""

    request_type: int
    request: int
    value: int
    index: int
    length: int


def _interface(speed: int) -> tuple[int, bytes]:
    """(how many descriptors, the interface and its endpoints) at one speed."""
    data = struct.pack(
        "<BBBBBBBBB",
        9, 4, INTERFACE, 0, 2, c.INTERFACE_CLASS, c.INTERFACE_SUBCLASS, c.INTERFACE_PROTOCOL, 1,
    )  # fmt: skip
    count = 1
    for address in (ENDPOINT_OUT, ENDPOINT_IN):
        data += struct.pack("<BBBBHB", 7, 5, address, 2, _PACKETS[speed], 0)
        count += 1
        if speed == _SUPER_SPEED:  # the companion: no bursts, no streams
            data += struct.pack("<BBBBH", 6, 0x30, 0, 0, 0)
            count += 1
    return count, data


def pack_descriptors() -> bytes:
    """The first thing written to ep0: the interface at full, high and super speed."""
    sets = [_interface(speed) for speed in (_FULL_SPEED, _HIGH_SPEED, _SUPER_SPEED)]
    body = b"".join(struct.pack("<I", count) for count, _ in sets) + b"".join(data for _, data in sets)
    flags = _FULL_SPEED | _HIGH_SPEED | _SUPER_SPEED
    return struct.pack("<III", _DESCRIPTORS_MAGIC, 12 + len(body), flags) + body


def pack_strings() -> bytes:
    """The second: the interface's name, in English."""
    body = struct.pack("<H", 0x0409) + b"gnetseg link\0"
    return struct.pack("<IIII", _STRINGS_MAGIC, 16 + len(body), 1, 1) + body


def parse_event(data: bytes) -> tuple[int, Setup]:
    """(an ``Event`` or one that is not known here, the request if it is SETUP)"""
    *setup, kind = _EVENT.unpack(data)
    return kind, Setup(*setup)

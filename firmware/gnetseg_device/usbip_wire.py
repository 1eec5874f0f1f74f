"""The USB/IP protocol's layout (Linux: Documentation/usb/usbip_protocol.rst). Big-endian. No I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gnetsegd.link import constants as c

from .descriptors import SPEED_HIGH, Identity
from .transfer import Place

VERSION = 0x0111
REQ_DEVLIST, REP_DEVLIST = 0x8005, 0x0005
REQ_IMPORT, REP_IMPORT = 0x8003, 0x0003
CMD_SUBMIT, CMD_UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
DIRECTION_OUT = 0
STATUS_OK, STATUS_NO_DEVICE = 0, 1
BUS_ID_SIZE = 32

OPERATION = struct.Struct(">HHI")
#: command, sequence, device id, direction, endpoint, then 28 bytes that depend on the command
COMMAND = struct.Struct(">IIIII28s")
_SUBMIT = struct.Struct(">IiiiI8s")
_UNLINK = struct.Struct(">I24x")
_RET_SUBMIT = struct.Struct(">IIIIIiiiii8x")
_RET_UNLINK = struct.Struct(">IIIIIi24x")
_DEVICE = struct.Struct(">256s32sIIIHHHBBBBBB")
SETUP = struct.Struct("<BBHHH")


@dataclass(frozen=True, slots=True)
class Submit:
    """CMD_SUBMIT: one URB. ``length`` is of the data to send or of the buffer to fill."""

    sequence: int
    is_out: bool
    endpoint: int
    length: int
    setup: bytes


@dataclass(frozen=True, slots=True)
class Unlink:
    """CMD_UNLINK: cancel the URB with the sequence ``target``."""

    sequence: int
    target: int


def parse_command(data: bytes) -> Submit | Unlink:
    """A command of 48 bytes; ``ValueError`` for another than the two that there are."""
    command, sequence, _, direction, endpoint, rest = COMMAND.unpack(data)
    if command == CMD_SUBMIT:
        _, length, _, _, _, setup = _SUBMIT.unpack(rest)
        return Submit(sequence, direction == DIRECTION_OUT, endpoint, length, setup)
    if command == CMD_UNLINK:
        return Unlink(sequence, _UNLINK.unpack(rest)[0])
    raise ValueError(f"USB/IP command {command:#x} is not known")


def pack_ret_submit(sequence: int, status: int, length: int) -> bytes:
    """The answer to an URB; for an IN transfer its data follow. ``status`` is 0 or minus an errno."""
    return _RET_SUBMIT.pack(RET_SUBMIT, sequence, 0, 0, 0, status, length, 0, 0, 0)


def pack_ret_unlink(sequence: int, status: int) -> bytes:
    """The answer to an UNLINK: minus ECONNRESET if the URB was cancelled, 0 if it had ended."""
    return _RET_UNLINK.pack(RET_UNLINK, sequence, 0, 0, 0, status)


def bus_id(place: Place) -> bytes:
    """What ``usbip attach -b`` wants: bus and port."""
    return f"{place.bus}-{place.port}".encode("ascii")


def pack_device(identity: Identity, place: Place) -> bytes:
    """A device as devlist and import show it."""
    path = b"/sys/devices/gnetseg/" + bus_id(place)
    return _DEVICE.pack(
        path, bus_id(place), place.bus, place.address, SPEED_HIGH,
        identity.vendor_id, identity.product_id, 0x0100, 0, 0, 0, 1, 1, 1,
    )  # fmt: skip


def pack_devlist(devices: list[tuple[Identity, Place]]) -> bytes:
    """The reply to REQ_DEVLIST."""
    interface = bytes([c.INTERFACE_CLASS, c.INTERFACE_SUBCLASS, c.INTERFACE_PROTOCOL, 0])
    body = b"".join(pack_device(identity, place) + interface for identity, place in devices)
    return OPERATION.pack(VERSION, REP_DEVLIST, STATUS_OK) + struct.pack(">I", len(devices)) + body


def pack_import(identity: Identity, place: Place) -> bytes:
    """The reply to a REQ_IMPORT that is granted."""
    return OPERATION.pack(VERSION, REP_IMPORT, STATUS_OK) + pack_device(identity, place)


def pack_refusal() -> bytes:
    """The reply to a REQ_IMPORT of a device that is not there, or is taken."""
    return OPERATION.pack(VERSION, REP_IMPORT, STATUS_NO_DEVICE)

"""The USB descriptors of the device, as bytes: every transport gives the same."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gnetsegd.link import constants as c

DEVICE, CONFIGURATION, STRING = 1, 2, 3
ENDPOINT_OUT = 0x01
ENDPOINT_IN = 0x81
INTERFACE = 0
#: libusb's codes of a device's speed.
SPEED_FULL, SPEED_HIGH = 2, 3
_ENGLISH = 0x0409


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one device from another."""

    serial: str = "mock-0001"
    vendor_id: int = c.USB_ID[0]
    product_id: int = c.USB_ID[1]
    manufacturer: str = "gnetseg"
    product: str = "gnetseg mock accelerator"


def device_descriptor(identity: Identity) -> bytes:
    """18 bytes."""
    return struct.pack(
        "<BBHBBBBHHHBBBB",
        18, DEVICE, 0x0200, 0, 0, 0, 64, identity.vendor_id, identity.product_id, 0x0100, 1, 2, 3, 1,
    )  # fmt: skip


def configuration_descriptor() -> bytes:
    """The configuration, its one interface and the two bulk endpoints: 32 bytes."""
    interface = struct.pack(
        "<BBBBBBBBB",
        9, 4, INTERFACE, 0, 2, c.INTERFACE_CLASS, c.INTERFACE_SUBCLASS, c.INTERFACE_PROTOCOL, 0,
    )  # fmt: skip
    endpoints = b"".join(
        struct.pack("<BBBBHB", 7, 5, address, 2, c.PACKET, 0) for address in (ENDPOINT_OUT, ENDPOINT_IN)
    )
    body = interface + endpoints
    return struct.pack("<BBHBBBBB", 9, CONFIGURATION, 9 + len(body), 1, 1, 0, 0x80, 250) + body


def string_descriptor(identity: Identity, index: int) -> bytes | None:
    """String ``index``, or the list of languages for 0; None if there is none."""
    if index == 0:
        return struct.pack("<BBH", 4, STRING, _ENGLISH)
    texts = {1: identity.manufacturer, 2: identity.product, 3: identity.serial}
    if index not in texts:
        return None
    text = texts[index].encode("utf-16-le")
    return struct.pack("<BB", 2 + len(text), STRING) + text


def standard_request(identity: Identity, request_type: int, request: int, value: int) -> bytes | None:
    """Data of a standard request on endpoint 0, b"" for one without data; None is a STALL."""
    if request_type == 0x80 and request == 6:  # GET_DESCRIPTOR
        kind, index = value >> 8, value & 0xFF
        if kind == DEVICE:
            return device_descriptor(identity)
        if kind == CONFIGURATION:
            return configuration_descriptor()
        if kind == STRING:
            return string_descriptor(identity, index)
        return None
    if request == 0 and request_type in (0x80, 0x81, 0x82):  # GET_STATUS
        return b"\0\0"
    if request == 8 and request_type == 0x80:  # GET_CONFIGURATION
        return b"\1"
    if request == 10 and request_type == 0x81:  # GET_INTERFACE
        return b"\0"
    if request_type in (0, 1, 2) and request in (1, 3, 5, 9, 11):  # CLEAR/SET_FEATURE, SET_*
        return b""
    return None

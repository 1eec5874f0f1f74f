"""The numbers of docs/protocol.md, each under the name it has there."""

from __future__ import annotations

from enum import IntEnum, IntFlag

MAJOR = 1
MINOR = 1

#: pid.codes' id for tests, until the project has one of its own.
USB_ID = (0x1209, 0x0001)
INTERFACE_CLASS = 0xFF
INTERFACE_SUBCLASS = 0x47
INTERFACE_PROTOCOL = 0x01

#: A message whose length is a multiple of this is followed by ``PAD_SIZE`` bytes of 0.
PACKET = 512
PAD_SIZE = 4
CRC_SIZE = 4

MAX_HEADER_SIZE = 64
#: What a host believes of CAPABILITIES at most, in bytes.
MAX_PAYLOAD = 64 << 20
#: Longest payload of an answer that is not a RESULT, in bytes.
MAX_SHORT_ANSWER = 256
#: Smallest buffer that a host may give to a bulk IN transfer, in bytes.
MIN_IN_BUFFER = 1024
MAX_SLOTS = 16
MAX_SIDE = 4096


class Request(IntEnum):
    """``bRequest`` of the vendor requests on endpoint 0."""

    CAPABILITIES = 0x01
    HELLO = 0x02
    GET_STATUS = 0x03
    ABORT = 0x04
    SOFT_RESET = 0x05


#: ``bmRequestType``: vendor request to the interface, from and to the device.
REQUEST_IN = 0xC1
REQUEST_OUT = 0x41


class Type(IntEnum):
    """The header's type. Requests are below ``FIRST_ANSWER``."""

    FRAME = 0x01
    MODEL_BEGIN = 0x10
    MODEL_CHUNK = 0x11
    MODEL_COMMIT = 0x12
    RESULT = 0x81
    MODEL_PROGRESS = 0x90
    MODEL_READY = 0x91
    ERROR = 0xFF


FIRST_ANSWER = 0x80

#: Header flags: the payload's CRC-32 follows it; the ERROR ends the epoch.
FLAG_CRC = 0x01
FLAG_LOST = 0x02


class Feature(IntFlag):
    """What CAPABILITIES offers and HELLO puts in force."""

    PAYLOAD_CRC = 1
    MODEL_UPLOAD = 2


class State(IntEnum):
    """Of the device, in CAPABILITIES and GET_STATUS."""

    NO_SESSION = 0
    IN_SESSION = 1
    LOST = 2


class Code(IntEnum):
    """Of an ERROR."""

    BAD_HEADER = 1
    TOO_LONG = 2
    BAD_SEQUENCE = 3
    BAD_PAYLOAD = 4
    NO_CREDIT = 5
    NO_MODEL = 6
    WRONG_MODEL = 7
    BAD_FORMAT = 8
    BAD_ENCODING = 9
    UNSUPPORTED = 10
    NETWORK_FAILED = 11
    MODEL_TOO_LARGE = 20
    MODEL_REFUSED = 21
    BAD_HASH = 22
    BAD_OFFSET = 23
    NO_UPLOAD = 24
    STORAGE_FULL = 25
    INTERNAL = 255


#: Pixel format code of each name in ``gnetsegd.frame.PIXEL_FORMATS``.
PIXEL_FORMAT_CODES = {"Y": 0, "YUV420": 1, "YUV444": 2, "RGB": 3}
PIXEL_FORMAT_NAMES = {code: name for name, code in PIXEL_FORMAT_CODES.items()}

#: Bit in CAPABILITIES of each number of bits a pixel.
MASK_BITS = {1: 0x1, 2: 0x2, 4: 0x4, 8: 0x8}


def code_name(code: int) -> str:
    """Name of an error code, for people; an unknown one by its number."""
    try:
        return Code(code).name
    except ValueError:
        return f"code {code}"

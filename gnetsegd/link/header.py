"""The 32-byte header in front of every message on the bulk endpoints; one in, one out per frame.

======  ====  ==============================================
offset  size  field
======  ====  ==============================================
0       2     magic ``GS``
2       1     major version
3       1     header length: 32, or more in a later minor version
4       1     type
5       1     flags
6       1     pixel format (FRAME) or bits a pixel (RESULT)
7       1     error code (ERROR)
8       4     epoch
12      4     sequence
16      4     payload length, without CRC and pad
20      2     width
22      2     height
24      4     model id
28      4     CRC-32 of bytes 0 to 27
======  ====  ==============================================
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

from ..frame import Room
from .constants import CRC_SIZE, FLAG_CRC, MAJOR, MAX_HEADER_SIZE, MIN_IN_BUFFER, PACKET, PAD_SIZE
from .errors import LinkError

MAGIC = b"GS"
_BODY = struct.Struct("<2sBBBBBBIIIHHI")
_HEADER = struct.Struct("<2sBBBBBBIIIHHII")
_CRC = struct.Struct("<I")
#: What stands before epoch and sequence, these two, and what follows up to the CRC.
_TEMPLATE = struct.Struct("<8sII12s")
_SEALED = struct.Struct("<28sI")
_BODY_SIZE = _BODY.size
HEADER_SIZE = _HEADER.size
#: What a frame needs around it to be sent and answered from where it lies. An answer's buffer is whole
#: packets (raspberrypi/linux#3389), with one to spare for a header that is longer, and for CRC and pad.
ROOM = Room(
    request_head=HEADER_SIZE,
    request_tail=CRC_SIZE + PAD_SIZE,
    reply_head=HEADER_SIZE,
    reply_tail=PACKET,
    reply_multiple=PACKET,
)
#: 1 more than the largest sequence or epoch.
MODULUS = 1 << 32


class Header(NamedTuple):
    """The fields of a header that a reader needs; ``Header(*read_header(...))`` gives them names."""

    type: int
    flags: int
    format: int
    code: int
    epoch: int
    sequence: int
    length: int
    width: int
    height: int
    model_id: int
    header_length: int = HEADER_SIZE


def write_header(
    buffer: bytearray | memoryview,
    offset: int,
    kind: int,
    epoch: int,
    sequence: int,
    length: int,
    *,
    flags: int = 0,
    pixel: int = 0,
    code: int = 0,
    width: int = 0,
    height: int = 0,
    model_id: int = 0,
) -> None:
    """Write a header into ``buffer`` at ``offset``; ``pixel`` is the format field.

    ``struct.error`` for a field out of its range or a buffer that is too short.
    """
    body = _BODY.pack(
        MAGIC, MAJOR, HEADER_SIZE, kind, flags, pixel, code,
        epoch, sequence, length, width, height, model_id,
    )  # fmt: skip
    buffer[offset : offset + _BODY_SIZE] = body
    _CRC.pack_into(buffer, offset + _BODY_SIZE, crc32(body))


class HeaderTemplate:
    """A header of which only epoch and sequence change: cheap to make for every frame.

    For sending, and for comparing: of all headers there is just one that is right.
    """

    __slots__ = ("_after", "_before")

    def __init__(
        self,
        kind: int,
        length: int,
        *,
        flags: int = 0,
        pixel: int = 0,
        width: int = 0,
        height: int = 0,
        model_id: int = 0,
    ) -> None:
        body = _BODY.pack(
            MAGIC, MAJOR, HEADER_SIZE, kind, flags, pixel, 0, 0, 0, length, width, height, model_id
        )
        self._before, _, _, self._after = _TEMPLATE.unpack(body)

    def write(self, buffer: bytearray, offset: int, epoch: int, sequence: int) -> None:
        """Write the header's 32 bytes at ``offset``."""
        body = _TEMPLATE.pack(self._before, epoch, sequence, self._after)
        _SEALED.pack_into(buffer, offset, body, crc32(body))

    def stands_in(self, buffer: bytearray, offset: int, epoch: int, sequence: int) -> bool:
        """Is just this header at ``offset``?"""
        body = _TEMPLATE.pack(self._before, epoch, sequence, self._after)
        return _SEALED.unpack_from(buffer, offset) == (body, crc32(body))


def read_header(
    buffer: memoryview, offset: int = 0
) -> tuple[int, int, int, int, int, int, int, int, int, int, int]:
    """The fields of the header at ``offset``, in the order of ``Header``, as a plain tuple.

    Raises ``LinkError`` if it is too short or its magic, major version, length or CRC is wrong.
    What the fields mean together (type, epoch, sequence, payload length) is the caller's to check.
    """
    if len(buffer) - offset < HEADER_SIZE:
        raise LinkError(f"{max(len(buffer) - offset, 0)} bytes are no header, which has {HEADER_SIZE}")
    (
        magic, major, header_length, kind, flags, pixel, code,
        epoch, sequence, length, width, height, model_id, crc,
    ) = _HEADER.unpack_from(buffer, offset)  # fmt: skip
    if magic != MAGIC:
        raise LinkError(f"the header's magic is {magic.hex()}, not {MAGIC.hex()}")
    if crc != crc32(buffer[offset : offset + _BODY_SIZE]):
        raise LinkError("the header's CRC is wrong")
    if major != MAJOR:
        raise LinkError(f"the header has major version {major}, not {MAJOR}")
    if not HEADER_SIZE <= header_length <= MAX_HEADER_SIZE or header_length % 4:
        raise LinkError(f"the header claims a length of {header_length} bytes")
    return kind, flags, pixel, code, epoch, sequence, length, width, height, model_id, header_length


def trailer_size(payload: int, flags: int, header_length: int = HEADER_SIZE) -> int:
    """Bytes behind the payload: its CRC if flagged, and the pad if the message needs one."""
    crc = CRC_SIZE if flags & FLAG_CRC else 0
    return crc + (PAD_SIZE if (header_length + payload + crc) % PACKET == 0 else 0)


def message_size(payload: int, flags: int, header_length: int = HEADER_SIZE) -> int:
    """Bytes of a whole message on the wire; never a multiple of ``PACKET``."""
    return header_length + payload + trailer_size(payload, flags, header_length)


def in_buffer_size(payload: int) -> int:
    """Bytes that a bulk IN buffer needs for an answer of ``payload`` bytes, with or without CRC.

    A later minor version may put the longest header in front of it.
    """
    longest = MAX_HEADER_SIZE + payload + CRC_SIZE + PAD_SIZE
    return max(MIN_IN_BUFFER, -(-longest // PACKET) * PACKET)


def write_trailer(buffer: bytearray | memoryview, offset: int, payload: int, flags: int) -> int:
    """Write CRC and pad behind the payload of a message that begins at ``offset``; its whole size."""
    end = offset + HEADER_SIZE + payload
    size = trailer_size(payload, flags)
    if flags & FLAG_CRC:
        _CRC.pack_into(buffer, end, crc32(memoryview(buffer)[offset + HEADER_SIZE : end]))
        end += CRC_SIZE
        size -= CRC_SIZE
    buffer[end : end + size] = bytes(size)
    return end + size - offset


def check_payload(buffer: memoryview, offset: int, length: int, flags: int) -> bool:
    """Whether the payload at ``offset`` has the CRC that follows it; True if none is flagged."""
    if not flags & FLAG_CRC:
        return True
    (crc,) = _CRC.unpack_from(buffer, offset + length)
    return bool(crc == crc32(buffer[offset : offset + length]))


def pack_message(
    kind: int,
    epoch: int,
    sequence: int,
    payload: bytes = b"",
    *,
    flags: int = 0,
    pixel: int = 0,
    code: int = 0,
    width: int = 0,
    height: int = 0,
    model_id: int = 0,
) -> bytes:
    """A whole message in a new buffer: for what is rare or small (models, errors, tests)."""
    buffer = bytearray(message_size(len(payload), flags))
    write_header(
        buffer, 0, kind, epoch, sequence, len(payload),
        flags=flags, pixel=pixel, code=code, width=width, height=height, model_id=model_id,
    )  # fmt: skip
    buffer[HEADER_SIZE : HEADER_SIZE + len(payload)] = payload
    write_trailer(buffer, 0, len(payload), flags)
    return bytes(buffer)

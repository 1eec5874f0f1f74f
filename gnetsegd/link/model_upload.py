"""The payloads of MODEL_BEGIN, MODEL_CHUNK, MODEL_COMMIT, MODEL_PROGRESS and MODEL_READY.

The model record (64 bytes) is also part of CAPABILITIES:

======  ====  =============================================
offset  size  field
======  ====  =============================================
0       32    SHA-256 of the network's file
32      4     its size
36      2     width of the input
38      2     height of the input
40      1     pixel format of the input
41      1     0
42      2     classes
44      2     width of the mask
46      2     height of the mask
48      16    0
======  ====  =============================================
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..frame import FrameSpec, MaskFormat
from .constants import MAX_SIDE, PIXEL_FORMAT_CODES, PIXEL_FORMAT_NAMES
from .errors import LinkError

if TYPE_CHECKING:
    from ..model import ModelBundle

_RECORD = struct.Struct("<32sIHHBxHHH16x")
_PROGRESS = struct.Struct("<II")
_OFFSET = struct.Struct("<I")
RECORD_SIZE = _RECORD.size
OFFSET_SIZE = _OFFSET.size
NETWORK_FORMATS = ("Y", "YUV444", "RGB")


def model_id(sha256: bytes) -> int:
    """The model id of headers: the first four bytes of the SHA-256, little-endian."""
    return int.from_bytes(sha256[:4], "little")


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What a device knows of a model besides its bytes. ``mask.bits`` is always 8 here."""

    sha256: bytes
    size: int
    input: FrameSpec
    mask: MaskFormat

    @property
    def model_id(self) -> int:
        return model_id(self.sha256)

    @classmethod
    def of(cls, bundle: ModelBundle) -> ModelRecord:
        """The record of a bundle."""
        return cls(bundle.sha256, len(bundle.content), bundle.input, bundle.mask)

    def pack(self) -> bytes:
        return _RECORD.pack(
            self.sha256,
            self.size,
            self.input.width,
            self.input.height,
            PIXEL_FORMAT_CODES[self.input.pixel_format],
            self.mask.classes,
            self.mask.width,
            self.mask.height,
        )


def parse_record(data: bytes | bytearray | memoryview) -> ModelRecord:
    """Read a model record; ``LinkError`` for a wrong length or a field out of its range."""
    if len(data) < RECORD_SIZE:
        raise LinkError(f"a model record has {RECORD_SIZE} bytes, not {len(data)}")
    sha256, size, width, height, pixel, classes, mask_width, mask_height = _RECORD.unpack_from(data)
    name = PIXEL_FORMAT_NAMES.get(pixel)
    if name not in NETWORK_FORMATS:
        raise LinkError(f"pixel format {pixel} is none that a network takes")
    for side in (width, height, mask_width, mask_height):
        if not 1 <= side <= MAX_SIDE:
            raise LinkError(f"a side of {side} pixels is not 1 to {MAX_SIDE}")
    if not 2 <= classes <= 255:
        raise LinkError(f"{classes} classes are not 2 to 255")
    if size == 0:
        raise LinkError("the model has 0 bytes")
    return ModelRecord(
        sha256, size, FrameSpec(width, height, name), MaskFormat(mask_width, mask_height, 8, classes)
    )


def pack_chunk(offset: int, data: bytes | memoryview) -> bytes:
    """Payload of MODEL_CHUNK: the offset, then the model's bytes from there."""
    return _OFFSET.pack(offset) + data


def parse_chunk(payload: memoryview) -> tuple[int, memoryview]:
    """(offset, bytes) of a MODEL_CHUNK; ``LinkError`` if it has no offset."""
    if len(payload) < OFFSET_SIZE:
        raise LinkError(f"a MODEL_CHUNK of {len(payload)} bytes has no offset")
    return _OFFSET.unpack_from(payload)[0], payload[OFFSET_SIZE:]


def pack_progress(wanted: int, size: int) -> bytes:
    """Payload of MODEL_PROGRESS: the offset that the device wants next, and the model's size."""
    return _PROGRESS.pack(wanted, size)


def parse_progress(payload: bytes | memoryview) -> tuple[int, int]:
    """(offset wanted next, size) of a MODEL_PROGRESS; ``LinkError`` if it contradicts itself."""
    if len(payload) < _PROGRESS.size:
        raise LinkError(f"a MODEL_PROGRESS has {_PROGRESS.size} bytes, not {len(payload)}")
    wanted, size = _PROGRESS.unpack_from(payload)
    if wanted > size:
        raise LinkError(f"the device wants byte {wanted} of a model of {size}")
    return wanted, size

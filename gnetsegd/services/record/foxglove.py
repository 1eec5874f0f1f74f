"""Pictures and masks in Foxglove's own messages: https://docs.foxglove.dev/docs/sdk/schemas.

They are protobuf's, which is what Foxglove and rerun both show. Their fields are few, so that nothing needs
to be installed for them: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RAW_IMAGE, COMPRESSED_IMAGE = "foxglove.RawImage", "foxglove.CompressedImage"
SCHEMA_ENCODING = MESSAGE_ENCODING = "protobuf"

_VARINT, _BYTES, _FIXED32 = 0, 2, 5


def schema(name: str) -> bytes:
    """The ``FileDescriptorSet`` of ``name`` and of what it uses, as Foxglove publishes it."""
    return (resources.files(__package__) / "foxglove_schemas" / f"{name}.bin").read_bytes()


def raw_image(time_ns: int, frame_id: str, pixels: NDArray[np.uint8]) -> bytes:
    """``RawImage`` of ``pixels``, (height, width), as ``mono8``. ``time_ns`` since 1970."""
    height, width = pixels.shape
    return (
        _bytes(1, _timestamp(time_ns))
        + _fixed32(2, width)
        + _fixed32(3, height)
        + _bytes(4, b"mono8")
        + _fixed32(5, width)
        + _bytes(6, pixels.tobytes())
        + _bytes(7, frame_id.encode())
    )


def compressed_image(time_ns: int, frame_id: str, jpeg: bytes) -> bytes:
    """``CompressedImage``. ``time_ns`` since 1970."""
    return (
        _bytes(1, _timestamp(time_ns)) + _bytes(2, jpeg) + _bytes(3, b"jpeg") + _bytes(4, frame_id.encode())
    )


def _timestamp(time_ns: int) -> bytes:
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return _varint(1 << 3 | _VARINT) + _varint(seconds) + _varint(2 << 3 | _VARINT) + _varint(nanos)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(data)) + data


def _fixed32(field: int, number: int) -> bytes:
    return _varint(field << 3 | _FIXED32) + number.to_bytes(4, "little")


def _varint(number: int) -> bytes:
    """``number`` >= 0, in groups of seven bits, the lowest first."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)

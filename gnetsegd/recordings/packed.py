"""Chunks that another program has compressed: unpacked within bounds, by packages that need not be there."""

from __future__ import annotations

from importlib import import_module

from . import RECORD_MAX_BYTES

#: MCAP's names of compressions, and the packages that read them.
_PACKAGES = {"lz4": "lz4.frame", "zstd": "zstandard"}


def unpack(data: bytes, compression: str, size: int) -> bytes:
    """``data``, which a chunk says to be of ``size`` bytes; without a compression as it is.

    ``ValueError`` for what is damaged, larger than it says or than a record may be, or compressed by what
    MCAP does not know; ``ImportError`` where the package is missing.
    """
    if not compression:
        return data
    if compression not in _PACKAGES:
        raise ValueError(f"{compression!r} is no compression of MCAP's")
    if size > RECORD_MAX_BYTES:
        raise ValueError(f"{size} bytes are more than a chunk has")
    package = import_module(_PACKAGES[compression])
    try:
        # By a stream: what is packed says itself how large it is, and is otherwise believed.
        if compression == "lz4":
            plain: bytes = package.LZ4FrameDecompressor().decompress(data, size + 1)
        else:
            plain = package.ZstdDecompressor().stream_reader(data).read(size + 1)
    except MemoryError:
        raise
    except Exception as error:
        # Each package has its own classes, and RuntimeError is among them.
        raise ValueError(str(error)) from None
    if len(plain) != size:
        raise ValueError(f"{len(plain)} bytes in place of {size}")
    return plain

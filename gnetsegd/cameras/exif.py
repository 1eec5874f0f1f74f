"""The orientation of a picture file, by its EXIF: JPEG, PNG, WebP and TIFF.

Read here because FFmpeg gives it for some of these formats only, and only in new versions. Every length
comes from outside: whatever does not fit is no orientation, and nothing is read twice.
"""

from __future__ import annotations

import struct

from .turn import UPRIGHT, Turn, from_exif

#: The tag Orientation, and the only type that it may have (SHORT).
_ORIENTATION, _SHORT = 0x0112, 3
#: So many entries of a directory and segments of a file are looked at; there are some dozens.
_ENTRIES_MAX = 256
_SEGMENTS_MAX = 256

_PNG = b"\x89PNG\r\n\x1a\n"


def turn_of(data: bytes) -> Turn:
    """What turns the picture in this file upright; ``UPRIGHT`` where it says nothing."""
    try:
        return from_exif(_orientation(_tiff_in(data)))
    except (struct.error, IndexError):
        return UPRIGHT


def is_animated_webp(data: bytes) -> bool:
    """Is it a WebP of several pictures?"""
    return _is_webp(data) and data[12:16] == b"VP8X" and len(data) > 20 and bool(data[20] & 0x02)


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _tiff_in(data: bytes) -> bytes:
    """The TIFF structure that EXIF is; empty where there is none."""
    if data[:2] == b"\xff\xd8":
        return _in_jpeg(data)
    if data[:8] == _PNG:
        return _chunk(data, 8, b"eXIf", "big")
    if _is_webp(data):
        found = _chunk(data, 12, b"EXIF", "little")
        return found[6:] if found[:6] == b"Exif\0\0" else found
    return data if data[:4] in (b"II*\0", b"MM\0*") else b""


def _in_jpeg(data: bytes) -> bytes:
    at = 2
    for _ in range(_SEGMENTS_MAX):
        marker, length = struct.unpack_from(">HH", data, at)
        if not 0xFFC0 <= marker <= 0xFFFE or marker == 0xFFDA:
            return b""  # the picture itself begins
        if marker == 0xFFE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return data[at + 10 : at + 2 + length]
        at += 2 + length
    return b""


def _chunk(data: bytes, at: int, name: bytes, order: str) -> bytes:
    """The chunk of this name: of PNG (length before the name, big) or of RIFF (after it, little)."""
    for _ in range(_SEGMENTS_MAX):
        if order == "big":
            length, found, behind = *struct.unpack_from(">I4s", data, at), 4
        else:
            found, length = struct.unpack_from("<4sI", data, at)
            behind = length % 2
        if found == name:
            return data[at + 8 : at + 8 + length]
        at += 8 + length + behind
    return b""


def _orientation(tiff: bytes) -> int:
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return 0
    order = "<" if tiff[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
    (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
    for index in range(min(entries, _ENTRIES_MAX)):
        tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * index)
        if (tag, kind, count) == (_ORIENTATION, _SHORT, 1):
            return int(value)
    return 0

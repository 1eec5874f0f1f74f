"""Holes of zeros in coded pictures: what a power cut or a bad card leaves in a file.

Decoders take zeros for pixels, and most do not notice. But H.264 and H.265 never write three zero bytes in a
row, and no JPEG writes many.
"""

from __future__ import annotations

#: So many zero bytes in a row are no part of a JPEG's pixels: eight blocks of noise alone, all alike.
_JPEG_HOLE = bytes(192)
_ZEROS = bytes(3)
_START_OF_SCAN = b"\xff\xda"
#: Parts of a packet that are looked at; a picture has some, with slices some dozens.
_UNITS_MAX = 4096


def unit_length_bytes(codec: str, extradata: bytes | None) -> int:
    """How many bytes tell the length of each unit in a packet of MP4 or Matroska; 0 where none do."""
    at = {"h264": 4, "hevc": 21}.get(codec)
    # The first byte is the version of such a header, 1; start codes begin with 0.
    if at is None or not extradata or len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


def has_hole(codec: str, packet: bytes, length_bytes: int = 0) -> bool:
    """Are there zeros in the middle of this coded picture that no encoder wrote?"""
    if codec == "mjpeg":
        # Behind a whole picture there may be padding.
        return packet.find(_JPEG_HOLE, max(0, packet.rfind(_START_OF_SCAN)), _end(packet)) >= 0
    return length_bytes > 0 and _in_units(packet, length_bytes)


def _end(packet: bytes) -> int:
    """Where what is more than padding ends."""
    return len(packet.rstrip(b"\0"))


def _in_units(packet: bytes, length_bytes: int) -> bool:
    if packet.find(_ZEROS) < 0:
        return False
    at, end = 0, _end(packet)
    for _ in range(_UNITS_MAX):
        start = at + length_bytes
        if start >= end:
            return False
        at = start + int.from_bytes(packet[at:start], "big")
        # A unit's own end may be padded with zeros.
        unit = packet[start:at].rstrip(b"\0")
        if unit.find(_ZEROS) >= 0:
            return True
    return False

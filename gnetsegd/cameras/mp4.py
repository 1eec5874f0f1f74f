"""Whether an MP4 or QuickTime file was cut off: its boxes say how long they are."""

from __future__ import annotations

import os
from typing import BinaryIO

#: A file has a handful of boxes; fragmented ones two for each second or so.
_BOXES_MAX = 100_000


def is_cut_off(stream: BinaryIO) -> bool:
    """Does the file end before the end of its last box? Only for what FFmpeg takes for MP4."""
    size = os.fstat(stream.fileno()).st_size
    at = 0
    for _ in range(_BOXES_MAX):
        stream.seek(at)
        head = stream.read(16)
        if len(head) < 8:
            return False
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # 0 is: to the end of the file
            return False
        at += length
        if at >= size:
            return at > size
    return False

"""Views of a camera's memory that an error would keep alive.

A traceback holds the local variables of every function that the error came through, and with them
views of the driver's buffers. While there is a view a buffer cannot be unmapped, and while a buffer is
mapped the camera stays in use, for this process too.
"""

from __future__ import annotations

import traceback


def forget_locals(error: BaseException) -> None:
    """Clear the local variables of the functions that ``error`` and its causes have left."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        traceback.clear_frames(following.__traceback__)
        following = following.__cause__ or following.__context__

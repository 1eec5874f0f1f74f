"""Recordings: MCAP files of gnetsegd's messages, byte for byte (docs/recording.md).

A channel is a topic (``mask/cam0``), its message encoding is ``gnetsegd``, and its schema is the byte table
of docs/messages.md as text. Log time is when the picture was exposed, or a status was made; publish time is
when it was sent; both in ns since 1970, by one offset for each session of a daemon.
"""

from __future__ import annotations

import os

from ..errors import PermanentError

ENCODING = "gnetsegd"
PROFILE = "gnetsegd"
#: What the header names as the program that wrote it; others' files are left as they are.
LIBRARY = "gnetsegd"
#: Kinds of messages that are recorded; the first three always.
KINDS = ("mask", "info", "status", "frame", "image")
#: A record of a file may be so long; a chunk is a few MB.
RECORD_MAX_BYTES = 256 << 20


class RecordingError(PermanentError):
    """A file is no recording, or cannot be written or read."""

    exit_code = os.EX_DATAERR


def not_written(shown: str, words: str) -> RecordingError:
    """For a new file ``shown`` that cannot be made, with the system's words for it."""
    return RecordingError(
        f"{shown}: cannot be written ({words}); name a file in a folder that is yours to write and has room",
        os.EX_CANTCREAT,
    )

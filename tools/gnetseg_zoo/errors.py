"""What ends a command of these tools: one sentence on standard error, and an exit code of sysexits.h."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gnetsegd.errors import GnetsegError


class ZooError(Exception):
    """Base of what is raised on purpose here; the message names the thing and the remedy."""

    exit_code: int = os.EX_DATAERR


def told(error: ZooError | GnetsegError) -> int:
    """Say it; gives the exit code that it means."""
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code

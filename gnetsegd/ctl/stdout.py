"""A picture to the standard output, where ``-`` is named in place of a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from ..errors import PermanentError

STDOUT = Path("-")


def refuse_terminal() -> None:
    """``PermanentError`` where the standard output is a terminal."""
    if sys.stdout.isatty():
        raise PermanentError("a terminal shows no PNG; redirect the output, or name a file", os.EX_USAGE)


def write(data: bytes) -> None:
    """All of ``data``, at once; ``OSError`` is for ``command_line`` to tell."""
    with click.open_file("-", "wb") as out:
        out.write(data)
        out.flush()

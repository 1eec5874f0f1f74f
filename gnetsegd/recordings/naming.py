"""Which name a recording gets: nothing that is there is overwritten."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..text import clean
from . import RecordingError, not_written
from .finishing import BeingWritten, finish


def free_name(path: Path, told: Callable[[str], None]) -> Path:
    """``path``, or the next name where that one is there; one that was left without its end gets it.

    ``RecordingError`` where another recorder is writing it, and for what is no file, or out of reach.
    """
    try:
        return _free_name(path, told)
    except OSError as error:
        raise not_written(clean(str(path)), clean(error.strerror or str(error))) from None


def _free_name(path: Path, told: Callable[[str], None]) -> Path:
    if path.is_dir():
        raise RecordingError(f"{clean(str(path))}: this is a folder; name a file in it", os.EX_CANTCREAT)
    if path.exists() and not path.is_file():
        raise RecordingError(f"{clean(str(path))}: this is no file; name one", os.EX_CANTCREAT)
    number = 1
    name = path
    while name.exists():
        try:
            found = finish(name, in_haste=True)
        except BeingWritten:
            raise
        except RecordingError:
            found = None  # whatever it is, it is not ours to touch
        if found is not None and not found.was_whole:
            told(
                f"{clean(str(name))}: was left without its end, and is whole again: {found.messages} messages"
            )
        number += 1
        name = path.with_stem(f"{path.stem}-{number}")
    return name

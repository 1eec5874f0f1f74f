"""The one place where PyAV (FFmpeg) is imported: only by cameras that need it, and only when opened."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import PermanentError
from ..text import clean


def load() -> Any:
    """The module ``av``; ``PermanentError`` that says how to install it."""
    try:
        av: Any = import_module("av")
    except Exception as error:  # with a numpy or FFmpeg that it was not made for: not ImportError alone
        raise PermanentError(
            "PyAV is needed for this camera and cannot be imported "
            f"({clean(str(error)) or type(error).__name__}): "
            "apt install python3-av, or pip install av"
        ) from None
    # Old versions pass FFmpeg's chatter to logging from foreign threads; errors are raised anyway.
    if av.logging.get_level() is not None:
        av.logging.set_level(av.logging.PANIC)
    return av

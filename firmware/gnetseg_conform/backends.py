"""``--backend``: a pyusb backend that somebody else's code makes, for a device that lives in this process."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnetsegd.errors import PermanentError
from gnetsegd.text import clean

from .guard import in_words

if TYPE_CHECKING:
    from collections.abc import Callable


def load(name: str) -> Callable[..., Any]:
    """The function of ``FILE.py:NAME`` or ``MODULE:NAME``; ``PermanentError`` that says what is wrong."""
    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute:
        raise PermanentError(
            f"--backend {clean(name)}: give FILE.py:NAME or MODULE:NAME, NAME a function", os.EX_USAGE
        )
    try:
        made = getattr(_import_file(Path(where)) if where.endswith(".py") else _import(where), attribute)
    except (Exception, SystemExit) as error:  # whatever that code does
        raise PermanentError(
            f"--backend {clean(name)} cannot be loaded: {in_words(error)}", os.EX_NOINPUT
        ) from None
    if not callable(made):
        raise PermanentError(f"--backend {clean(name)} is no function that makes a backend", os.EX_USAGE)
    return made  # type: ignore[no-any-return]


def takes_setup(make: Callable[..., Any]) -> bool:
    """Whether it makes a device of a transcript's setup: it has a parameter ``setup``."""
    try:
        return "setup" in inspect.signature(make).parameters
    except (TypeError, ValueError):  # not written in Python
        return False


def _import(name: str) -> Any:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def _import_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module

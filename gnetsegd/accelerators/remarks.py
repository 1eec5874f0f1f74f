"""What a runtime writes to stderr whenever it loads a network, and nobody can switch off."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

_STDERR = 2
_REMARK = b"INFO: "
#: One at a time: another one would keep a stderr that is not the real one.
_lock = threading.Lock()


@contextlib.contextmanager
def without_remarks() -> Iterator[None]:
    """Its lines that begin with ``INFO:`` are left out; the rest comes a moment later."""
    with contextlib.ExitStack() as undo:
        if _lock.acquire(blocking=False):
            undo.callback(_lock.release)
            with contextlib.suppress(OSError):  # there is no stderr, or no room for more files
                _redirect(undo)
        yield


def _redirect(undo: contextlib.ExitStack) -> None:
    real = os.dup(_STDERR)
    undo.callback(os.close, real)
    held = os.memfd_create("stderr")
    undo.callback(os.close, held)
    os.dup2(held, _STDERR, inheritable=True)
    undo.callback(_pass_on, held, real)


def _pass_on(held: int, real: int) -> None:
    os.dup2(real, _STDERR, inheritable=True)
    os.lseek(held, 0, os.SEEK_SET)
    with open(held, "rb", closefd=False) as file:
        rest = b"".join(line for line in file if not line.startswith(_REMARK))
    with contextlib.suppress(OSError):  # whoever reads it has gone
        os.write(_STDERR, rest)

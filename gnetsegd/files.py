"""Files that a person names: read without waiting and within bounds, replaced whole or not at all.

A name may lead to a FIFO, a device or a socket, where opening waits, reading never ends, and replacing
destroys something. What stands there is looked at first.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

#: Read at once; a larger file takes several turns.
_CHUNK_BYTES = 1 << 20

#: The most tables inside each other that one dotted key may name.
MAX_KEY_PARTS = 100
_LONG_KEY = re.compile(rf"""(?:\.[ \t]*(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*){{{MAX_KEY_PARTS}}}""")

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


#: What the systemd unit keeps from the service (ProtectHome=, PrivateTmp=).
_HIDDEN_FROM_SERVICES = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")


def hidden_from_service(path: Path | str) -> str:
    """Words, to stand behind an error, where this process is a service and ``path`` is hidden from those.

    Empty where that is no reason.
    """
    whole = os.path.abspath(path)  # noqa: PTH100 - resolve() fails on names that no file can have
    hidden = any(whole == folder or whole.startswith(f"{folder}/") for folder in _HIDDEN_FROM_SERVICES)
    if not hidden or "INVOCATION_ID" not in os.environ:
        return ""
    return " (a service sees nothing of /home and /tmp: put it into /srv or /var/lib/gnetsegd)"


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ValueError(f"is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, no plain file")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The bytes of a plain file, without ever waiting for a writer.

    ``ValueError``, with words that go on after the file's name, where it is no plain file or is larger than
    ``max_bytes``; ``OSError`` where it cannot be opened or read.
    """
    # Before it is opened: opening a device may already do something.
    _check_regular(path.stat().st_mode)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        # Once more: another may stand there by now.
        status = os.fstat(descriptor)
        _check_regular(status.st_mode)
        content = bytearray()
        # The size is a promise that files of /proc do not keep: read one byte more than is allowed.
        while len(content) <= max_bytes:
            piece = os.read(descriptor, min(_CHUNK_BYTES, max_bytes + 1 - len(content)))
            if not piece:
                return bytes(content)
            content += piece
    finally:
        os.close(descriptor)
    raise ValueError(f"is larger than {_size(max_bytes)}")


def _size(number: int) -> str:
    return f"{number >> 20} MiB" if number >= 1 << 20 else f"{number} bytes"


class NoTextError(ValueError):
    """A file's bytes are no UTF-8, such as UTF-16 of Windows."""


def parse_toml(content: bytes) -> dict[str, Any]:
    """A TOML table from a file's bytes; ``ValueError`` for whatever a file may hold that is none.

    A byte order mark is passed over. Bytes that are no UTF-8 are ``NoTextError``.
    """
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError:
        raise NoTextError("it is no UTF-8 text; save it as UTF-8") from None
    if _LONG_KEY.search(text):
        # For tomllib's sake: the time that it takes grows with the square of their number.
        raise ValueError(f"it has a key of more than {MAX_KEY_PARTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def check_replaceable(path: Path) -> None:
    """``ValueError`` as of ``write_whole`` where it would not replace what stands there."""
    with suppress(FileNotFoundError):
        _check_regular(path.stat().st_mode)


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that there is the old file or the new one, never half of one.

    A symbolic link stays, and the file that it names is replaced. ``ValueError``, with words that go on
    after the file's name, where something else than a plain file stands there; ``OSError`` if it cannot
    be written. Either way nothing is left lying about.
    """
    check_replaceable(path)
    target = Path(os.path.realpath(path))
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".gnetsegd.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(file.fileno(), 0o666 & ~umask)  # as an ordinary file; mkstemp's are for one user
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise

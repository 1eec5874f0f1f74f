"""CURVE keys in files: one pair, and the folder of those who are permitted."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .errors import ConfigError
from .files import read_regular
from .text import clean

#: They have about 500 bytes.
KEY_FILE_MAX_BYTES = 1 << 16
#: Keys in one folder; what comes after them is not permitted.
KEYS_MAX = 1024
#: A file that was changed so short a time ago may be changed again within the same tick of its clock, in ns.
_FRESH_NS = 2_000_000_000
_DIGEST_CHARACTERS = 16
_Z85_KEY = re.compile(rb"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")


def is_key(text: bytes) -> bool:
    """Whether ``text`` is a key in Z85."""
    return _Z85_KEY.fullmatch(text) is not None


def load(path: Path) -> tuple[bytes, bytes | None]:
    """(public, secret) of a key file in Z85; the secret only if it is in there. ``ConfigError``."""
    from zmq.auth import load_certificate

    shown, remedy = clean(str(path)), "make one with gnetsegctl keygen"
    try:
        # Looked at first: zmq.auth would wait for a FIFO, and says nothing of a file that it may not read.
        read_regular(path, KEY_FILE_MAX_BYTES)
    except PermissionError:
        raise ConfigError(
            f"{shown}: this user may not read it; mend its owner or mode", os.EX_NOPERM
        ) from None
    except OSError as error:
        raise ConfigError(f"{shown}: no CURVE key file: {error.strerror}; {remedy}", os.EX_NOINPUT) from None
    except ValueError as error:
        raise ConfigError(f"{shown}: no CURVE key file: it {error}; {remedy}", os.EX_NOINPUT) from None
    try:
        public, secret = load_certificate(str(path))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{shown}: no CURVE key file: {clean(str(error))}; {remedy}", os.EX_NOINPUT
        ) from None
    if not is_key(public) or not (secret is None or is_key(secret)):
        raise ConfigError(f"{shown}: no CURVE key file: a key of it is cut; {remedy}", os.EX_NOINPUT)
    return public, secret


class Permitted(NamedTuple):
    """The clients of a folder: names by their public keys (Z85), and sentences about what are no keys."""

    names: Mapping[bytes, str]
    bad: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """What tells this set from another; the same wherever the folder stands."""
        return hashlib.sha256(b"".join(sorted(self.names))).hexdigest()[:_DIGEST_CHARACTERS]


def permitted(folder: Path) -> Permitted:
    """The keys of ``folder``, from its ``.key`` files. ``OSError`` if it cannot be read."""
    names: dict[bytes, str] = {}
    bad = []
    for file in _files(folder):
        try:
            public, _ = load(file)
        except ConfigError as error:
            bad.append(str(error))
            continue
        names[public] = f"{names[public]}, {file.stem}" if public in names else file.stem
    return Permitted(names, tuple(bad))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".key")[:KEYS_MAX]


class Folder:
    """A folder of permitted keys that may change at any time. ``now`` is the set when it was last read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = Permitted({})
        self._stamp: object = None

    def look(self) -> bool:
        """Read it again if something has changed in it; whether that was so.

        A folder that is gone or closed permits nobody. Another ``OSError``, such as for want of descriptors,
        is raised, and what was known stays.
        """
        try:
            stamp = [(file.name, file.stat()) for file in _files(self.path)]
            key = [(name, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_mode) for name, s in stamp]
            if key == self._stamp:
                return False
            found = permitted(self.path)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            if self._stamp == str(error):
                return False
            self._stamp, self.now = str(error), Permitted({}, (f"{error.strerror}",))
            return True
        newest_ns = max((s.st_mtime_ns for _, s in stamp), default=0)
        self._stamp = key if time.time_ns() - newest_ns > _FRESH_NS else None
        changed, self.now = found != self.now, found
        return changed

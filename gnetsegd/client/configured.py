"""A client's file: address, camera and keys, as ``gnetsegctl keys show-client-config`` prints it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..curve import is_key
from ..errors import ConfigError
from ..files import parse_toml, read_regular
from ..message import CAMERA_NAME
from ..text import clean

#: It has about 400 bytes.
FILE_MAX_BYTES = 1 << 16
_KEYS = ("server_key", "public_key", "secret_key")
_KNOWN = ("endpoint", "camera", *_KEYS)


def client_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a subscriber takes, from a file: ``MaskSubscriber(**client_config("robot.toml"))``.

    ``endpoint`` and ``camera`` are texts, ``server_key``, ``public_key`` and ``secret_key`` bytes in Z85.
    What the file leaves out is left out. ``ConfigError`` for a file that cannot be read or is none.
    """
    shown = clean(str(path))
    try:
        table = parse_toml(read_regular(Path(path), FILE_MAX_BYTES))
    except OSError as error:
        code = os.EX_NOPERM if isinstance(error, PermissionError) else os.EX_NOINPUT
        raise ConfigError(f"{shown}: {error.strerror}; name a client's file", code) from None
    except ValueError as error:
        raise ConfigError(f"{shown}: no client's file: {clean(str(error))}") from None
    for name, value in table.items():
        if name not in _KNOWN:
            raise ConfigError(f"{shown}: unknown key {clean(name)}; known are {', '.join(_KNOWN)}")
        if not isinstance(value, str):
            raise ConfigError(f"{shown}: {name} is not a text")
        if name in _KEYS and not is_key(value.encode()):
            raise ConfigError(f"{shown}: {name} is no CURVE key: that is 40 characters of Z85")
        if name == "camera" and not CAMERA_NAME.fullmatch(value):
            raise ConfigError(f"{shown}: camera is no name of 1 to 8 of a-z, 0-9, '_' and '-'")
    return {name: value.encode() if name in _KEYS else value for name, value in table.items()}

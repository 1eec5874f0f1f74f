"""A service's own file of settings, and ``--set``: TOML, read as the daemon's is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..config import parse_setting
from ..errors import ConfigError
from ..files import parse_toml, read_regular
from ..text import clean

MAX_FILE_BYTES = 1 << 20


def read(
    path: Path | None, usual: Path, settings: tuple[str, ...], example: str
) -> tuple[dict[str, Any], str]:
    """(tables, where they are from, for sentences). ``path`` None: the ``usual`` file if it is there.

    ``example`` is a key such as ``mqtt.host``. ``ConfigError`` with one sentence.
    """
    where = "defaults"
    raw: dict[str, Any] = {}
    if path is None and usual.exists():
        path = usual
    if path is not None:
        where = clean(str(path))
        try:
            raw = parse_toml(read_regular(path, MAX_FILE_BYTES))
        except OSError as error:
            raise ConfigError(
                f"{where}: cannot be read: {error.strerror}; name another", os.EX_NOINPUT
            ) from None
        except ValueError as error:
            raise ConfigError(f"{where}: not valid TOML: {clean(str(error))}") from None
    for setting in settings:
        for section, values in parse_setting(setting).items():
            if not isinstance(values, dict) or not isinstance(raw.setdefault(section, {}), dict):
                raise ConfigError(f"--set {clean(setting)}: a key is section.key, such as {example}")
            raw[section].update(values)
    return raw, where

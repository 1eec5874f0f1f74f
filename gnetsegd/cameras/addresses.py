"""Addresses are looked at before they are made paths: they are no files, and may hold passwords."""

from __future__ import annotations

import re

from ..errors import ConfigError
from ..text import clean

_ADDRESS = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://")


def refuse_address(key: str, path: str, remedy: str) -> None:
    """``ConfigError`` where ``path``, the value of ``key``, is the address of a network camera.

    Nothing of it but its kind is repeated.
    """
    found = _ADDRESS.match(path)
    if found:
        raise ConfigError(
            f"{key} is an address ({clean(found[1], 20)}://...); {remedy}, or set camera.driver to network "
            "and camera.network.url to it"
        )

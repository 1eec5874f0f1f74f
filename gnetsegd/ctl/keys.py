"""``gnetsegctl keygen``: CURVE key pairs as ZeroMQ's own tools write them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from ..errors import PermanentError

if TYPE_CHECKING:
    from pathlib import Path


def make(folder: Path, name: str) -> None:
    """Write ``name.key`` and, for its owner alone, ``name.key_secret``; never over existing ones."""
    from zmq.auth import create_certificates

    for suffix in (".key", ".key_secret"):
        if (folder / f"{name}{suffix}").exists():
            raise PermanentError(
                f"{folder / name}{suffix} is there already; give another name or remove it", os.EX_CANTCREAT
            )
    umask = os.umask(0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        public, secret = create_certificates(str(folder), name)
    except OSError as error:
        raise PermanentError(
            f"{folder}: cannot be written: {error.strerror}; name a folder that you may write to",
            os.EX_CANTCREAT,
        ) from None
    finally:
        os.umask(umask)
    os.chmod(public, 0o644)  # noqa: PTH101 - zmq.auth gives texts
    click.echo(f"{public}: give it to the other side\n{secret}: keep it here")

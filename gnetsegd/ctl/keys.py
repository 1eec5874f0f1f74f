"""CURVE key pairs as ZeroMQ's own tools write them: made by ``gnetsegctl keygen``, and read."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import click

from ..errors import PermanentError
from ..text import clean


def make(folder: Path, name: str) -> None:
    """Write ``name.key`` and, for its owner alone, ``name.key_secret``; never over existing ones."""
    from zmq.auth import create_certificates

    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    umask = os.umask(0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as workshop:
            made = create_certificates(workshop, name)
            contents = [Path(file).read_bytes() for file in made]
        create(secret, contents[1], 0o600)
        try:
            create(public, contents[0], 0o644)
        except OSError:
            secret.unlink()
            raise
    except FileExistsError as error:
        there = clean(str(error.filename))
        raise PermanentError(
            f"{there} is there already; give another name or remove it", os.EX_CANTCREAT
        ) from None
    except OSError as error:
        raise PermanentError(
            f"{clean(str(folder))}: cannot be written: {error.strerror}; name a folder that you may write to",
            os.EX_CANTCREAT,
        ) from None
    finally:
        os.umask(umask)
    click.echo(f"{clean(str(public))}: give it to the other side\n{clean(str(secret))}: keep it here")


def create(file: Path, content: bytes, mode: int) -> None:
    """A new file; ``FileExistsError`` for whatever stands there, a link that leads nowhere included."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            os.fchmod(out.fileno(), mode)
    except OSError:
        with suppress(OSError):
            file.unlink()
        raise

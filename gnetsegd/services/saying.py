"""What a command tells a person beside its work, which goes on where nobody hears it any more."""

from __future__ import annotations

from contextlib import suppress

import click

from ..message import TEXT_CHARACTERS
from ..text import clean


def say(words: str) -> None:
    """One line on stderr; nothing where that is gone: a terminal that was closed, a pipe, a full disk."""
    with suppress(OSError):
        click.echo(clean(words, TEXT_CHARACTERS), err=True)

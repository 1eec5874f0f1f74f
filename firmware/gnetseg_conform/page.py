"""Where docs/protocol.md says what a case checks; the page comes with the package."""

from __future__ import annotations

import functools
from importlib.resources import files

NAME = "docs/protocol.md"


@functools.cache
def _sections() -> dict[str, list[tuple[int, str]]]:
    """(number, text) of each line, by heading."""
    sections: dict[str, list[tuple[int, str]]] = {}
    lines: list[tuple[int, str]] = []
    text = files(__package__).joinpath("protocol.md").read_text("utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            lines = sections.setdefault(line.lstrip("# "), [])
        lines.append((number, " ".join(line.split())))
    return sections


def line_of(heading: str, quote: str) -> int:
    """The number of the line under ``heading`` on which ``quote`` begins.

    ``LookupError`` if the page does not say it there.
    """
    lines = _sections()[heading]
    for place, (number, line) in enumerate(lines):
        # A quote may go on on the next lines; it begins on this one.
        joined = " ".join(text for _, text in lines[place : place + 4])
        if 0 <= joined.find(quote) < len(line):
            return number
    raise LookupError(f"{NAME} does not say {quote!r} under {heading!r}")

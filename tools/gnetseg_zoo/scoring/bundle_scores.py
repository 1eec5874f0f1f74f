"""What is measured of a bundle, in its ``model.toml``: written by programs, never by hand.

The ``[scores]`` tables are the last of the file, ``[speed]`` stands right before them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from gnetseg_zoo.files import write_whole

SCORES = "[scores"
SPEED = "[speed]"


def with_scores(text: str, split: str, scores: Mapping[str, Mapping[str, float | int | str]]) -> str:
    """``text`` of a ``model.toml`` with its ``[scores]`` tables put in place of the former ones.

    They are the last tables of the file, so all from the first of them on is replaced.
    """
    head, _ = _split(text, SCORES)
    out = [*head, "", "[scores]", f"split = {json.dumps(split)}"]
    for name, numbers in scores.items():
        out += ["", f"[scores.{_key(name)}]"]
        out += [f"{key} = {json.dumps(value)}" for key, value in numbers.items()]
    return "\n".join(out) + "\n"


def with_speed(text: str, speed: Mapping[str, float | int | str]) -> str:
    """``text`` of a ``model.toml`` with its ``[speed]`` table put in place of the former one."""
    head, scores = _split(text, SCORES)
    before, _ = _split("\n".join(head), SPEED)
    out = [*before, "", SPEED, *(f"{key} = {json.dumps(value)}" for key, value in speed.items())]
    return "\n".join([*out, *(["", *scores] if scores else [])]) + "\n"


def write_speed(folder: Path, speed: Mapping[str, float | int | str]) -> None:
    """Replace the speed in ``folder``'s model.toml in one step; raises :class:`OSError`."""
    path = folder / "model.toml"
    write_whole(path, with_speed(path.read_text("utf-8"), speed).encode())


def _split(text: str, begin: str) -> tuple[list[str], list[str]]:
    """The lines before the first that begins with ``begin`` (less empty ones at their end), and the rest."""
    lines = text.splitlines()
    at = next((n for n, line in enumerate(lines) if line.startswith(begin)), len(lines))
    head, rest = lines[:at], lines[at:]
    while head and not head[-1]:
        head.pop()
    return head, rest


def _key(name: str) -> str:
    """``name`` as a TOML key: as it is, or quoted ("traffic light")."""
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name)


def write_scores(folder: Path, split: str, scores: Mapping[str, Mapping[str, float | int | str]]) -> None:
    """Replace the scores in ``folder``'s model.toml in one step; raises :class:`OSError`."""
    path = folder / "model.toml"
    write_whole(path, with_scores(path.read_text("utf-8"), split, scores).encode())

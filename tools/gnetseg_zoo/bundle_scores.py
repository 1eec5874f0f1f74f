"""The ``[scores]`` tables at the end of a bundle's ``model.toml``: written by evaluation, never by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from gnetseg_zoo.files import write_whole

BEGIN = "[scores"


def with_scores(text: str, split: str, scores: Mapping[str, Mapping[str, float | int | str]]) -> str:
    """``text`` of a ``model.toml`` with its ``[scores]`` tables put in place of the former ones.

    They are the last tables of the file, so all from the first of them on is replaced.
    """
    lines = text.splitlines()
    kept = next((n for n, line in enumerate(lines) if line.startswith(BEGIN)), len(lines))
    out = [*lines[:kept]]
    while out and not out[-1]:
        out.pop()
    out += ["", "[scores]", f"split = {json.dumps(split)}"]
    for name, numbers in scores.items():
        out += ["", f"[scores.{_key(name)}]"]
        out += [f"{key} = {json.dumps(value)}" for key, value in numbers.items()]
    return "\n".join(out) + "\n"


def _key(name: str) -> str:
    """``name`` as a TOML key: as it is, or quoted ("traffic light")."""
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name)


def write_scores(folder: Path, split: str, scores: Mapping[str, Mapping[str, float | int | str]]) -> None:
    """Replace the scores in ``folder``'s model.toml in one step; raises :class:`OSError`."""
    path = folder / "model.toml"
    write_whole(path, with_scores(path.read_text("utf-8"), split, scores).encode())

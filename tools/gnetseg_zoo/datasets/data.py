"""Open the photos of persons that a configuration names."""

from __future__ import annotations

from pathlib import Path

from gnetseg_zoo.config import DataKind
from gnetseg_zoo.datasets.matting_human import load_matting_human
from gnetseg_zoo.datasets.samples import DataError, Sample, load_index


def open_persons(kind: DataKind, path: Path, split: str) -> list[Sample]:
    """The photos of ``split``: of an index.csv, or of Matting Human's folder. Raises DataError."""
    if kind != "matting_human":
        return load_index(path, split)
    chosen = [s for s in load_matting_human(path) if s.split == split]
    if not chosen:
        raise DataError(f"{path}: no photo has split {split!r}; there are train, val")
    return chosen

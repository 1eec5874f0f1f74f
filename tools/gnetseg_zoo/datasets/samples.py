"""``index.csv``: which photos there are, with which masks. Needs only the standard library.

Columns: image, mask, domain, source, licence, label_kind, group, split. Paths are
relative to the folder of the csv. An empty mask is a photo without persons.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gnetseg_zoo.errors import ZooError

COLUMNS = ("image", "mask", "domain", "source", "licence", "label_kind", "group", "split")
DOMAINS = ("portrait", "fullbody", "crowd", "indoor", "empty")
EMPTY = "empty"
"""The domain of person-free photos: the only one that may lack masks."""


class DataError(ZooError, ValueError):
    """Data that cannot be used; the message names the file and what to do about it."""


@dataclass(frozen=True)
class Sample:
    """One photo. ``mask`` is None where nobody is in the picture."""

    image: Path
    mask: Path | None
    domain: str
    source: str
    licence: str
    label_kind: str
    group: str
    split: str


def load_index(index: Path, split: str | None = None) -> list[Sample]:
    """The samples of ``index`` (of one ``split``, if given), in the file's order.

    Raises :class:`DataError` when the csv or a file that it names is missing, a
    column is missing, a domain is unknown, a photo with persons has no mask, a group
    stands in two splits, or the split is empty.
    """
    try:
        with index.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{index}: no column {', '.join(missing)}; an index has the columns {', '.join(COLUMNS)}"
                )
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{index}: not a readable index ({error}); give an index.csv") from error
    samples = [_sample(index, line, row) for line, row in enumerate(rows, start=2)]
    _check_groups(index, samples)
    if split is not None:
        chosen = [s for s in samples if s.split == split]
        if not chosen:
            there = ", ".join(sorted({s.split for s in samples})) or "none at all"
            raise DataError(f"{index}: no photo has split {split!r}; there are {there}")
        return chosen
    return samples


def _sample(index: Path, line: int, row: dict[str, str | None]) -> Sample:
    where = f"{index}, line {line}"
    text = {column: (row[column] or "").strip() for column in COLUMNS}
    if text["domain"] not in DOMAINS:
        raise DataError(f"{where}: domain {text['domain']!r} is unknown; write one of {', '.join(DOMAINS)}")
    if not text["mask"] and text["domain"] != EMPTY:
        raise DataError(
            f"{where}: a {text['domain']} photo needs a mask; name one, or set the domain {EMPTY}"
        )
    image = index.parent / text["image"]
    mask = index.parent / text["mask"] if text["mask"] else None
    for path in (image, mask):
        if path is not None and not path.is_file():
            raise DataError(f"{where}: {path} is missing; restore it or take the line out")
    return Sample(image, mask, *(text[column] for column in COLUMNS[2:]))


def _check_groups(index: Path, samples: Iterable[Sample]) -> None:
    """A group (one person, one scene) in two splits would let training see the answers."""
    split_of: dict[str, str] = {}
    for sample in samples:
        if not sample.group:
            continue
        first = split_of.setdefault(sample.group, sample.split)
        if first != sample.split:
            raise DataError(
                f"{index}: group {sample.group!r} is in the splits {first!r} and "
                f"{sample.split!r}; keep it in one"
            )


def source_key(sample: Sample) -> str:
    """The name of a photo's source in a configuration: ``nyu``, or ``empty:nyu`` if person-free."""
    return f"{EMPTY}:{sample.source}" if sample.domain == EMPTY else sample.source

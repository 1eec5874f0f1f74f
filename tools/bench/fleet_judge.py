"""What a collector has of a fleet's masks, against what the daemons themselves have sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from gnetsegd.message import parse_header, unpack_mask

Key = tuple[int, int]


class Verdict(NamedTuple):
    """``wrong``: twice, out of order, never made, or another's pixels. ``uncounted_gaps``: missing, and not
    in the collector's count, or counted and not missing. ``judged``: masks that were compared."""

    wrong: int
    uncounted_gaps: int
    judged: int


def digest(message: bytes) -> tuple[Key, str]:
    """((session, sequence), of the labels, however many bits they have). ``MessageError`` for no mask."""
    header = parse_header(message)
    labels = unpack_mask(message[header.payload_offset :], header.format)
    return (header.session, header.sequence), hashlib.blake2b(labels.tobytes(), digest_size=8).hexdigest()


def judge(
    made: Mapping[str, Mapping[Key, str]],
    received: Mapping[str, Iterable[tuple[Key, str]]],
    counted: Mapping[str, int],
) -> Verdict:
    """By host: what was made; what came, in that order; how many the collector says were lost on the way.

    What came from before the reader of the truth was there is not compared.
    """
    wrong = uncounted = judged = 0
    for host, masks in received.items():
        truth, got = made.get(host, {}), dict[Key, str]()
        last: Key | None = None
        begins = dict[int, int]()
        for session, sequence in truth:
            begins[session] = min(sequence, begins.get(session, sequence))
        for key, labels in masks:
            if key[1] < begins.get(key[0], 0):
                continue
            judged += 1
            is_late = last is not None and last[0] == key[0] and key[1] <= last[1]
            wrong += is_late or key in got or truth.get(key) != labels
            got[key] = labels
            last = key
        missing = 0
        for session in {key[0] for key in got}:
            sequences = [key[1] for key in got if key[0] == session]
            span = range(min(sequences), max(sequences) + 1)
            missing += sum(key[0] == session and key[1] in span and key not in got for key in truth)
        uncounted += abs(missing - counted.get(host, 0))
    return Verdict(wrong, uncounted, judged)


def recorded(path: Path) -> tuple[dict[str, list[tuple[Key, str]]], int]:
    """(masks by host as they lie in the file, its channels), by the mcap library's ordinary reader."""
    from mcap.reader import make_reader

    found: dict[str, list[tuple[Key, str]]] = {}
    with path.open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        for _, channel, message in reader.iter_messages(log_time_order=False):
            host, kind, _ = channel.topic.split("/")
            if kind == "mask":
                found.setdefault(host, []).append(digest(message.data))
    return found, 0 if summary is None else len(summary.channels)

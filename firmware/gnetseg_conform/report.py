"""A run as a JSON object and as text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from gnetsegd.link.constants import MAJOR, MINOR
from gnetsegd.text import clean

from . import page

if TYPE_CHECKING:
    from .bench import Bench
    from .run import Result

_WIDTH = 24
NOT_PLAYED = (
    "not played: each needs a device that is set up as it says; give a --backend that makes one of its setup"
)


def describe(bench: Bench) -> dict[str, Any]:
    """Who the device is, as far as it says; its words are cleaned."""
    about: dict[str, Any] = {"serial": clean(bench.wire.serial)}
    try:
        told = bench.capabilities()
    except Exception:  # whatever a device or a foreign backend does: the cases will tell
        return about
    return about | {
        "firmware": told.firmware, "version": f"{told.major}.{told.minor}", "slots": told.slots,
        "model": told.model.sha256.hex() if told.model else "",
    }  # fmt: skip


def as_json(
    about: dict[str, Any], results: list[Result], transcripts: dict[str, str] | None, left: str
) -> dict[str, Any]:
    """The whole run. ``transcripts`` is None where none was played; ``left``: why nothing works."""
    counts = Counter(result.outcome for result in results)
    broken = {name: words for name, words in (transcripts or {}).items() if words}
    return {
        "page": page.NAME,
        "version": f"{MAJOR}.{MINOR}",
        "device": about,
        "passed": not (counts["failed"] or broken or left),
        "counts": {name: counts[name] for name in ("passed", "failed", "advised", "skipped")},
        "usable": not left,
        "left": left,
        "transcripts": {
            "played": len(transcripts or {}),
            "failed": broken,
            "words": "" if transcripts is not None else NOT_PLAYED,
        },
        "cases": [result.as_json() for result in results],
    }


def as_text(report: dict[str, Any]) -> str:
    """For people: a line for each case, and what failed with its place on the page."""
    about = report["device"]
    lines = [
        f"{about.get('serial') or 'a device'} ({about.get('firmware') or 'no name'}, version "
        f"{about.get('version', 'unknown')}), held against {report['page']} {report['version']}",
        "",
    ]
    for case in report["cases"]:
        word = case["outcome"].upper() if case["outcome"] in ("failed", "advised") else case["outcome"]
        lines.append(f"{word:8} {case['name']:{_WIDTH}} {case['sentence']}")
        if case["words"]:
            lines.append(f"{'':8} {'':{_WIDTH}} {case['words']}")
        if case["outcome"] in ("failed", "advised"):
            place = f"{report['page']}:{case['line']}, {case['heading']}"
            lines.append(f"{'':8} {'':{_WIDTH}} {place}: \u201c{case['quote']}\u201d")
    transcripts = report["transcripts"]
    lines += [f"FAILED   transcript {name}: {words}" for name, words in transcripts["failed"].items()]
    counts = ", ".join(f"{number} {word}" for word, number in report["counts"].items() if number)
    played = transcripts["words"] or f"{transcripts['played']} played, {len(transcripts['failed'])} failed"
    works = "the device works" if report["usable"] else f"THE DEVICE DOES NOT WORK: {report['left']}"
    lines += ["", f"cases: {counts}", f"transcripts: {played}", works]
    return "\n".join(lines)


def faults_as_text(report: dict[str, Any]) -> str:
    """For people: which case catches which fault."""
    lines = []
    for name, result in report["faults"].items():
        lines.append(f"{'caught' if result['caught'] else 'MISSED':8} {name}")
        lines += [f"{'':8} {'':4} {case}: {words}" for case, words in result["cases"].items()]
    for name, result in report["allowed"].items():
        lines.append(f"{'passes' if result['passed'] else 'FAILED':8} {name}: {result['why']}")
        lines += [f"{'':8} {'':4} {case}: {words}" for case, words in result["failed"].items()]
    lines += [f"{'foreign':8} {name}: {why}" for name, why in report["not_the_devices"].items()]
    lines += [
        "",
        f"faults: {report['caught']} caught, {len(report['missed'])} missed, {len(report['allowed'])} "
        f"allowed, {len(report['not_the_devices'])} not the device's",
    ]
    return "\n".join(lines)

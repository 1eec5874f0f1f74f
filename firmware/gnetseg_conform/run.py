"""Goes through the cases and leaves a device that works."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gnetsegd.link.constants import Request
from gnetsegd.text import clean

from . import cases_descriptors, cases_frames, cases_refusals, cases_requests, cases_upload, page
from .guard import in_words
from .registry import CASES, Case
from .verdict import Broken, Gone, Skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .bench import Bench

_MODULES = (cases_descriptors, cases_requests, cases_frames, cases_refusals, cases_upload)
#: Every case, in the order in which they are run: what the others build on comes first.
ORDER = [case for module in _MODULES for case in CASES.values() if case.check.__module__ == module.__name__]
#: After so many cases in a row behind which the device could not be brought back, the rest is not tried.
MAX_DEAD = 3
_WORDS = 400
#: Bits a pixel for a HELLO that only has to be accepted; 0 asks what is offered.
_ANY_BITS = 0


@dataclass(frozen=True, slots=True)
class Result:
    """How a case ended: ``outcome`` is passed, failed, advised (only a SHOULD is missed) or skipped."""

    case: Case
    outcome: str
    words: str = ""

    def as_json(self) -> dict[str, Any]:
        case = self.case
        return {
            "name": case.name, "outcome": self.outcome, "words": self.words, "sentence": case.sentence,
            "heading": case.heading, "line": page.line_of(case.heading, case.quote), "quote": case.quote,
        }  # fmt: skip


def check(bench: Bench, case: Case) -> Result:
    """Run one case. Never raises what a device can bring about."""
    if case.changes and not bench.destructive:
        return Result(case, "skipped", f"destructive ({case.changes}); ask for it with --destructive")
    try:
        case.check(bench)
    except Skip as skip:
        return Result(case, "skipped", clean(str(skip), _WORDS))
    except Broken as broken:
        return Result(case, "advised" if case.should else "failed", clean(str(broken), _WORDS))
    except Exception as error:  # whatever bytes a device has sent, the run goes on
        words = f"what the device sent could not be judged: {in_words(error)}"
        return Result(case, "failed", clean(words, _WORDS))
    return Result(case, "passed")


def climb(bench: Bench) -> str:
    """After a case that failed: up the page's ladder until HELLO is accepted; "" or why it is not."""

    def soft_reset() -> None:
        bench.tell(Request.SOFT_RESET)

    why = ""
    for step in (bench.wire.clear_halts, soft_reset, bench.wire.reset):
        why = _attempt(bench, step) or _attempt(bench, lambda: bench.hello(_ANY_BITS))
        if not why or bench.wire.away:
            break
    return why


def _attempt(bench: Bench, step: Callable[[], None]) -> str:
    """ "" if it went well, else why not; a device that has left the bus is waited for."""
    try:
        step()
    except Exception as error:  # whatever it is, the next step is tried
        if isinstance(error, Gone):
            bench.wire.find_again()
        return clean(str(error), _WORDS) if isinstance(error, Broken) else in_words(error)
    return ""


def run(bench: Bench, cases: Iterable[Case]) -> Iterator[Result]:
    """Each case in turn; one that fails is followed by the ladder, so that the next one is not its victim."""
    dead = 0
    for case in cases:
        if dead >= MAX_DEAD:
            yield Result(case, "skipped", "the device cannot be brought back; power it off and on")
            continue
        result = check(bench, case)
        if result.outcome == "failed":
            dead = dead + 1 if climb(bench) else 0
        yield result


def leave(bench: Bench) -> str:
    """SOFT_RESET, HELLO and a frame, climbing where that is needed; "" if it works, else what does not.

    Then SOFT_RESET again: no session is left behind.
    """

    def works() -> None:
        bench.tell(Request.SOFT_RESET)
        with contextlib.suppress(Skip):  # no model, or none that fits: then it serves no frame
            bench.serve(bench.session())

    words = _attempt(bench, works)
    if words and not bench.wire.away:
        climb(bench)
        words = _attempt(bench, works)
    if not bench.wire.away:
        _attempt(bench, lambda: bench.tell(Request.SOFT_RESET))
    return words


def chosen(names: Iterable[str]) -> list[Case]:
    """The cases of these names, all without one; ``KeyError`` with the name that is none."""
    wanted = set(names)
    for name in wanted:
        if name not in CASES:
            raise KeyError(name)
    return [case for case in ORDER if not wanted or case.name in wanted]

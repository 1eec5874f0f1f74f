"""The list of cases: each is a function of ``Bench`` whose first line of docstring is its sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bench import Bench


@dataclass(frozen=True, slots=True)
class Case:
    """One demand of docs/protocol.md.

    ``heading`` and ``quote`` are where the page says it. ``catches`` names the faults of
    ``gnetseg_device.faults`` that this case is for. ``changes`` says what a *destructive* case changes on the
    device, "" for one that leaves everything as it is. ``should``: the page only advises it,
    or no host that does as the page says can see it.
    """

    name: str
    sentence: str
    heading: str
    quote: str
    check: Callable[[Bench], None]
    catches: tuple[str, ...] = ()
    changes: str = ""
    should: bool = False


CASES: dict[str, Case] = {}


def case(
    heading: str, quote: str, *, catches: tuple[str, ...] = (), changes: str = "", should: bool = False
) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Enter the function in ``CASES``, under its name with hyphens."""

    def enter(check: Callable[[Bench], None]) -> Callable[[Bench], None]:
        name = check.__name__.replace("_", "-")
        assert name not in CASES, name
        sentence = re.sub(r"\s+", " ", (check.__doc__ or "").partition("\n\n")[0]).strip()
        CASES[name] = Case(name, sentence, heading, quote, check, catches, changes, should)
        return check

    return enter

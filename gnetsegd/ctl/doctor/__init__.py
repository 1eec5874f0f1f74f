"""``gnetsegctl doctor``: what keeps masks from coming on this machine, and what to type against it.

A check is a function that looks at a ``Case`` and yields faults. It takes its facts from a ``Machine`` alone,
so that faults can be planted. What cannot be found out is no fault: of a sound machine nothing is said.
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """``name`` for programs; ``text`` says what is wrong, ``remedy`` what to type or do."""

    name: str
    text: str
    remedy: str

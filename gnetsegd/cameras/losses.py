"""Pictures that a source lost: counted by kind, and told rarely."""

from __future__ import annotations

import logging

from ..quiet import Quiet

#: What decodes with errors, or only by making up what is missing.
DAMAGED = "damaged"
#: What ends before its end.
CUT = "cut"
#: What is whole, but was made from pictures that are lost.
DEPENDENT = "dependent"
#: A file of a folder, or a place of a file, that cannot be read.
UNREADABLE = "unreadable"
#: What the driver itself says is bad.
DRIVER = "driver"
#: Passed over, because the decoder was too slow for them.
BEHIND = "behind"


class Losses:
    """``counts`` is by kind, one of the words above; other threads may read it, one writes."""

    def __init__(self, log: logging.Logger) -> None:
        self.counts: dict[str, int] = {}
        self._log = log
        self._quiet = Quiet()
        self._said = ""

    def add(self, kind: str, words: str, pictures: int = 1) -> None:
        """``pictures`` more are lost; ``words`` for people say which and why."""
        self.counts[kind] = self.counts.get(kind, 0) + pictures
        if kind != DEPENDENT and self._quiet.may_say(again=words == self._said):
            self._said = words
            self._log.warning("%s%s", words, self._quiet.left_out())

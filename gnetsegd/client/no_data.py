"""That there is no mask to go by, and why: no data is not an empty mask."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import TransientError
from ..message import STATES

#: What ``NoData.why`` may say besides a state of the daemon that is not ``running``; a later version may
#: add to them.
WHYS = (
    "silent",
    "not-permitted",
    "no-keys",
    "wrong-server-key",
    "wrong-camera",
    "no-status",
    "no-mask",
    "restarted",
    "stale",
    "clock",
    "no-info",
    "not-running",
    *(state for state in STATES if state != "running"),
)


@dataclass(frozen=True, slots=True)
class NoData:
    """There is no mask to go by.

    Attributes
    ----------
    why : one of ``WHYS``, for programs
    reason : one sentence for people
    age_s : seconds since the newest mask's picture was exposed; None if none came yet
    """

    why: str
    reason: str
    age_s: float | None = None


class NoDataError(TransientError):
    """The masks have stopped. ``no_data`` says why."""

    def __init__(self, no_data: NoData) -> None:
        super().__init__(f"no masks: {no_data.reason}")
        self.no_data = no_data


class NoInfoError(TransientError):
    """The daemon's ``info`` for this mask has not come: which labels are persons is not known."""

"""How a transfer ends, whatever the transport: in counts, or in one of these reasons."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Reason(Enum):
    """Why a transfer failed."""

    NO_DEVICE = "no device"
    TIMEOUT = "timeout"
    STALL = "stall"
    OVERFLOW = "overflow"
    NO_MEMORY = "out of memory"
    PERMISSION = "permission"
    BUSY = "busy"
    CANCELLED = "cancelled"


class TransferError(Exception):
    """A transfer failed; ``count`` bytes had passed before."""

    def __init__(self, reason: Reason, count: int = 0) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.count = count


class Cancel:
    """Given to a transfer, so that ``Port.cancel`` can end it."""

    __slots__ = ("wanted",)

    def __init__(self) -> None:
        self.wanted = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where on the host's buses a device sits."""

    bus: int
    port: int
    address: int

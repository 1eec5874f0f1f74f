"""The pace of an emulated USB bus and of an emulated chip.

Everything is planned in absolute times of CLOCK_MONOTONIC, from the moment that a thing *could* have
begun, never from the moment that a thread woke up: so a late wake-up delays one transfer and not
those after it.
"""

from __future__ import annotations

import ctypes
import threading
import time

_PR_SET_TIMERSLACK = 29
#: A sleep ends so much too late, at times: the last bit is waited for awake, first letting other
#: threads run, then not.
_YIELD_S = 100e-6
_SPIN_S = 15e-6
_local = threading.local()


def wait_until(deadline: float) -> None:
    """Until ``deadline`` (s, ``time.monotonic``), to some 0.02 ms where a core is free."""
    if not getattr(_local, "sharp", False):
        # Linux lets each thread's timers be 50 us late by default; ask for 1 ns.
        _local.sharp = True
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        if prctl is not None:
            prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)
    left = deadline - time.monotonic()
    while left > _YIELD_S:
        time.sleep(left - _YIELD_S)
        left = deadline - time.monotonic()
    while left > 0:
        if left > _SPIN_S:
            time.sleep(0)
        left = deadline - time.monotonic()


class Bus:
    """A half-duplex bus: one transfer at a time, in the order asked for, at ``mbytes_per_s``.

    0 is no emulation: a transfer takes no time. 1 Mbyte is 10**6 bytes.
    """

    def __init__(self, mbytes_per_s: float) -> None:
        self._seconds_per_byte = 1e-6 / mbytes_per_s if mbytes_per_s else 0.0
        self._free_at = 0.0

    def reserve(self, earliest: float, size: int) -> float:
        """Plan ``size`` bytes, not before ``earliest``; when they will have passed. Call it under a lock."""
        if not self._seconds_per_byte:
            return earliest
        self._free_at = max(earliest, self._free_at) + size * self._seconds_per_byte
        return self._free_at


class Chip:
    """A chip that computes one frame after another, ``compute_s`` each; 0 is no emulation."""

    def __init__(self, compute_s: float) -> None:
        self.compute_s = compute_s
        self._free_at = 0.0

    def reserve(self, arrived: float, factor: float = 1.0) -> float:
        """Plan a frame that came at ``arrived``; when its mask will be there. Call it under a lock."""
        if not self.compute_s and factor == 1.0:
            return arrived
        # A chip that is to be slow is slow, even if its speed is not emulated otherwise.
        each = self.compute_s if factor == 1.0 else max(self.compute_s, 0.005) * factor
        self._free_at = max(arrived, self._free_at) + each
        return self._free_at

    def reset(self) -> None:
        """Whatever it computed is of no use any more."""
        self._free_at = 0.0

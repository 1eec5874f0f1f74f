"""Time for cameras: the clock they read and wait on, replaceable so that tests need no waiting."""

from __future__ import annotations

import time
from typing import Protocol

from ..errors import CameraStalled, ConfigError

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """CLOCK_MONOTONIC, or a test's own time."""

    def now_ns(self) -> int: ...

    def sleep_until(self, deadline_ns: int) -> None: ...


class MonotonicClock:
    """The real one."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, deadline_ns: int) -> None:
        while (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / NS_PER_S)


def wait_until(clock: Clock, due_ns: int, timeout_s: float, what: str, begun_ns: int | None = None) -> None:
    """Sleep until ``due_ns``; ``CameraStalled`` after ``timeout_s`` when it is further away.

    ``begun_ns`` is when the ``timeout_s`` began, None for now.
    """
    limit_ns = (clock.now_ns() if begun_ns is None else begun_ns) + int(timeout_s * NS_PER_S)
    if due_ns > limit_ns:
        clock.sleep_until(limit_ns)
        raise CameraStalled(f"{what}: no frame is due within {timeout_s:g} s; raise camera.stall_timeout_s")
    clock.sleep_until(due_ns)


def check_rate(fps: float, timeout_s: float, what: str) -> None:
    """``ConfigError`` for a rate that could never satisfy the stall timeout."""
    if fps > 0 and 1 / fps > timeout_s:
        raise ConfigError(
            f"{what}: {fps:g} frames per second come less often than every {timeout_s:g} s; "
            "raise camera.fps or camera.stall_timeout_s"
        )

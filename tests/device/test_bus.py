"""The emulated pace is that of the bus and the chip that were asked for, planned without error."""

from __future__ import annotations

import time

import pytest
from gnetseg_device.bus import Bus, Chip, wait_until

MESSAGE = 50208  # one 224x224 frame, or its 8-bit mask, with the header


def serial_fps(mbytes_per_s: float, compute_s: float, answer: int = MESSAGE, frames: int = 100) -> float:
    bus, chip, now = Bus(mbytes_per_s), Chip(compute_s), 0.0
    for _ in range(frames):
        now = bus.reserve(chip.reserve(bus.reserve(now, MESSAGE)), answer)
    return frames / now


def pipelined_fps(mbytes_per_s: float, compute_s: float, answer: int = MESSAGE, frames: int = 2000) -> float:
    """Three frames in flight: the next goes out as soon as an answer has come in."""
    bus, chip, end = Bus(mbytes_per_s), Chip(compute_s), 0.0
    ready: list[float] = []
    for number in range(frames):
        if number >= 3:
            end = bus.reserve(ready.pop(0), answer)
        ready.append(chip.reserve(bus.reserve(end, MESSAGE)))
    return frames / end


def test_26_mbytes_per_s_and_1_4_ms_in_series_is_the_papers_rate() -> None:
    assert serial_fps(26, 0.0014) == pytest.approx(189.87, rel=0.05)


def test_in_a_pipeline_the_slower_of_bus_and_chip_is_the_bound() -> None:
    bound = 26e6 / (2 * MESSAGE)
    assert pipelined_fps(26, 0.0014) == pytest.approx(bound, rel=0.02)
    assert pipelined_fps(53.2, 0.0024) == pytest.approx(1 / 0.0024, rel=0.02)


def test_the_bus_is_half_duplex_one_transfer_at_a_time() -> None:
    bus = Bus(1)
    assert bus.reserve(0.0, 1000) == pytest.approx(0.001)
    assert bus.reserve(0.0, 1000) == pytest.approx(0.002)
    assert bus.reserve(1.0, 1000) == pytest.approx(1.001)


def test_a_thread_that_woke_up_late_delays_its_own_transfer_only() -> None:
    bus = Bus(1)
    for index in range(1000):
        # The answer could have begun at once; that the thread came late does not count.
        assert bus.reserve(0.0, 1000) == pytest.approx((index + 1) * 0.001)


def test_without_a_rate_nothing_is_emulated() -> None:
    assert Bus(0).reserve(5.0, 10**9) == 5.0
    assert Chip(0).reserve(5.0) == 5.0


def test_a_slow_chip_is_slow_even_if_its_speed_is_not_emulated() -> None:
    assert Chip(0).reserve(0.0, 10.0) == pytest.approx(0.05)
    assert Chip(0.02).reserve(0.0, 10.0) == pytest.approx(0.2)


def test_a_wait_never_ends_early() -> None:
    for microseconds in (0, 10, 100, 1400):
        deadline = time.monotonic() + microseconds * 1e-6
        wait_until(deadline)
        assert time.monotonic() >= deadline

"""On and off come late enough to be true, and what is not known is never clear."""

from __future__ import annotations

import numpy as np
import pytest

from gnetsegd.services.presence.config import OccupancyConfig
from gnetsegd.services.presence.occupancy import GAP_NS, Occupancy

SECOND = 1_000_000_000
CONFIG = OccupancyConfig(on_share=0.02, off_share=0.01, on_after_frames=3, off_after_s=10.0)


class Played:
    """Masks at 10 a second; ``log`` has each change and when it came, in s."""

    def __init__(self, config: OccupancyConfig = CONFIG) -> None:
        self.zone = Occupancy(config)
        self.now_ns = 0
        self.log: list[tuple[float, bool | None]] = []

    def play(self, share: float, frames: int = 1) -> Played:
        for _ in range(frames):
            self.now_ns += SECOND // 10
            if self.zone.add(share, self.now_ns):
                self.log.append((self.now_ns / SECOND, self.zone.occupied))
        return self


def test_at_first_nothing_is_known() -> None:
    played = Played()
    assert played.zone.occupied is None
    assert played.play(0.5, 2).zone.occupied is None
    assert played.play(0.5).log == [(pytest.approx(0.3), True)]


def test_an_empty_zone_is_clear_after_as_many_frames() -> None:
    assert Played().play(0.0, 5).log == [(pytest.approx(0.3), False)]


def test_between_the_two_shares_nobody_has_come_and_whoever_is_there_stays() -> None:
    played = Played().play(0.015, 50)
    assert played.log == [(pytest.approx(0.3), False)]
    played.play(0.5, 3).play(0.015, 1000)
    assert played.zone.occupied is True


def test_one_or_two_frames_turn_nothing_on() -> None:
    played = Played().play(0.0, 3)
    for _ in range(20):
        played.play(0.9, 2).play(0.0, 1)
    assert [occupied for _, occupied in played.log] == [False]


def test_off_comes_after_its_time_and_not_before() -> None:
    played = Played().play(0.5, 3)
    played.play(0.0, 99)
    assert played.zone.occupied is True
    played.play(0.0, 1)
    assert played.log[-1] == (pytest.approx(10.3), False)


def test_whoever_is_seen_now_and_then_stays() -> None:
    """Ten minutes of a person of whom the network sees nothing in nine of ten frames."""
    played, random = Played().play(0.2, 3), np.random.default_rng(1)
    for _ in range(6000):
        played.play(0.2 if random.random() < 0.1 else 0.0)
    assert played.log == [(pytest.approx(0.3), True)]


def test_time_without_masks_is_none_in_which_nobody_was_there() -> None:
    played = Played().play(0.5, 3)
    played.now_ns += 3600 * SECOND
    played.play(0.0, 99)
    assert played.zone.occupied is True
    played.play(0.0, 2)
    assert played.zone.occupied is False
    played.play(0.5, 2)
    played.now_ns += GAP_NS
    played.play(0.5, 1)
    assert played.zone.occupied is False, "these were not in a row"


def test_a_clock_that_goes_back_is_a_gap() -> None:
    played = Played().play(0.5, 3)
    played.now_ns = 0
    played.play(0.0, 50)
    assert played.zone.occupied is True


def test_what_is_forgotten_is_not_known_and_is_told_anew() -> None:
    played = Played().play(0.5, 3)
    played.zone.forget()
    assert played.zone.occupied is None
    played.play(0.5, 3)
    assert [occupied for _, occupied in played.log] == [True, True]


def test_a_slow_camera_has_a_row_of_its_own() -> None:
    zone = Occupancy(CONFIG)
    for number in range(3):
        zone.add(0.5, number * 5 * SECOND, gap_ns=15 * SECOND)
    assert zone.occupied is True


def test_without_a_lower_share_an_empty_zone_is_still_clear() -> None:
    played = Played(OccupancyConfig(off_share=0.0, on_after_frames=1, off_after_s=0.0))
    played.play(0.5).play(0.0)
    assert played.zone.occupied is False

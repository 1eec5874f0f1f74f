"""How late a packet is, by the fastest one; times that begin anew are none."""

from __future__ import annotations

import pytest

from gnetsegd.cameras.network_lag import Lag
from gnetsegd.cameras.pacing import NS_PER_S

STEP_NS = NS_PER_S // 25


def lags_s(own_s: list[float], arrived_s: list[float], by_rtcp: bool = False) -> list[float]:
    lag, found = Lag(), []
    for own, arrived in zip(own_s, arrived_s, strict=True):
        own_ns, arrived_ns = (round(each * NS_PER_S) for each in (own + 1000, arrived + 5))
        sent_ns, video_ns = (own_ns, 0) if by_rtcp else (0, own_ns)
        found.append(lag.take(sent_ns, video_ns, arrived_ns) / NS_PER_S)
        assert not lag.is_behind
    return found


def test_a_packet_that_comes_late_is_late_by_so_much() -> None:
    assert lags_s([0, 1, 2, 3], [0.5, 1.5, 2.9, 3.5]) == pytest.approx([0, 0, 0.4, 0], abs=0.15)
    assert lags_s([0, 1, 2, 3], [0.5, 1.5, 2.9, 3.5], True) == pytest.approx([0, 0, 0.4, 0], abs=0.01)


@pytest.mark.parametrize("jump", [-500.0, 12.0, 4000.0])
def test_a_time_that_begins_anew_makes_nothing_late(jump: float) -> None:
    own = [each + (jump if each >= 5 else 0) for each in range(10)]
    assert max(lags_s(own, [float(each) for each in range(10)])) < 0.1


def test_a_camera_that_counts_a_rate_which_it_does_not_reach_is_not_behind() -> None:
    """It says 25 a second, and gives 24."""
    lag = Lag()
    for number in range(24 * 3600):
        lag.take(0, number * NS_PER_S // 25, number * NS_PER_S // 24)
    assert lag.lag_ns < NS_PER_S
    assert not lag.is_behind


def test_one_that_falls_behind_is_behind_only_after_a_while() -> None:
    lag, since = Lag(), None
    for number in range(25 * 20):
        arrived_ns = 2 * number * STEP_NS
        lag.take(0, number * STEP_NS, arrived_ns)
        if lag.is_behind:
            since = arrived_ns / NS_PER_S
            break
    assert since is not None
    assert 8 <= since < 10


def test_a_stream_that_begins_to_tell_its_wall_clock_is_as_late_as_it_was() -> None:
    lag = Lag()
    lag.take(0, 0, 0)
    assert lag.take(0, STEP_NS, 2 * STEP_NS) == pytest.approx(STEP_NS, rel=0.2)
    assert lag.take(10**18, 2 * STEP_NS, 3 * STEP_NS) == pytest.approx(STEP_NS, rel=0.2)

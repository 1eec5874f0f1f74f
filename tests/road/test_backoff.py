"""Pauses grow and are capped; only service that lasted makes the failures before forgotten."""

from __future__ import annotations

import pytest

from gnetsegd.quiet import Quiet
from gnetsegd.road import backoff
from gnetsegd.road.backoff import Backoff


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(backoff.time, "monotonic", lambda: now[0])
    return now


def test_the_pause_doubles_up_to_its_limit(clock: list[float]) -> None:
    pauses = Backoff(1.0)
    assert pauses.remaining_s() == 0
    seen = []
    for _ in range(6):
        pauses.failed(0.0)
        seen.append(round(pauses.remaining_s(), 3))
    assert seen == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    clock[0] += 1.5
    assert pauses.remaining_s() == 0


@pytest.mark.usefixtures("clock")
def test_what_a_person_has_to_mend_is_tried_at_the_slowest_rate_at_once() -> None:
    pauses = Backoff(10.0)
    pauses.failed(0.0, slow=True)
    assert pauses.remaining_s() == 10.0


@pytest.mark.usefixtures("clock")
def test_what_must_be_tried_rarely_is_whatever_the_longest_pause_is() -> None:
    pauses = Backoff(1.0)
    pauses.failed(0.0, least_s=60.0)
    assert pauses.remaining_s() == 60.0
    pauses.failed(0.0)
    assert round(pauses.remaining_s(), 3) == 0.2


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("served_s", "pause_s"), [(0.0, 0.8), (0.99, 0.8), (1.0, 0.1), (60.0, 0.1)])
def test_one_good_frame_is_no_stable_service(served_s: float, pause_s: float) -> None:
    pauses = Backoff(1.0)
    for _ in range(3):
        pauses.failed(0.0)
    pauses.failed(served_s)
    assert round(pauses.remaining_s(), 3) == pause_s


@pytest.mark.usefixtures("clock")
def test_thousands_of_failures_do_not_overflow() -> None:
    pauses = Backoff(600.0)
    for _ in range(5000):
        pauses.failed(0.0)
    assert pauses.remaining_s() == 600.0


def test_a_log_that_is_talked_at_all_day_has_a_few_lines_an_hour_and_says_how_many_it_left_out() -> None:
    now = [0.0]
    quiet = Quiet(clock=lambda: now[0])
    said = 0
    words = ""
    while now[0] < 3600:
        if quiet.may_say():
            said += 1
            words = quiet.left_out()
        now[0] += 0.5
    assert said <= 6 + 9
    assert "799 lines like this were left out" in words
    now[0] += 24 * 3600
    assert [quiet.may_say() for _ in range(8)] == [True] * 6 + [False] * 2


def test_a_line_that_waits_to_be_written_is_counted_once() -> None:
    now = [0.0]
    quiet = Quiet(burst_lines=1, clock=lambda: now[0])
    assert quiet.may_say()
    assert not quiet.may_say()
    while not quiet.may_say(waits=True):
        now[0] += 1.0
    assert quiet.left_out() == "", "it was written in the end"
    assert not quiet.may_say()
    assert not quiet.may_say(waits=True)
    assert not quiet.may_say()
    now[0] += 1000.0
    assert quiet.may_say()
    assert quiet.left_out() == " (2 lines like this were left out)"

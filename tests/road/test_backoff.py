"""Pauses grow and are capped, success resets them, and the log does not repeat itself."""

from __future__ import annotations

import logging

import pytest

from gnetsegd.road import backoff
from gnetsegd.road.backoff import LOUD_ATTEMPTS, QUIET_EVERY, Backoff


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(backoff.time, "monotonic", lambda: now[0])
    return now


def test_the_pause_doubles_up_to_its_cap_and_success_resets_it(clock: list[float]) -> None:
    pauses = Backoff(logging.getLogger("test"), "thing", 1.0)
    seen = []
    for _ in range(6):
        pauses.failed(RuntimeError("no"))
        seen.append(round(pauses.remaining_s(), 3))
    assert seen == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    clock[0] += 0.7
    assert pauses.remaining_s() == pytest.approx(0.3)
    pauses.succeeded()
    assert pauses.remaining_s() == 0.0
    pauses.failed(RuntimeError("no"))
    assert pauses.remaining_s() == pytest.approx(0.1)


def test_what_only_a_person_can_mend_is_tried_at_the_slowest_rate(clock: list[float]) -> None:
    pauses = Backoff(logging.getLogger("test"), "thing", 5.0)
    pauses.failed(RuntimeError("no"), slow=True)
    assert pauses.remaining_s() == pytest.approx(5.0)
    assert clock


def test_the_log_says_it_a_few_times_and_then_rarely(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Backoff(logging.getLogger("test"), "thing", 1.0)
    for _ in range(QUIET_EVERY):
        pauses.failed(RuntimeError("it is gone"))
    assert len(caplog.records) == LOUD_ATTEMPTS + 1
    assert "thing: it is gone" in caplog.text
    pauses.succeeded()
    assert f"back after {QUIET_EVERY} failed attempts" in caplog.text
    assert clock

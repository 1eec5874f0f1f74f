"""With nobody there the network rests at once and the camera after a while; a subscriber wakes both."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gnetsegd.config import IdleConfig
from gnetsegd.process.attention import Attention

from .fakes import CAMERA, Road


def follow(idle: IdleConfig | None = None, road: Road | None = None) -> tuple[Any, Any]:
    made: Any = road or Road()
    attention = Attention(made, 100.0)
    settings = idle or IdleConfig()
    return made, lambda now: attention.follow(settings, now)


def test_the_network_rests_at_once_and_the_camera_after_linger_s() -> None:
    road, at = follow()
    road.publisher.watched = False
    at(100.0)
    assert (road.wanted, road.awake) == (False, True)
    at(160.0)
    assert road.awake
    at(160.1)
    assert not road.awake
    road.publisher.watched = True
    at(500.0)
    assert (road.wanted, road.awake) == (True, True)
    road.publisher.watched = False
    at(559.0)
    assert road.awake, "counted from the last subscriber"
    at(560.1)
    assert not road.awake
    assert road.told == [("awake", False), ("awake", True), ("awake", False)], "each is said once"


@pytest.mark.parametrize(
    ("idle", "wanted", "awake"),
    [
        (IdleConfig(rest=False, sleep=False), True, True),
        (IdleConfig(rest=True, sleep=False), False, True),
        (IdleConfig(rest=False, sleep=True), True, False),
        (IdleConfig(linger_s=0.0), False, False),
    ],
)
def test_rest_and_sleep_may_be_switched_off_each_by_itself(
    idle: IdleConfig, wanted: bool, awake: bool
) -> None:
    road, at = follow(idle)
    road.publisher.watched = False
    for now in (100.0, 100.1, 10_000.0):
        at(now)
    assert (road.wanted, road.awake) == (wanted, awake)
    road.publisher.watched = True
    at(10_000.1)
    assert (road.wanted, road.awake) == (True, True)


def test_a_source_that_would_begin_anew_does_not_sleep() -> None:
    road, at = follow()
    road.camera.info = CAMERA._replace(may_sleep=False)
    road.publisher.watched = False
    at(100.0)
    at(10_000.0)
    assert (road.wanted, road.awake) == (False, True)


@pytest.mark.parametrize(("state", "attempts"), [("opening", 0), ("lost", 5)])
def test_a_camera_that_was_not_tried_yet_or_is_missing_is_told_and_not_put_to_sleep(
    state: str, attempts: int
) -> None:
    road, at = follow()
    road.publisher.watched = False
    road.camera.state, road.camera.attempts, road.camera.info = state, attempts, None
    at(100.0)
    at(10_000.0)
    assert road.awake
    road.camera.state, road.camera.attempts, road.camera.info = "streaming", 6, CAMERA
    at(10_060.0)
    assert road.awake
    at(10_060.1)
    assert not road.awake, "once it is there it may sleep as any other"


def test_asleep_is_when_nothing_is_left_to_do() -> None:
    road: Any = Road()
    attention = Attention(road, 0.0)
    assert not attention.asleep
    road.camera.state = "sleeping"
    assert not attention.asleep, "a last frame may still be under way"
    road.pipeline.resting = True
    assert attention.asleep


def test_a_peer_that_comes_and_goes_all_day_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gnetsegd")
    road, at = follow(IdleConfig(linger_s=0.0))
    for number in range(1000):
        road.publisher.watched = number % 2 == 0
        at(float(number))
    assert len(road.told) > 900
    assert 1 <= len(caplog.records) <= 10

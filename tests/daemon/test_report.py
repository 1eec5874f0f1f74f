"""``info`` and ``status`` at once when something changes, else at their interval; the log bounded."""

from __future__ import annotations

import dataclasses
import logging
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from gnetsegd.config import Config
from gnetsegd.message import INFO_FIELDS, STATUS_FIELDS
from gnetsegd.model import load_bundle
from gnetsegd.process.networks import Bundles
from gnetsegd.process.parts import Setup
from gnetsegd.process.report import CHANGES_APART_S, Reporter
from gnetsegd.quiet import Quiet

from .conftest import MODELS
from .fakes import CAMERA, MODEL, Road, Systemd


@pytest.fixture
def talk() -> Any:
    """A reporter that tells each second, its road, and what systemd heard."""
    road, systemd = Road(), Systemd()
    reporter = Reporter(road, systemd, lambda: talk.setup)  # type: ignore[arg-type]

    def tick(now: float, ready: bool = True, achieved: bool = True) -> bool:
        return reporter.tick(now, ready, achieved)

    bundle = load_bundle(str(MODELS / "threshold-32"))
    setup = Setup(Config(), Bundles(bundle, bundle))
    talk = SimpleNamespace(road=road, systemd=systemd, tick=tick, out=road.publisher, setup=setup)
    talk.reporter = reporter
    return talk


def test_without_a_change_it_tells_at_each_interval_and_says_so(talk: Any) -> None:
    told = [now / 10 for now in range(1000, 1051) if talk.tick(now / 10)]
    assert told == [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]
    assert len(talk.out.statuses) == len(talk.out.infos) == 6


CHANGES = {
    "the state": lambda road: setattr(road.camera, "state", "lost"),
    "the backend": lambda road: setattr(
        road.pipeline, "info", dataclasses.replace(MODEL, backend="usb", fallback=True)
    ),
    "what the camera shows": lambda road: setattr(road.camera, "info", CAMERA._replace(fps=5.0)),
    "who may read": lambda road: road.publisher.keys.append("0123456789abcdef"),
    "who watches": lambda road: setattr(road.publisher, "watched", False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_told_at_once_and_only_once(talk: Any, what: str) -> None:
    talk.tick(100.0)
    CHANGES[what](talk.road)
    assert not talk.tick(100.1), "the interval goes on as before"
    assert len(talk.out.statuses) == 2
    assert len(talk.out.infos) == 1 + (what in ("the backend", "what the camera shows"))
    talk.tick(100.2)
    assert len(talk.out.statuses) == 2
    assert talk.tick(101.0)


def test_a_reload_that_changes_the_words_of_a_network_alone_is_told_at_once(talk: Any) -> None:
    talk.tick(100.0)
    other = attrs.evolve(talk.setup.bundles.main, title="The same, in other words")
    talk.setup = talk.setup._replace(bundles=Bundles(other, other))
    talk.tick(100.1)
    assert [info["model"]["title"] for info in talk.out.infos][1:] == ["The same, in other words"]


def test_a_changed_info_is_told_once_more_to_who_was_just_subscribing(talk: Any) -> None:
    talk.setup = talk.setup._replace(
        config=attrs.evolve(
            talk.setup.config, publish=attrs.evolve(talk.setup.config.publish, status_interval_s=60.0)
        )
    )
    for now in range(1000, 1051):
        talk.tick(now / 10)
    assert len(talk.out.infos) == 2
    assert len(talk.out.statuses) == 1


def test_to_become_ready_is_a_change(talk: Any) -> None:
    talk.tick(100.0, ready=False)
    talk.tick(100.1, ready=True)
    assert [status["state"] for status in talk.out.statuses] == ["starting", "running"]


def test_a_storm_of_changes_is_told_no_more_often_than_it_may_be(talk: Any) -> None:
    talk.tick(100.0)
    now, step = 100.0, CHANGES_APART_S / 10
    while now < 100.9:
        now += step
        talk.road.publisher.watched = not talk.road.publisher.watched
        talk.tick(now)
    assert len(talk.out.statuses) <= 1 + 0.9 / CHANGES_APART_S
    assert len(talk.out.statuses) > 5
    talk.road.camera.state = "lost"
    talk.tick(now + CHANGES_APART_S)
    assert talk.out.statuses[-1]["state"] == "no-camera", "and the last one is not forgotten"


def test_words_that_change_alone_wait_for_the_interval(talk: Any) -> None:
    talk.road.camera.state, talk.road.camera.reason = "lost", "attempt 1"
    talk.tick(100.0)
    talk.road.camera.reason = "attempt 2"
    talk.tick(100.5)
    assert [status["reason"] for status in talk.out.statuses] == ["attempt 1"]
    talk.tick(101.0)
    assert talk.out.statuses[-1]["reason"] == "attempt 2"


def test_both_messages_have_every_field_that_readers_are_promised(talk: Any) -> None:
    talk.tick(100.0)
    assert talk.out.infos[0].keys() >= set(INFO_FIELDS)
    assert talk.out.statuses[0].keys() >= set(STATUS_FIELDS)
    assert talk.out.statuses[0]["session"] == talk.out.infos[0]["session"] == 7
    assert talk.out.infos[0]["labels"] == ["background", "person"]
    assert talk.out.statuses[0]["camera_device"]["lost"] == {"damaged": 3}
    assert (talk.out.infos[0]["geometry"]["rotation"], talk.out.infos[0]["geometry"]["mirrored"]) == (
        0,
        False,
    )


def test_without_a_camera_or_a_network_there_is_a_status_and_no_info(talk: Any) -> None:
    talk.road.camera.info = None
    talk.road.camera.state = "opening"
    talk.tick(100.0)
    talk.road.pipeline.info = None
    talk.tick(101.0)
    assert talk.out.infos == []
    assert talk.out.statuses[1]["backend"] == talk.out.statuses[1]["camera_device"]["description"] == ""
    talk.road.camera.info, talk.road.pipeline.info = CAMERA, MODEL
    talk.tick(101.1)
    assert len(talk.out.infos) == 1


def test_a_fallback_whose_driver_does_not_say_why_harms_nobody(talk: Any) -> None:
    talk.road.pipeline.info = dataclasses.replace(MODEL, fallback=True)
    talk.road.pipeline.describe = lambda: {"error": "describe() failed: KeyError"}
    talk.tick(100.0)
    assert talk.out.statuses[0]["state"] == "running"
    assert talk.out.statuses[0]["accelerator"] == {"error": "describe() failed: KeyError"}


def test_systemd_hears_the_state_with_its_reason_or_the_rate(talk: Any) -> None:
    talk.tick(100.0)
    talk.road.camera.state, talk.road.camera.reason = "lost", "the camera was unplugged"
    talk.tick(101.0)
    assert talk.systemd.words == [
        "running: 0.0 masks/s from standin",
        "no-camera: the camera was unplugged",
    ]


def test_a_start_that_gets_on_is_given_more_time_and_one_that_hangs_none(talk: Any) -> None:
    talk.tick(100.0, ready=False, achieved=True)
    talk.tick(101.0, ready=False, achieved=False)
    talk.tick(102.0, ready=False, achieved=False)
    assert talk.systemd.more_time == 1


def test_a_change_of_state_is_one_line_with_fields_to_search_for(
    talk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gnetsegd")
    talk.tick(100.0)
    assert not caplog.records, "that it is ready was told with what came of it"
    talk.road.camera.state, talk.road.camera.reason = "lost", "the camera was unplugged"
    talk.tick(102.0)
    talk.road.camera.state, talk.road.camera.reason = "streaming", ""
    talk.tick(103.0)
    fields = [
        (record.GNETSEGD_STATE, record.GNETSEGD_BACKEND, record.GNETSEGD_REASON)  # type: ignore[attr-defined]
        for record in caplog.records
    ]
    assert fields == [("no-camera", "standin", "the camera was unplugged"), ("running", "standin", "")]
    assert [record.getMessage() for record in caplog.records] == [
        "no-camera on standin", "running on standin",
    ]  # fmt: skip


def test_a_state_that_flaps_all_day_does_not_fill_the_log(
    talk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gnetsegd")
    for number in range(1000):
        talk.road.camera.state = ("streaming", "lost")[number % 2]
        talk.tick(100.0 + number)
    assert 2 <= len(caplog.records) <= 22


def test_a_state_that_stays_is_counted_once_among_the_lines_that_were_left_out(
    talk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gnetsegd")
    now = 100.0
    talk.reporter._quiet = Quiet(burst_lines=8, clock=lambda: now)
    talk.tick(now)
    for number in range(1, 22):
        talk.road.camera.state = ("streaming", "lost")[number % 2]
        for _ in range(5):
            talk.tick(now)
            now += 1.0
    assert len(caplog.records) == 8
    now += 10_000.0
    talk.tick(now)
    # Six times it was lost meanwhile, for five intervals each.
    assert caplog.records[-1].getMessage() == "no-camera on standin (6 lines like this were left out)"

"""The small systemd of the recovery bench does what a unit says, with processes that misbehave."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from service_manager import Service, Unit, parse_time_s

UNIT = Unit(restart_s=0.1, watchdog_s=0.5, start_s=20.0, stop_s=1.0, final=frozenset({78}))
SAY = """
import os, signal, socket, sys, time
def say(words):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(words.encode(), os.environ["NOTIFY_SOCKET"])
"""
Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Service] = []

    def make(program: str, unit: Unit = UNIT) -> Service:
        service = Service([sys.executable, "-S", "-c", SAY + program], unit, tmp_path, os.environ)
        service.start()
        started.append(service)
        return service

    yield make
    for service in started:
        service.stop()


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_times_are_read_as_systemd_writes_them() -> None:
    assert [parse_time_s(text) for text in ("20", "500ms", "1min 30s")] == [20, 0.5, 90]
    assert parse_time_s("infinity") == float("inf")
    with pytest.raises(ValueError, match="no time of systemd"):
        parse_time_s("soon")


def test_the_shipped_unit_is_what_it_plays() -> None:
    unit = Unit.read(Path(__file__).parents[2] / "systemd" / "gnetsegd.service")
    assert {64, 78} <= unit.final
    assert 0 < unit.restart_s < unit.watchdog_s < unit.start_s


def test_a_process_that_ends_is_started_again_after_its_pause(start: Start) -> None:
    service = start("say('READY=1'); sys.exit(75)")
    wait(lambda: service.count("start") >= 3)
    begun = [event.at for event in service.events if event.kind == "start"]
    ended = [event.at for event in service.events if event.kind == "exit"]
    assert [event.words for event in service.events if event.kind == "exit"][:2] == ["75", "75"]
    assert begun[1] - ended[0] >= UNIT.restart_s


def test_an_exit_code_that_needs_a_person_is_final(start: Start) -> None:
    service = start("sys.exit(78)")
    wait(lambda: service.count("failed") == 1)
    time.sleep(3 * UNIT.restart_s)
    assert service.count("start") == 1


def test_one_that_is_stopped_has_not_failed(start: Start) -> None:
    unit = Unit(restart_s=0.1, watchdog_s=5.0, start_s=20.0, stop_s=2.0, final=frozenset({0}))
    service = start(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); say('READY=1'); time.sleep(60)", unit
    )
    wait(lambda: bool(service.count("READY")))
    service.stop()
    assert [event.words for event in service.events if event.kind == "exit"] == ["0"]
    assert service.count("failed") == 0


def test_a_watchdog_that_starves_ends_the_process(start: Start) -> None:
    service = start("say('READY=1'); time.sleep(60)")
    wait(lambda: service.count("start") >= 2)
    assert [event.kind for event in service.events][:4] == ["start", "READY", "kill", "exit"]
    assert service.events[3].words == str(-signal.SIGABRT)


def test_a_process_that_is_never_ready_is_ended_unless_it_asks_for_time(start: Start) -> None:
    unit = Unit(restart_s=0.1, watchdog_s=60.0, start_s=2.0, stop_s=1.0, final=frozenset())
    service = start("say('EXTEND_TIMEOUT_USEC=4000000'); time.sleep(60)", unit)
    wait(lambda: service.count("kill") >= 1)
    killed = next(event for event in service.events if event.kind == "kill")
    assert killed.at - service.events[0].at >= 4.0


def test_a_process_that_ignores_sigterm_is_killed(start: Start) -> None:
    service = start("signal.signal(signal.SIGTERM, signal.SIG_IGN); say('READY=1'); time.sleep(60)")
    wait(lambda: service.count("READY") == 1)
    assert service.stop() >= UNIT.stop_s
    assert any("SIGTERM" in event.words for event in service.events if event.kind == "kill")


def test_a_daemon_that_changes_its_own_watchdog_is_told_of(start: Start) -> None:
    service = start("say('READY=1'); say('STATUS=a\\nWATCHDOG_USEC=0'); time.sleep(60)")
    wait(lambda: service.count("WATCHDOG_USEC") == 1)
    assert any("changed its watchdog" in event.words for event in service.events)


def test_what_it_writes_is_kept_line_by_line(start: Start) -> None:
    service = start("print('one', file=sys.stderr); print('two', file=sys.stderr); sys.exit(78)")
    wait(lambda: service.count("failed") == 1)
    assert [line for _, line in service.log] == ["one", "two"]

"""What systemd hears and what the journal gets, through the real systemd-python."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gnetsegd.config import load as load_config
from gnetsegd.errors import PermanentError
from gnetsegd.model import load_bundle
from gnetsegd.process import daemon
from gnetsegd.process import sd_notify as service
from gnetsegd.road import health
from gnetsegd.road.publisher import Publisher

from .conftest import MODELS

pytestmark = pytest.mark.runtime


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(1)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield listener


def heard(listener: socket.socket) -> list[str]:
    listener.setblocking(False)
    messages = []
    try:
        while True:
            messages.append(listener.recv(4096).decode())
    except BlockingIOError:
        return messages


def test_each_word_to_systemd_is_the_one_that_it_knows(systemd: socket.socket) -> None:
    notifier = service.Notifier()
    notifier.ready("running")
    notifier.status("30 masks/s")
    notifier.status("30 masks/s")
    notifier.reloading()
    notifier.stopping()
    messages = heard(systemd)
    assert messages[0] == "READY=1\nSTATUS=running"
    assert messages[1] == "STATUS=30 masks/s"
    assert messages[2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert messages[3] == "STOPPING=1\nSTATUS=stopping"
    assert len(messages) == 4, "the same status is not said twice"


def test_outside_systemd_nothing_is_said_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = service.Notifier()
    notifier.ready("running")
    notifier.watchdog()
    assert notifier.watchdog_s == 0.0


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("20000000", None, 20.0),
        ("20000000", str(os.getpid()), 20.0),
        ("20000000", "1", 0.0),
        (None, None, 0.0),
    ],
)
def test_only_the_watched_process_feeds_the_watchdog(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, seconds: float
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    notifier = service.Notifier()
    assert notifier.watchdog_s == seconds
    for _ in range(100):
        notifier.watchdog()
    assert heard(systemd) == (["WATCHDOG=1"] if seconds else [])


def test_under_systemd_without_its_python_module_the_sentence_says_what_to_install(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "systemd.daemon", None)
    with pytest.raises(PermanentError, match="apt install python3-systemd"):
        service.Notifier()
    assert heard(systemd) == []


def test_the_journal_gets_structured_fields_only_when_stderr_is_the_journal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from systemd import journal

    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(
        journal, "send", lambda message, /, **fields: sent.append({"MESSAGE": message, **fields})
    )
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        monkeypatch.setenv("JOURNAL_STREAM", "1:1")
        service.set_up_logging("info")
        logging.getLogger("gnetsegd").warning("to stderr", extra={"GNETSEGD_STATE": "running"})
        assert not sent
        assert "WARNING to stderr" in capfd.readouterr().err

        stat = os.fstat(sys.stderr.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
        service.set_up_logging("info")
        handler = logging.getLogger().handlers[0]
        monkeypatch.setattr(handler, "send", journal.send, raising=False)
        logging.getLogger("gnetsegd").warning("to the journal", extra={"GNETSEGD_STATE": "running"})
        logging.getLogger("gnetsegd").debug("not at this level")
    finally:
        logging.getLogger().handlers[:], level = before
        logging.getLogger().setLevel(level)
    assert len(sent) == 1
    assert sent[0]["MESSAGE"] == "to the journal"
    assert sent[0]["GNETSEGD_STATE"] == "running"
    assert sent[0]["SYSLOG_IDENTIFIER"] == "gnetsegd"
    assert sent[0]["PRIORITY"] == "4"


class Loop:
    """Counters as the camera's and the pipeline's threads write them."""

    def __init__(self, state: str, backend: str = "standin") -> None:
        self.state = state
        self.beats = self.results = self.losses = self.in_flight = 0
        self.info = SimpleNamespace(backend=backend, fallback=False)


def test_while_frames_should_flow_only_an_answered_frame_is_progress() -> None:
    camera, pipeline, progress = Loop("streaming"), Loop("running"), health.Progress()
    progress.made(camera, pipeline)  # type: ignore[arg-type]
    camera.beats += 100
    pipeline.beats += 100
    assert not progress.made(camera, pipeline)  # type: ignore[arg-type]
    pipeline.results += 1
    assert progress.made(camera, pipeline)  # type: ignore[arg-type]
    assert not progress.made(camera, pipeline)  # type: ignore[arg-type]
    pipeline.losses += 1
    # A frame that is known to be lost was answered, too.
    assert progress.made(camera, pipeline)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("camera_state", "pipeline_state"), [("sleeping", "running"), ("lost", "running"), ("streaming", "lost")]
)
def test_while_nothing_can_flow_each_thread_must_show_that_it_is_alive(
    camera_state: str, pipeline_state: str
) -> None:
    camera, pipeline, progress = Loop(camera_state), Loop(pipeline_state), health.Progress()
    progress.made(camera, pipeline)  # type: ignore[arg-type]
    for mover in (camera, pipeline):
        mover.beats += 1
        expected = mover is pipeline  # one alone is not enough
        assert progress.made(camera, pipeline) is expected  # type: ignore[arg-type]


def test_an_accelerator_that_keeps_its_frames_is_not_called_running() -> None:
    camera, pipeline, silence = Loop("streaming"), Loop("running"), health.Silence()

    def state_at(now: float) -> str:
        return health.state(camera, pipeline, True, silence.lasts(pipeline, now))[0]  # type: ignore[arg-type]

    pipeline.in_flight = 2
    assert [state_at(now) for now in (100, 100 + health.SILENCE_S)] == ["running", "running"]
    assert state_at(101 + health.SILENCE_S) == "no-accelerator"
    pipeline.losses += 1
    assert state_at(102 + health.SILENCE_S) == "running", "a lost frame was answered, too"
    pipeline.in_flight = 0
    assert state_at(1000) == "running", "no frame, no answer: the camera may be slow"
    pipeline.in_flight = 1
    assert state_at(1010) == "running", "the time without a frame is no silence, however seldom it is looked"
    assert state_at(1011 + health.SILENCE_S) == "no-accelerator"


def test_an_accelerator_that_may_take_long_is_given_its_time_and_the_mending() -> None:
    pipeline = Loop("running")
    pipeline.in_flight = 1
    for timeouts_s, limit_s in (((0.3,), health.SILENCE_S), ((30.0, 0.0), 90.0)):
        silence = health.Silence(timeouts_s)
        lasting = [silence.lasts(pipeline, now) for now in (100, 100 + limit_s, 101 + limit_s)]  # type: ignore[arg-type]
        assert lasting == [0, 0, limit_s]


def built(monkeypatch: pytest.MonkeyPatch, *settings: str) -> daemon.Daemon:
    """A daemon whose road is built and not started."""
    config = load_config(None, ("camera.driver=pattern", *settings))
    made = daemon.Daemon(config, lambda: config)
    monkeypatch.setattr(made, "_publisher", Publisher("cam0"), raising=False)
    made._build(load_bundle(str(MODELS / "threshold-32")))
    return made


@pytest.mark.parametrize(("driver", "limit_s"), [("usb", 90.0), ("auto", 90.0), ("standin", 5.0)])
def test_the_daemon_takes_the_time_limit_of_the_driver_that_is_in_use(
    driver: str, limit_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = built(monkeypatch, f"accelerator.driver={driver}", "accelerator.usb.answer_timeout_s=30")
    assert made._silence.limit_s == limit_s


def test_silence_is_looked_for_between_two_statuses_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    made = built(monkeypatch, "publish.status_interval_s=60")
    looks: list[float] = []

    def look(_: object, now: float) -> float:
        looks.append(now)
        if len(looks) == 3:
            made._stop_signal = "SIGTERM"
        return 0.0

    monkeypatch.setattr(made._silence, "lasts", look)
    assert made._loop() == 0
    assert len(looks) == 3


@pytest.mark.parametrize(("backend", "advice"), [("usb", "replug"), ("standin", "choose a smaller model")])
def test_the_advice_for_a_silent_accelerator_fits_it(backend: str, advice: str) -> None:
    state, reason = health.state(Loop("streaming"), Loop("running", backend), True, 5.0)  # type: ignore[arg-type]
    assert state == "no-accelerator"
    assert reason.startswith(f"no answer for 5 s and more; {advice}")


def test_the_unit_waits_longer_than_the_daemons_own_limits() -> None:
    from gnetsegd.config import CameraConfig
    from gnetsegd.road.camera_loop import BEAT_S, GRACE_S

    unit = (Path(__file__).parents[2] / "systemd" / "gnetsegd.service").read_text()
    lines = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))
    assert lines["Type"] == "notify"
    assert "BindsTo" not in lines
    assert float(lines["WatchdogSec"]) > CameraConfig().stall_timeout_s + GRACE_S + BEAT_S
    assert float(lines["TimeoutStopSec"]) > 2

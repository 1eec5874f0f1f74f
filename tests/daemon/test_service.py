"""What systemd hears and what the journal gets, through the real systemd-python."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gnetsegd.errors import PermanentError
from gnetsegd.process import logs, sd_notify

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
    notifier = sd_notify.Notifier()
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


def test_words_from_outside_cannot_become_commands_to_systemd(systemd: socket.socket) -> None:
    notifier = sd_notify.Notifier()
    notifier.status("the device says: bye\nWATCHDOG_USEC=0\nSTOPPING=1\x1b[2J\u2028STATUS=running")
    (message,) = heard(systemd)
    assert message.count("\n") == 0
    assert message.startswith("STATUS=the device says: bye WATCHDOG_USEC=0")
    assert message.isprintable()


def test_outside_systemd_nothing_is_said_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = sd_notify.Notifier()
    notifier.ready("running")
    notifier.watchdog()
    assert notifier.watchdog_s == 0.0


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("20000000", None, 20.0),
        pytest.param("20000000", str(os.getpid()), 20.0, id="its own number"),
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
    notifier = sd_notify.Notifier()
    assert notifier.watchdog_s == seconds
    for _ in range(100):
        notifier.watchdog()
    assert heard(systemd) == (["WATCHDOG=1"] if seconds else [])


def test_under_systemd_without_its_python_module_the_sentence_says_what_to_install(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "systemd.daemon", None)
    with pytest.raises(PermanentError, match="apt install python3-systemd"):
        sd_notify.Notifier()
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
        logs.set_up_logging("info")
        logging.getLogger("gnetsegd").warning("to stderr", extra={"GNETSEGD_STATE": "running"})
        assert not sent
        assert "WARNING to stderr" in capfd.readouterr().err

        stat = os.fstat(sys.stderr.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
        logs.set_up_logging("info")
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


def test_the_unit_waits_longer_than_the_daemons_own_limits() -> None:
    from gnetsegd.config import CameraConfig
    from gnetsegd.road.camera_loop import OPEN_EXTRA_S
    from gnetsegd.road.pipeline import COLLECT_LIMIT_S

    unit = (Path(__file__).parents[2] / "systemd" / "gnetsegd.service").read_text()
    lines = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))
    assert lines["Type"] == "notify"
    assert "BindsTo" not in lines
    assert float(lines["WatchdogSec"]) > CameraConfig().stall_timeout_s + OPEN_EXTRA_S + COLLECT_LIMIT_S
    assert float(lines["TimeoutStopSec"]) > 2


#: The kernel's groups of devices, and the module that brings each.
BROUGHT_BY = {"usb_device": "usbcore", "video4linux": "videodev", "media": "videodev"}


def test_systemd_finds_each_group_of_devices_when_it_resolves_what_the_unit_may_open() -> None:
    lines = (Path(__file__).parents[2] / "systemd" / "gnetsegd.service").read_text().splitlines()
    groups = [line.split("char-")[1].split()[0] for line in lines if line.startswith("DeviceAllow=char-")]
    assert groups
    for word in ("Wants", "After"):
        named = " ".join(line for line in lines if line.startswith(f"{word}="))
        assert [group for group in groups if f"modprobe@{BROUGHT_BY[group]}.service" not in named] == []

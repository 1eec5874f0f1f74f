"""Cameras and accelerators that hang or leave: the daemon lives, or systemd is told the truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import RunningDaemon
from .plugins import ENTRY_POINTS

Start = Callable[..., RunningDaemon]


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins, as an installed package declares them."""
    folder = tmp_path / "misbehaving-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}")


def test_an_accelerator_that_hangs_is_no_progress_and_ends_the_process(start: Start) -> None:
    daemon = start("accelerator.driver=hanging", "camera.fps=100", watchdog_s=1.0)
    reader = daemon.subscribe()
    daemon.mask(reader)
    while reader.poll(1500):
        reader.recv()
    daemon.notified.clear()
    assert daemon.process.wait(15) == 75
    assert not any("WATCHDOG=1" in message for message in daemon.notified)
    assert "a call for the accelerator's answer has not returned for" in daemon.words()


def test_a_camera_library_that_blocks_ends_the_process_at_once_with_a_sentence_and_75(start: Start) -> None:
    daemon = start("camera.driver=blocking", "camera.fps=100", "camera.stall_timeout_s=0.5")
    reader = daemon.subscribe()
    daemon.mask(reader)
    assert daemon.process.wait(10) == 75
    last = daemon.words().splitlines()[-1]
    assert last.startswith("gnetsegd: a call for the camera's next frame has not returned for 0.")
    assert "clean process" in last


def test_a_camera_that_is_gone_is_in_status_no_mask_is_sent_and_the_daemon_is_alive(start: Start) -> None:
    daemon = start("camera.driver=leaving", "camera.fps=100", "camera.backoff_max_s=0.2", watchdog_s=2.0)
    daemon.wait_for("READY=1")
    status = daemon.wait_for_state("no-camera")
    assert status["reason"] == "the camera was unplugged; plug it in again"
    reader = daemon.subscribe()
    daemon.notified.clear()
    assert not reader.poll(1500), "no data is not an empty mask"
    assert any("WATCHDOG=1" in message for message in daemon.notified)
    assert daemon.stop()[0] == 0


def test_without_its_accelerator_there_is_no_mask_and_status_says_why(start: Start) -> None:
    daemon = start("accelerator.driver=usb", "accelerator.usb.serial=not-there", "camera.fps=100")
    reader = daemon.subscribe()
    status = daemon.wait_for_state("no-accelerator")
    assert "USB" in status["reason"]
    assert not reader.poll(500)
    assert not any("READY=1" in message for message in daemon.notified)


def test_a_camera_that_hangs_as_it_opens_gets_no_more_time_from_systemd_and_ends_the_process(
    start: Start,
) -> None:
    daemon = start("camera.driver=stuck", "camera.fps=100", "camera.stall_timeout_s=1")
    assert daemon.wait_for_state("starting")
    time.sleep(1.0)
    daemon.notified.clear()
    assert daemon.process.wait(10) == 75
    assert not any("EXTEND_TIMEOUT_USEC" in message for message in daemon.notified)
    assert "opening the camera has not returned for" in daemon.words()
    assert not any("READY=1" in message for message in daemon.notified), "it was never tried to its end"

"""The daemon as a system service under real systemd, with the stand-in and the pattern camera."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from guest import CHECKOUT, LOGS, MODEL, QUICK, Listener, Unit, call, eventually, now

#: `systemd-analyze security` of systemd 257; lower is better.
EXPOSURE_MAX = 1.7
#: Of the quick network's file: turned over, it crashes the guest's runtime.
DAMAGED_BYTE = 946

#: A camera that never returns from a call while a file is there, as a library that hangs.
BLOCKING_CAMERA = """
import os, time
from gnetsegd.cameras.pattern import PatternCamera

class Camera(PatternCamera):
    def capture(self, frame):
        while os.path.exists("{blocks}"):
            time.sleep(0.1)
        super().capture(frame)
"""


def install_camera(name: str, code: str) -> None:
    """A module of that name, as a package of somebody else would bring it."""
    folder = Path(sysconfig.get_path("purelib"))
    (folder / f"{name}.py").write_text(code)
    package = folder / f"{name}-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (package / "entry_points.txt").write_text(f"[gnetsegd.cameras]\n{name} = {name}:Camera\n")


@pytest.fixture(scope="module")
def running() -> Iterator[Unit]:
    """The unit, READY; each check finds it so and leaves it so."""
    unit = Unit()
    unit.stop()
    unit.configure(fps=2, model=MODEL)
    unit.start()
    yield unit
    unit.stop()


def test_systemd_finds_nothing_wrong_with_the_unit() -> None:
    assert call("systemd-analyze verify gnetsegd.service") == ""


def test_the_unit_is_exposed_no_more_than_its_limit() -> None:
    said = call("systemd-analyze security --offline=true --no-pager gnetsegd.service")
    found = re.search(r"exposure level for gnetsegd.service: ([\d.]+)", said)
    assert found, said
    (LOGS / "security").write_text(said)
    assert float(found[1]) <= EXPOSURE_MAX, said


def test_it_becomes_ready_as_its_service_user(running: Unit) -> None:
    assert running.show("SubState") == "running"
    assert call(f"stat -c %U:%G /proc/{running.pid}") == "gnetsegd:gnetsegd\n"
    assert "ready: pattern with gnetseg-large-cpu30 on standin" in running.journal()


@pytest.mark.usefixtures("running")
def test_its_masks_are_the_stand_ins_to_the_last_bit() -> None:
    with Listener() as listener:
        listener.check_masks("standin", model=MODEL)


def test_the_journal_has_its_state_as_a_field(running: Unit) -> None:
    with Listener() as listener:
        listener.mask("standin")
    fields = call(f"journalctl --no-pager -o verbose GNETSEGD_STATE=running _PID={running.pid}")
    assert "GNETSEGD_BACKEND=standin" in fields


@pytest.mark.usefixtures("running")
def test_the_socket_is_for_its_group_alone() -> None:
    assert call("stat -c %a:%U /run/gnetsegd/masks.sock") == "660:gnetsegd\n"


def test_its_process_has_no_privileges_and_sees_a_read_only_system(running: Unit) -> None:
    status = Path(f"/proc/{running.pid}/status").read_text()
    assert re.search(r"^CapBnd:\s+0+$", status, re.M), status
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M), status
    assert re.search(r"^Seccomp:\s+2$", status, re.M), status
    tried = subprocess.run(
        ["nsenter", f"--mount=/proc/{running.pid}/ns/mnt", "touch", "/usr/x", "/etc/gnetsegd/x"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert tried.stderr.count("Read-only file system") == 2, tried


def test_nobody_listens_so_it_rests_and_the_watchdog_is_content(running: Unit) -> None:
    pid = running.pid
    with Listener("status") as listener:
        before = listener.wait_for("rest", lambda status: status["state"] == "idle")
        # Longer than the unit's WatchdogSec.
        wanted_s = before["uptime_s"] + 25
        after = listener.wait_for("status", lambda status: status["uptime_s"] > wanted_s)
    assert after["state"] == "idle"
    assert not after["subscribers"]
    assert after["counters"]["masks"] == before["counters"]["masks"]
    assert running.pid == pid


def test_a_reload_takes_over_the_configuration_without_a_restart(running: Unit) -> None:
    pid = running.pid
    running.configure(fps=3, model=MODEL)
    assert running.reload_and_wait() == "reload: done"
    with Listener() as listener:
        listener.wait_for("status", lambda status: status["camera_device"]["fps"] == 3)
        running.configure(fps=2, model=MODEL)
        assert running.reload_and_wait() == "reload: done"
        listener.mask("standin")
    assert running.pid == pid


def bad_configuration(running: Unit) -> str:
    running.configure(more='[log]\nlevel = "loud"\n')
    return "log.level"


def crashing_network(running: Unit) -> str:
    """A damaged file under its right SHA-256: the runtime ends with SIGSEGV as it loads it."""
    source, folder = CHECKOUT / QUICK, Path("/var/lib/damaged-network")
    folder.mkdir()
    whole = (source / "model.tflite").read_bytes()
    damaged = bytearray(whole)
    damaged[DAMAGED_BYTE] ^= 0xFF
    (folder / "model.tflite").write_bytes(damaged)
    description = (source / "model.toml").read_text()
    checksums = (hashlib.sha256(content).hexdigest() for content in (whole, damaged))
    (folder / "model.toml").write_text(description.replace(*checksums))
    running.configure(fps=2, model=str(folder))
    return "crashes the runtime"


@pytest.mark.parametrize("spoil", [bad_configuration, crashing_network])
def test_what_is_bad_changes_nothing_at_a_reload(running: Unit, spoil: Callable[[Unit], str]) -> None:
    pid = running.pid
    words = spoil(running)
    said = running.reload_and_wait()
    assert words in said
    assert said.endswith("the running configuration stays")
    running.configure(fps=2, model=MODEL)
    assert running.pid == pid
    assert running.active
    with Listener() as listener:
        listener.mask("standin")


def test_a_killed_daemon_is_restarted_and_its_subscribers_hear_from_it_again(running: Unit) -> None:
    pid = running.pid
    with Listener() as listener:
        session = listener.mask("standin").session
        os.kill(pid, signal.SIGKILL)
        while listener.mask("standin").session == session:
            pass
    assert running.wait_for_another(pid)


def test_a_daemon_that_makes_no_progress_is_restarted_by_the_watchdog(running: Unit) -> None:
    pid = running.pid
    since = now()
    os.kill(pid, signal.SIGSTOP)
    running.wait_for_another(pid)
    assert "Watchdog timeout" in running.said_since(since)
    with Listener() as listener:
        listener.mask("standin")


def test_a_camera_that_blocks_ends_the_process_and_systemd_brings_a_clean_one(running: Unit) -> None:
    blocks = Path("/run/hil-camera-blocks")
    install_camera("hil_blocks", BLOCKING_CAMERA.format(blocks=blocks))
    running.configure(fps=2, model=MODEL, camera="hil_blocks")
    assert running.reload_and_wait() == "reload: done"
    pid = running.pid
    with Listener() as listener:
        session = listener.mask("standin").session
        since = now()
        blocks.touch()
        eventually("it has not ended", lambda: "code=exited, status=75/TEMPFAIL" in running.said_since(since))
        blocks.unlink()
        assert "a call for the camera's next frame has not returned for" in running.said_since(since)
        while listener.mask("standin").session == session:
            pass
    assert running.wait_for_another(pid)
    running.configure(fps=2, model=MODEL)
    assert running.reload_and_wait() == "reload: done"


def test_a_clock_that_is_set_a_year_ahead_and_back_changes_nothing(running: Unit) -> None:
    pid = running.pid
    year_s = 365 * 86400
    with Listener() as listener:
        session, time_ns = (mask := listener.mask("standin")).session, mask.sensor_timestamp_ns
        for step_s in (year_s, -year_s):
            time.clock_settime(time.CLOCK_REALTIME, time.time() + step_s)
            listener.drain()
            mask = listener.mask("standin")
            assert mask.session == session
            assert time_ns < mask.sensor_timestamp_ns <= time.monotonic_ns()
            time_ns = mask.sensor_timestamp_ns
            assert listener.wait_for("it runs", lambda status: status["state"] == "running")
    assert running.pid == pid


def test_it_stops_in_order_and_says_goodbye(running: Unit) -> None:
    # The limit is the unit's TimeoutStopSec, after which Result is "timeout". The 2 s that are promised
    # are checked in tests/daemon: here they would be those of the emulated processor.
    with Listener() as listener:
        listener.mask("standin")
        running.stop()
        listener.wait_for("goodbye", lambda status: status["state"] == "stopping")
    assert running.show("Result") == "success"
    running.start()

"""Descriptors 0 to 2 always stand on something: else a socket would be taken for the standard output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import MODELS

pytestmark = pytest.mark.runtime
SETTINGS = (
    "camera.driver=pattern", "accelerator.driver=standin", "accelerator.standin.threads=1",
    f"model.bundle={MODELS / 'threshold-32'}",
)  # fmt: skip


def command(verb: str, *settings: str) -> list[str]:
    made = [sys.executable, "-m", "gnetsegd", verb]
    for setting in (*SETTINGS, *settings):
        made += ["--set", setting]
    return made


def places(pid: int) -> list[str]:
    """Where stdin, stdout and stderr of a process lead."""
    return [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]


def test_a_daemon_without_stdin_stdout_and_stderr_runs_and_none_of_them_is_a_socket(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("c")
    bound = folder / "m.sock"
    # As with 2>&- under systemd: the journal's name is there, and what it names is not.
    environment = dict(os.environ, JOURNAL_STREAM="1:1")
    with subprocess.Popen(
        command("run", f'publish.endpoints=["ipc://{bound}"]'),
        preexec_fn=lambda: os.closerange(0, 3),
        env=environment,
    ) as daemon:
        try:
            deadline = time.monotonic() + 20
            while not bound.exists():
                assert daemon.poll() is None, "it ended"
                assert time.monotonic() < deadline
                time.sleep(0.02)
            # While a runtime is loaded, what it says to stderr goes elsewhere.
            while (stands_on := places(daemon.pid)) != [os.devnull] * 3:
                assert time.monotonic() < deadline, stands_on
                assert not any(place.startswith("socket:") for place in stands_on)
                time.sleep(0.02)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(10) == 0
        finally:
            daemon.kill()


def test_a_command_that_fails_without_a_stderr_still_ends_with_its_code(tmp_path: Path) -> None:
    done = subprocess.run(
        command("check-config", "model.bundle=nothing"),
        preexec_fn=lambda: os.closerange(0, 3), cwd=tmp_path, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 66

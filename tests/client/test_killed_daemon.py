"""The first program that anybody reads stops when the daemon is killed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gnetsegd.client import MaskSubscriber, NoData, ReceivedMask

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "data" / "models" / "threshold-32"


@pytest.fixture
def daemon(tmp_path: Path) -> subprocess.Popen[bytes]:
    settings = [
        f'publish.endpoints=["ipc://{tmp_path}/masks.sock"]', "camera.driver=pattern", "camera.fps=30",
        "accelerator.driver=standin", f"model.bundle={MODEL}",
    ]  # fmt: skip
    command = [sys.executable, "-m", "gnetsegd", "run"]
    for setting in settings:
        command += ["--set", setting]
    return subprocess.Popen(command, stderr=(tmp_path / "log").open("wb"))


@pytest.fixture(autouse=True)
def ended(daemon: subprocess.Popen[bytes]) -> object:
    yield
    daemon.kill()
    daemon.wait()


def first_program() -> str:
    """The first Python program of the README."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert found
    return found[1]


def test_the_first_programs_stop_when_the_daemon_is_killed(
    daemon: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    endpoint = f"ipc://{tmp_path}/masks.sock"
    sources = [first_program(), (ROOT / "examples" / "subscribe.py").read_text("utf-8")]
    programs = []
    for number, source in enumerate(sources):
        file = tmp_path / f"program{number}.py"
        file.write_text(source.replace("ipc:///run/gnetsegd/masks.sock", endpoint), "utf-8")
        command = [sys.executable, str(file), endpoint]
        pipe = subprocess.PIPE
        programs.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
    try:
        for program in programs:
            assert program.stdout is not None
            lines = [program.stdout.readline() for _ in range(3)]
            assert all("person" in line for line in lines), (tmp_path / "log").read_text("utf-8")
        daemon.kill()
        for program in programs:
            _, words = program.communicate(timeout=30)
            assert program.returncode == 1
            assert "NoDataError: no masks: " in words
    finally:
        for program in programs:
            program.kill()


def test_following_tells_of_a_killed_daemon(daemon: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with MaskSubscriber(f"ipc://{tmp_path}/masks.sock", max_age_s=0.5) as masks:
        events = masks.follow()
        assert any(isinstance(event, ReceivedMask) for event in events)
        daemon.kill()
        problem = next(event for event in events if isinstance(event, NoData))
        assert problem.why == "stale"
        assert masks.latest() is None
        assert next(event for event in events if event.why != "stale").why == "silent"  # type: ignore[union-attr]

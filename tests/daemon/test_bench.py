"""``gnetsegctl bench`` measures the running daemon, else one of its own, and never another machine's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gnetsegd.ctl import board
from gnetsegd.ctl.bench import COLUMNS, line
from gnetsegd.ctl.doctor.machine import Machine, Said

from .conftest import MODELS, RunningDaemon

Start = Callable[..., RunningDaemon]

BOARDS = Path(__file__).parents[2] / "docs" / "boards.md"


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gnetsegd.ctl", "bench", "--seconds", "1", *options],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_the_running_daemon_is_measured(start: Start) -> None:
    daemon = start("camera.fps=40", "accelerator.standin.threads=1")
    daemon.wait_for("READY=1")
    done = bench("--endpoint", daemon.endpoint, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["camera"] == "pattern"
    assert found["camera_fps"] == 40.0
    assert found["threads"] == 1
    assert 0 < found["fps"] < 60
    assert found["fps"] == pytest.approx(found["masks"] / found["seconds"], rel=0.1)
    assert 0 < found["latency_p50_ms"] <= found["latency_p99_ms"]


def test_without_one_a_daemon_of_its_own_runs_what_was_asked_for() -> None:
    nobody = f"model.bundle={MODELS / 'threshold-32'}"
    done = bench("--set", nobody, "--set", "accelerator.standin.threads=1")
    assert done.returncode == 0, done.stderr
    head, _, row = done.stdout.splitlines()
    cells = dict(
        zip(*([cell.strip() for cell in text.split("|")[1:-1]] for text in (head, row)), strict=True)
    )
    assert tuple(cells) == COLUMNS
    assert float(cells["FPS"]) > 0
    assert cells["threads"] == "1"
    assert cells["camera"] == "pattern"


def test_why_its_own_daemon_does_not_start_is_said() -> None:
    done = bench("--set", "model.bundle=/nowhere")
    assert done.returncode == os.EX_UNAVAILABLE
    assert "did not start" in done.stderr
    assert "/nowhere" in done.stderr


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [("tcp://127.0.0.1:5555", "another machine's"), ("ipc:///nowhere/m.sock", "no daemon answers")],
)
def test_a_daemon_that_was_named_is_that_one_or_none(endpoint: str, words: str) -> None:
    done = bench("--endpoint", endpoint, "--timeout", "0.5")
    assert done.returncode != 0
    assert words in done.stderr


def machine(root: Path, programs: dict[str, Said], files: dict[str, str]) -> Machine:
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root, run=lambda command, *_: programs.get(" ".join(command)))


def test_a_board_tells_its_name_its_power_and_what_holds_it_back(tmp_path: Path) -> None:
    pi = machine(
        tmp_path,
        {
            "vcgencmd get_throttled": Said(0, "throttled=0x50005\n"),
            "vcgencmd pmic_read_adc": Said(
                0,
                " 3V3_SYS_A current(1)=0.50000000A\n 3V3_SYS_V volt(9)=3.30000000V\n EXT5V_V volt(24)=5.1V\n",
            ),
        },
        {"/proc/device-tree/model": "Raspberry Pi 5 Model B | Rev 1.0\0"},
    )
    assert board.name(pi) == "Raspberry Pi 5 Model B / Rev 1.0"
    assert board.watts(pi) == pytest.approx(1.65)
    assert board.held_back(pi) == "undervoltage, throttled"


def test_what_a_machine_does_not_tell_is_left_empty(tmp_path: Path) -> None:
    plain = machine(tmp_path, {}, {"/proc/cpuinfo": "processor : 0\nmodel name : Some CPU\n"})
    assert board.name(plain).startswith("Some CPU, ")
    assert board.watts(plain) is None
    assert board.held_back(plain) is None


def test_a_sensor_of_power_is_read_where_there_is_one(tmp_path: Path) -> None:
    assert board.watts(machine(tmp_path, {}, {"/sys/class/hwmon/hwmon1/power1_input": "2250000\n"})) == 2.25


def row() -> str:
    found = dict.fromkeys(
        ("board", "kernel", "version", "backend", "network", "camera", "runtime", "held_back"), "x|y"
    ) | {
        "threads": None,
        "camera_fps": 0.0,
        "fps": 1.0,
        "latency_p50_ms": 1.0,
        "latency_p99_ms": 2.0,
        "watts": None,
    }
    return line(found)


def test_a_line_is_a_row_of_the_table_whatever_a_name_holds() -> None:
    assert row().count("|") == len(COLUMNS) + 1
    assert "| " + " | ".join(COLUMNS) + " |" in BOARDS.read_text()

"""``gnetseg-mockdev``: what it says for wrong words, and that it serves until it is told to end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from gnetseg_device.faults import FAULTS
from gnetseg_device.mockdev import fault_table, main

from .fake_vhci import FakeVhci

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--fault", "stal-in"], "there is no fault 'stal-in'; did you mean stall-in?"),
        (["--fault", "flap-after:-1"], "'-1' is not a number of frames, 0 to"),
        (["--network", "fake", "--remote", "/proc/nowhere/s"], "--remote /proc/nowhere/s: No such file"),
        (["--fault", "stall-in:2"], "the rate '2' is not a number from 0 to 1"),
        (["--fault", "stall-in:often"], "the rate 'often' is not a number from 0 to 1"),
        (["--usbip", "here"], "'here' is not HOST:PORT, for example 127.0.0.1:3240"),
        (["--usbip", "127.0.0.1:99999"], "is not HOST:PORT"),
        (["--link-mbps", "-1"], "-1"),
        (["--slots", "17"], "17"),
        (["--network", "fake", "--model", "no-such-bundle"], "no-such-bundle"),
        (["--network", "fake", "--store", "/proc/nowhere"], "give a folder that this user may write to"),
        (["--network", "fake", "--usbip", "192.0.2.1:3240"], "cannot listen on 192.0.2.1:3240"),
    ],
)
def test_wrong_words_get_one_sentence_and_a_failure(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code > 0
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_the_list_of_faults_is_the_one_in_the_documentation() -> None:
    result = CliRunner().invoke(main, ["--list-faults"])
    assert result.output.strip() == fault_table()
    assert fault_table() in (ROOT / "docs" / "mock-device.md").read_text("utf-8")
    assert all(f"`{name}`" in fault_table() for name in FAULTS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_over_usbip_until_a_signal_and_then_ends_cleanly(number: int) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "firmware")])}
    process = subprocess.Popen(
        [sys.executable, "-m", "gnetseg_device.mockdev", "--usbip", "127.0.0.1:0", "--network", "fake"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"on 127\.0\.0\.1:(\d+); attach it with: usbip attach -r 127\.0\.0\.1 -b 1-1", line)
        assert found, line
        kernel = FakeVhci(("127.0.0.1", int(found[1])))
        assert kernel.devlist() == ["1-1"]
        kernel.close()
        process.send_signal(number)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stdout.read()
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()

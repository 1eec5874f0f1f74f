"""A stop is obeyed whenever it comes, also in the midst of the start."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gnetsegd.process.signals import Signals, Wake

from .conftest import MODELS

#: Runs ``gnetsegd`` and sends it a SIGINT at its n-th step, where a step is what Python's auditing sees: an
#: import, a file, a socket, a thread, a fork. Steps before it listens to signals and after that are counted
#: apart, and the latter are negative. With 0 it tells how many of both there are until it is ready.
PROGRAM = """
import logging, os, runpy, signal, sys

# Whoever runs the tests in the background may have them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

at, pid, early, late = int(sys.argv.pop(1)), os.getpid(), 0, 0

def hook(event, arguments):
    global early, late
    handler = signal.getsignal(signal.SIGINT)
    # Before the first line of the command it is Python's own.
    if os.getpid() != pid or handler is signal.default_int_handler:
        return
    if handler is signal.SIG_DFL:
        early += 1
    else:
        late += 1
    if at and at == (early if handler is signal.SIG_DFL else -late):
        os.kill(pid, signal.SIGINT)

class Ready(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("ready:") and not at:
            print(early, late, flush=True)
            os.kill(pid, signal.SIGINT)

logging.getLogger("gnetsegd").addHandler(Ready())
sys.addaudithook(hook)
runpy.run_module("gnetsegd", run_name="__main__", alter_sys=True)
"""
EARLY_MOMENTS = 8
LATE_MOMENTS = 12


def run(folder: Path, at: int) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a daemon that is sent a SIGINT at step ``at``."""
    command = [sys.executable, "-c", PROGRAM, str(at), "run"]
    for setting in (
        "camera.driver=pattern", "accelerator.driver=standin", "accelerator.standin.threads=1",
        f"model.bundle={MODELS / 'threshold-32'}", f'publish.endpoints=["ipc://{folder}/{at}.sock"]',
    ):  # fmt: skip
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.runtime
def test_a_sigint_at_any_moment_of_the_start_is_obeyed_without_a_traceback(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("s")
    code, counted, words = run(folder, 0)
    assert code == 0, words
    early, late = map(int, counted.split())
    assert early > 10 * EARLY_MOMENTS
    assert late > 2 * LATE_MOMENTS
    moments = [1 + number * early // EARLY_MOMENTS for number in range(EARLY_MOMENTS)]
    moments += [-1 - number * late // LATE_MOMENTS for number in range(LATE_MOMENTS)]
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda at: run(folder, at), moments))
    assert [words for _, _, words in ends if "Traceback" in words or "rror" in words] == []
    # At first it ends the process there and then, later in good order.
    assert [code for code, _, _ in ends] == [-signal.SIGINT] * EARLY_MOMENTS + [0] * LATE_MOMENTS


@pytest.fixture
def signals() -> Iterator[tuple[Signals, Wake]]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    wake = Wake()
    yield Signals(wake), wake
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_note_and_ends_the_wait(signals: tuple[Signals, Wake], number: int) -> None:
    noted, wake = signals
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
    begun = time.monotonic()
    wake.wait(20)
    assert time.monotonic() - begun < 10
    assert noted.stop == signal.Signals(number).name
    assert not noted.take_reload()


def test_a_reload_is_taken_once(signals: tuple[Signals, Wake]) -> None:
    noted, wake = signals
    os.kill(os.getpid(), signal.SIGHUP)
    wake.wait(20)
    assert noted.take_reload()
    assert not noted.take_reload()
    assert noted.stop == ""


def is_set(wake: Wake) -> bool:
    return bool(select.select([wake._fd], [], [], 0)[0])


def test_what_was_set_before_the_wait_is_not_missed_and_is_told_once() -> None:
    wake = Wake()
    for _ in range(1000):
        wake.set()
    wake.wait(20)
    assert not is_set(wake)


def test_other_descriptors_wake_it_too_and_may_change() -> None:
    wake = Wake()
    pipes: list[Any] = [os.pipe() for _ in range(2)]
    try:
        for reading, writing in pipes:
            os.write(writing, b"x")
            wake.wait(20, [reading])
            wake.wait(20, [reading]), os.read(reading, 1)
        wake.set()
        wake.wait(20, [pipes[0][0]])
        assert not is_set(wake)
        begun = time.monotonic()
        wake.wait(0.05, [pipes[0][0]])
        assert time.monotonic() - begun >= 0.04
    finally:
        for descriptor in [end for pipe in pipes for end in pipe]:
            os.close(descriptor)

"""Daemons, services and servers as processes, for benches and the tests of services."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CLIP = Path(__file__).parents[2] / "tools" / "demo" / "clip.mp4"
START_S = 60.0


class Process:
    """A command that was started here, and ends with the test; what it says is in ``log``."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.log = log
        with log.open("a") as file:
            self._process = subprocess.Popen(words, stdout=file, stderr=file)

    def wait_for(self, text: str) -> str:
        """The line that has ``text``; ``AssertionError`` with what it said where it never does."""
        deadline = time.monotonic() + START_S
        while True:
            for line in self.log.read_text("utf-8", "replace").splitlines():
                if text in line:
                    return line
            assert self._process.poll() is None, f"it ended: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"it never said {text!r}: {self.log.read_text()}"
            time.sleep(0.05)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)

    def end(self) -> int:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


Start = Callable[..., Process]


class Daemon:
    """``gnetsegd run`` on a real clip with a real network; it can be killed and started again."""

    def __init__(self, start: Start, folder: Path, *settings: str, name: str = "cam0") -> None:
        self.endpoint = f"ipc://{folder}/{name}.sock"
        self._start, self._name = start, name
        self._settings = [
            f'publish.endpoints=["{self.endpoint}"]', f"camera.name={name}", "camera.driver=video",
            f"camera.video.path={CLIP}", "accelerator.driver=standin", "accelerator.standin.threads=1",
            "publish.images=true", *settings,
        ]  # fmt: skip
        self._starts = 0
        self.process: Process
        self.start()

    def start(self) -> None:
        self._starts += 1
        words = [sys.executable, "-m", "gnetsegd", "run"]
        for setting in self._settings:
            words += ["--set", setting]
        self.process = self._start(*words, log=f"daemon-{self._name}-{self._starts}.log")
        self.process.wait_for("ready: ")

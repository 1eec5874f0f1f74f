"""What the benchmarks share: a daemon as its own process, and how figures are printed.

Every figure is a ratio against a peer measured in the same run, in alternation, since the machine
may be shared and noisy.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "min": round(min(values), 4),
        "median": round(statistics.median(values), 4),
        "max": round(max(values), 4),
    }


def finish(result: dict[str, Any], as_json: bool) -> None:
    """The last line that is printed: one JSON object."""
    if not as_json:
        for key, value in result.items():
            print(f"{key:28} {value}")
    print(json.dumps(result))


class Daemon:
    """``gnetsegd run`` as a process of its own, stopped at the end. ``wrapper``: a command that runs it."""

    def __init__(
        self, folder: Path, settings: Sequence[str], notify: bool = False, wrapper: Sequence[str] = ()
    ) -> None:
        self.endpoint = f"ipc://{folder}/masks.sock"
        command = [
            *wrapper,
            sys.executable,
            "-m",
            "gnetsegd",
            "run",
            "--set",
            f'publish.endpoints=["{self.endpoint}"]',
        ]
        for setting in settings:
            command += ["--set", setting]
        environment = dict(os.environ)
        if not notify:
            environment.pop("NOTIFY_SOCKET", None)
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(command, stderr=self.log, env=environment)

    def check(self) -> None:
        """Raise if it has ended."""
        if self.process.poll() is not None:
            words = Path(self.log.name).read_text()
            raise RuntimeError(f"the daemon ended with {self.process.returncode}: {words}")

    def memory_mb(self, field: str = "VmRSS") -> float:
        """Resident memory, in MB, from /proc."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"no {field}")

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.log.close()


@contextlib.contextmanager
def daemon(*settings: str) -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="gs") as folder:
        running = Daemon(Path(folder), settings)
        try:
            yield running
        finally:
            running.stop()

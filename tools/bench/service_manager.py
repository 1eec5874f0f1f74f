"""A small systemd for one daemon: starts, watches, restarts and stops it as its unit file says.

It knows ``Restart=always``, ``RestartSec``, ``RestartPreventExitStatus``, ``TimeoutStartSec``,
``TimeoutStopSec`` and ``WatchdogSec``, and hears what the daemon says to ``NOTIFY_SOCKET``. All times
are of CLOCK_MONOTONIC, in s.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "": 1.0, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}
#: How often the process is looked at.
LOOK_S = 0.05
#: After SIGABRT of the watchdog: a core dump may take a while.
ABORT_S = 2.0


def parse_time_s(text: str) -> float:
    """systemd.time(7), as far as units use it: ``20``, ``500ms``, ``1min 30s``; ``infinity`` is inf."""
    if text.strip() == "infinity":
        return float("inf")
    parts = re.findall(r"([0-9.]+)\s*([a-z]*)", text)
    if not parts:
        raise ValueError(f"{text!r} is no time of systemd")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


@dataclass(frozen=True)
class Unit:
    """What the manager takes from a unit file."""

    restart_s: float
    watchdog_s: float
    start_s: float
    stop_s: float
    #: Exit codes after which it is not started again.
    final: frozenset[int]

    @classmethod
    def read(cls, path: Path) -> Unit:
        """From ``path``; ``ValueError`` where it does not say ``Type=notify`` and ``Restart=always``."""
        lines = (line.strip() for line in path.read_text().splitlines())
        said = dict(line.split("=", 1) for line in lines if "=" in line and line[0] not in "#;")
        if said.get("Type") != "notify" or said.get("Restart") != "always":
            raise ValueError(f"{path}: only Type=notify with Restart=always is played here")
        return cls(
            restart_s=parse_time_s(said["RestartSec"]),
            watchdog_s=parse_time_s(said["WatchdogSec"]),
            start_s=parse_time_s(said["TimeoutStartSec"]),
            stop_s=parse_time_s(said["TimeoutStopSec"]),
            final=frozenset(int(code) for code in said.get("RestartPreventExitStatus", "").split()),
        )


class Event(NamedTuple):
    """Something that happened to the service.

    ``kind`` is ``start``, ``exit`` (``words``: the code, negative for a signal), ``kill`` (``words``:
    why), ``failed`` (not started again), or an assignment's name as the daemon sent it, such as
    ``READY`` or ``WATCHDOG``, with its value in ``words``.
    """

    at: float
    kind: str
    words: str = ""


class Service:
    """One daemon under the manager; ``events`` and ``log`` (time, line) grow while it runs."""

    def __init__(
        self, command: Sequence[str], unit: Unit, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.unit = unit
        self.events: list[Event] = []
        self.log: list[tuple[float, str]] = []
        self.process: subprocess.Popen[str] | None = None
        self._command = list(command)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = str(folder / "notify")
        self._notify.bind(address)
        self._notify.setblocking(False)
        self._environment = {
            **environment,
            "NOTIFY_SOCKET": address,
            "WATCHDOG_USEC": str(round(unit.watchdog_s * 1e6)),
        }
        for name in ("WATCHDOG_PID", "JOURNAL_STREAM"):
            self._environment.pop(name, None)
        self._stopping = threading.Event()
        self._ready = False
        self._watch_until = self._start_until = float("inf")
        self._thread = threading.Thread(target=self._run, name="service manager", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon, if there is one just now."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def reload(self) -> None:
        self.signal(signal.SIGHUP)

    def count(self, kind: str, since: float = 0.0) -> int:
        return sum(event.kind == kind and event.at >= since for event in self.events)

    def stop(self) -> float:
        """SIGTERM, and SIGKILL after the unit's TimeoutStopSec; seconds that it took to end."""
        asked = time.monotonic()
        self._stopping.set()
        self._thread.join(self.unit.stop_s + ABORT_S + 5)
        self._notify.close()
        return time.monotonic() - asked

    # -- its thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            code = self._live()
            self._say("exit", str(code))
            # Whoever was asked to stop is not started again in any case.
            if code in self.unit.final and not self._stopping.is_set():
                self._say("failed", f"exit code {code} is not tried again")
                return
            self._stopping.wait(self.unit.restart_s)

    def _live(self) -> int:
        """One process, from its start to its end; its exit code."""
        now = time.monotonic()
        self._ready = False
        self._watch_until, self._start_until = float("inf"), now + self.unit.start_s
        process = subprocess.Popen(
            self._command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace",
            env=self._environment,
        )  # fmt: skip
        self.process = process
        self._say("start", str(process.pid))
        reader = threading.Thread(target=self._read_log, args=(process,), daemon=True)
        reader.start()
        while process.poll() is None:
            self._hear()
            now = time.monotonic()
            if self._stopping.is_set():
                self._end(process, signal.SIGTERM, self.unit.stop_s)
            elif now > self._watch_until:
                self._say("kill", f"the watchdog was not fed for {self.unit.watchdog_s:g} s")
                self._end(process, signal.SIGABRT, ABORT_S)
            elif now > self._start_until:
                self._say("kill", "READY did not come in time")
                self._end(process, signal.SIGTERM, self.unit.stop_s)
        self._hear()
        reader.join(1)
        return process.returncode

    def _end(self, process: subprocess.Popen[str], number: signal.Signals, limit_s: float) -> None:
        process.send_signal(number)
        deadline = time.monotonic() + limit_s
        while process.poll() is None:
            self._hear()
            if time.monotonic() > deadline:
                self._say("kill", f"it did not obey {number.name} within {limit_s:g} s")
                process.kill()
                process.wait()

    def _hear(self) -> None:
        """Take in what the daemon says, for at most ``LOOK_S``."""
        deadline = time.monotonic() + LOOK_S
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._notify], [], [], left)[0]:
                for assignment in self._notify.recv(65536).decode("utf-8", "replace").splitlines():
                    name, _, value = assignment.partition("=")
                    self._obey(name, value)

    def _obey(self, name: str, value: str) -> None:
        now = time.monotonic()
        if name == "READY":
            self._ready, self._start_until = True, float("inf")
        if name == "EXTEND_TIMEOUT_USEC" and not self._ready:
            self._start_until = max(self._start_until, now + int(value) / 1e6)
        if name in ("READY", "WATCHDOG") and self._ready:
            self._watch_until = now + self.unit.watchdog_s
        if name == "WATCHDOG_USEC" or (name == "WATCHDOG" and value != "1"):
            self._say("kill", f"the daemon changed its watchdog: {name}={value}")
        self._say(name, value)

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.log.append((time.monotonic(), line.rstrip("\n")))

    def _say(self, kind: str, words: str = "") -> None:
        self.events.append(Event(time.monotonic(), kind, words))


def inherited(**more: str) -> dict[str, str]:
    """This process's environment with ``more``."""
    return {**os.environ, **more}

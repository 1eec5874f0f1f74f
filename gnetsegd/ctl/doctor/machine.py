"""Where the doctor's facts come from: files below a root, programs, the daemon's own words."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from ...cameras import discover
from ...config import Config
from ...errors import GnetsegError

#: A program that tells something may take so long, in s.
PROGRAM_LIMIT_S = 10.0
#: Checking a configuration runs the network once.
CHECK_LIMIT_S = 150.0
#: How long the daemon's words are waited for; it says how it is each second.
STATUS_LIMIT_S = 2.5
#: A file of facts is read up to here.
_FILE_BYTES = 1 << 16


class Said(NamedTuple):
    """What a program said, and its exit code."""

    code: int
    out: str
    err: str = ""


def run(command: Sequence[str], limit_s: float = PROGRAM_LIMIT_S) -> Said | None:
    """Run a program; None where it is not there or does not end."""
    try:
        done = subprocess.run(
            [*command], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=limit_s, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Said(done.returncode, done.stdout, done.stderr)


def ask(endpoint: str, camera: str) -> dict[str, Any] | None:
    """The daemon's status, which wakes nothing, with the ``version`` from its info; None if none came."""
    from ...client import StatusSubscriber

    try:
        with StatusSubscriber(endpoint, camera) as subscriber:
            status = subscriber.status(STATUS_LIMIT_S)
            info = subscriber.info()
            return {**status, "version": info["version"] if info else None} if status else None
    except (ValueError, GnetsegError):
        return None


@attrs.frozen
class Machine:
    """This machine, or one that a test has made up.

    ``user`` is the one who wants to read: with sudo who called it. ``groups`` are the ids of the groups that
    this process is in.
    """

    root: Path = Path("/")
    run: Callable[..., Said | None] = run
    ask: Callable[[str, str], dict[str, Any] | None] = ask
    webcams: Callable[[], tuple[list[discover.Webcam], list[discover.Refused]]] = discover.webcams
    has_picamera2: Callable[[], bool] = discover.has_picamera2
    load_picamera2: Callable[[], object] = lambda: import_module("picamera2")
    free_share: Callable[[Path], float] = lambda path: (use := shutil.disk_usage(path)).free / use.total
    user: str = attrs.field(factory=lambda: os.environ.get("SUDO_USER") or os.environ.get("USER", ""))
    groups: Callable[[], Sequence[int]] = lambda: [*os.getgroups(), os.getegid()]

    def path(self, name: str) -> Path:
        """Where a file of this machine stands."""
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str:
        """A small file, without the white space around it; empty if it cannot be read."""
        try:
            with self.path(name).open("rb") as file:
                return file.read(_FILE_BYTES).decode("utf-8", "replace").strip()
        except (OSError, ValueError):
            return ""

    def number(self, name: str) -> int | None:
        """A file that holds one number; None if it does not."""
        try:
            return int(self.read(name))
        except ValueError:
            return None

    def entries(self, folder: str) -> list[str]:
        """The names in a folder, sorted; none if it cannot be read."""
        try:
            return sorted(path.name for path in self.path(folder).iterdir())
        except OSError:
            return []

    def stat(self, name: str) -> os.stat_result | None:
        """None for what is not there, or cannot be looked at."""
        try:
            return self.path(name).stat()
        except (OSError, ValueError):
            return None

    def group(self, name: str) -> tuple[int, list[str]] | None:
        """(id, members) of a group; None if there is none of that name."""
        for line in self.read("/etc/group").splitlines():
            fields = line.split(":")
            if len(fields) == 4 and fields[0] == name and fields[2].isdigit():
                return int(fields[2]), [member for member in fields[3].split(",") if member]
        return None

    def user_id(self, name: str) -> int | None:
        """None if there is no user of that name."""
        for line in self.read("/etc/passwd").splitlines():
            fields = line.split(":")
            if len(fields) == 7 and fields[0] == name and fields[2].isdigit():
                return int(fields[2])
        return None


@attrs.frozen
class Case:
    """What the checks look at: the machine, and what was found out about the daemon on it.

    ``unit`` holds systemd's properties of it, empty where systemd does not answer; ``status`` is what the
    running daemon says of itself.
    """

    machine: Machine
    unit_name: str
    config_path: str
    config: Config
    unit: dict[str, str]
    status: dict[str, Any] | None

    @property
    def is_active(self) -> bool:
        """Whether the unit runs."""
        return self.unit.get("ActiveState") in ("active", "reloading")

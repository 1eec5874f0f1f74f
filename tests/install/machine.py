"""What the checks of installed packages ask of the machine."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from gnetsegd.client import MaskSubscriber, NoData, ReceivedMask, StatusSubscriber

SOCKET = "/run/gnetsegd/masks.sock"
LIMIT_S = 60.0


def sh(command: str, check: bool = True, limit_s: float = 300.0) -> str:
    """What a command says; AssertionError if it fails."""
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
    )
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def wait_for(condition: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    """Until it holds; its value."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come about"
        time.sleep(0.05)
    return value


def show(unit: str, key: str) -> str:
    return sh(f"systemctl show {unit} --property={key} --value").strip()


def status(endpoint: str = f"ipc://{SOCKET}", camera: str = "cam0") -> dict[str, Any]:
    with StatusSubscriber(endpoint, camera) as subscriber:
        found = subscriber.status(LIMIT_S)
        assert found is not None, sh("journalctl -u 'gnetsegd*' -n 30 --no-pager", check=False)
        return found


def first_mask(endpoint: str = f"ipc://{SOCKET}", camera: str = "cam0", **keys: Any) -> ReceivedMask:
    with MaskSubscriber(endpoint, camera, **keys) as masks:
        deadline = time.monotonic() + LIMIT_S
        for mask in masks.follow():
            if not isinstance(mask, NoData):
                return mask
            assert time.monotonic() < deadline, f"{mask}"
    raise AssertionError


class Reader:
    """Reads every mask meanwhile, and remembers when each came."""

    def __init__(self, endpoint: str = f"ipc://{SOCKET}", camera: str = "cam0", **keys: Any) -> None:
        self.times_s: list[float] = []
        self._ending = threading.Event()
        self._reach: tuple[Any, ...] = (endpoint, camera)
        self._keys = keys
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with MaskSubscriber(*self._reach, newest_only=False, **self._keys) as masks:
            while not self._ending.is_set():
                if masks.receive(0.05) is not None:
                    self.times_s.append(time.monotonic())
                else:
                    masks.latest()  # looks why, and connects anew

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    @property
    def longest_gap_s(self) -> float:
        return max(b - a for a, b in pairwise(self.times_s))


@contextmanager
def reader(*where: str, **keys: Any) -> Iterator[Reader]:
    """One that has got its first mask."""
    made = Reader(*where, **keys)
    try:
        wait_for(lambda: made.times_s)
        yield made
    finally:
        made.close()


def journal_lines(pid: str) -> list[str]:
    """What a process has said."""
    return sh(f"journalctl -o cat _PID={pid}", check=False).splitlines()


def version(package: str) -> str:
    return sh(f"dpkg-query -W -f '${{Version}}' {package}")


def deb(pattern: str) -> Path:
    (found,) = Path("/srv").glob(pattern)
    return found


def exposed(pid: str) -> dict[str, str]:
    """The kernel's words about a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        name: re.sub(r"\s+", " ", value).strip() for name, _, value in (ln.partition(":") for ln in lines)
    }

"""Checks against real servers and a browser, of Debian's packages: `make test-services` alone runs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

IS_ASKED_FOR = os.environ.get("GNETSEGD_SERVICES") == "1"
if IS_ASKED_FOR:
    sys.path.insert(0, str(Path(__file__).parent))
    sys.path.insert(0, str(Path(__file__).parents[1] / "client"))
    sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "bench"))
else:
    collect_ignore_glob = ["test_*.py"]

if TYPE_CHECKING:
    from processes import Daemon, Process


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts commands by their words."""
    from processes import Process

    made: list[Process] = []

    def one(*words: str, log: str = "") -> Process:
        made.append(Process([*words], tmp_path / (log or f"{len(made)}.log")))
        return made[-1]

    yield one
    for process in reversed(made):
        process.end()


@pytest.fixture
def daemon(start: Callable[..., Process], tmp_path: Path) -> Daemon:
    from processes import Daemon

    return Daemon(start, tmp_path)


@pytest.fixture
def view(start: Callable[..., Process], tmp_path: Path) -> Callable[..., str]:
    """Serves the page; gives its address."""

    def serve(*words: str) -> str:
        state = tmp_path / "state"
        process = start(
            sys.executable, "-m", "gnetsegd.ctl.main", "view", "--port", "0", "--state", str(state), *words
        )
        return process.wait_for("the page: ").split()[2]

    return serve


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        if "tests/services" in str(item.path):
            item.add_marker(pytest.mark.timeout(240))

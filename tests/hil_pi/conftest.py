"""Checks for the machine of tools/hil/pi/run.py: without it nothing is collected."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cable import Cable
    from daemon import Daemon
    from machine import Machine

#: The run's folder; its initrd is there, and the logs are left there.
WORK = os.environ.get("GNETSEGD_HIL_PI", "")
if WORK:
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parents[1] / "tools" / "hil" / "pi")]
else:
    collect_ignore_glob = ["test_*.py"]

#: In this order: the machine, its daemon, the cable's adventures, the other accelerator, the end.
ORDER = ("test_machine", "test_usb", "test_standin", "test_end")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if WORK:
        items.sort(key=lambda item: ORDER.index(item.path.stem))


def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Keep the logs after each failure: the machine may not come to the end."""
    machine = getattr(node, "funcargs", {}).get("machine")
    if machine and machine.on:
        machine.keep_logs()


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """The booted Pi; its journal and its kernel's log are kept at the end."""
    from machine import Machine

    work = Path(WORK)
    with Machine(Path(os.environ["GNETSEGD_HIL_PI_IMAGE"]), work / "initrd", work) as booted:
        booted.wait_for_boot()
        yield booted
        if booted.on:
            booted.keep_logs()


@pytest.fixture(scope="session")
def cable(machine: Machine) -> Iterator[Cable]:
    """The device at the Pi's USB port; each check leaves it plugged in."""
    from cable import Cable
    from usb_device import wait_for_device

    made = Cable(Path(WORK))
    made.plug()
    wait_for_device(machine)
    yield made
    made.pull()


@pytest.fixture(scope="session")
def daemon(machine: Machine) -> Daemon:
    """gnetsegd's unit; a check configures it, which starts it."""
    from daemon import Daemon

    return Daemon(machine)

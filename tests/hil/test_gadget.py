"""gnetseg-gadget leaves the bus in every way that there is, under traffic, and the board goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Listener, Unit, eventually
from transports import FunctionFs

UDC = Path("/sys/kernel/config/usb_gadget/gnetseg/UDC")
STOP_S = 5


@pytest.fixture(scope="module")
def cable() -> Iterator[FunctionFs]:
    made = FunctionFs()
    made.plug()
    yield made
    made.close()


@pytest.fixture
def traffic(cable: FunctionFs, daemon: Unit) -> Iterator[Listener]:
    """The daemon has masks from the gadget; after the check it must get them again, in one process."""
    daemon.configure("usb")
    daemon.apply()
    pid = daemon.pid
    with Listener() as listener:
        listener.check_masks("usb", 1)
        yield listener
        cable.pull()
        cable.plug()
        listener.drain()
        listener.check_masks("usb", 1)
    assert daemon.pid == pid
    # A moment in the kernel is fine, staying there is not.
    eventually("somebody hangs in the kernel", lambda: not hanging())


def hanging() -> list[str]:
    """Processes that no signal can reach, kernel threads apart."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if (process / "cmdline").read_bytes() and "\nState:\tD" in (process / "status").read_text():
                found.append(process.name)
    return found


@pytest.mark.usefixtures("traffic")
def test_it_stops_in_order(cable: FunctionFs) -> None:
    assert cable.stop() < STOP_S
    assert not UDC.exists()


@pytest.mark.usefixtures("traffic")
def test_it_is_killed_and_what_it_left_is_cleared_by_the_next(cable: FunctionFs) -> None:
    cable.pull()


@pytest.mark.usefixtures("traffic")
def test_it_is_unbound_by_somebody_else_and_then_stops(cable: FunctionFs) -> None:
    cable.unplug()
    assert cable.stop() < STOP_S

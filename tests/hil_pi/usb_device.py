"""The device on the Pi's USB bus, as its kernel sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cable import SERIAL
from daemon import PATIENCE_S

if TYPE_CHECKING:
    from machine import Machine


def eventually(what: str, ask: Callable[[], bool]) -> None:
    """Until ``ask`` gives True."""
    deadline = time.monotonic() + PATIENCE_S
    while not ask():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.1)


def attribute(machine: Machine, name: str) -> str:
    """A file in the device's folder in sysfs: the controller has one port, and that is the place."""
    return str(machine.ask("read", path=f"/sys/bus/usb/devices/1-1/{name}")).strip()


def node(machine: Machine) -> str:
    """Its path under /dev."""
    return f"/dev/bus/usb/{int(attribute(machine, 'busnum')):03}/{int(attribute(machine, 'devnum')):03}"


def wait_for_device(machine: Machine) -> None:
    eventually("the kernel sees the device", lambda: attribute(machine, "serial") == SERIAL)


def wait_until_gone(machine: Machine) -> None:
    eventually("the kernel sees that the device is gone", lambda: not attribute(machine, "serial"))

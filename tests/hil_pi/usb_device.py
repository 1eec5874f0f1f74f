"""The device on the Pi's USB bus, as its kernel sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cable import SERIAL
from daemon import eventually

if TYPE_CHECKING:
    from machine import Machine


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

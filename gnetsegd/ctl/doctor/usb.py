"""The accelerator's rights, speed, memory and sleep."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from ...link.constants import USB_ID
from . import Fault
from .machine import Case

_DEVICES = "/sys/bus/usb/devices"
_USBFS = "/sys/module/usbcore/parameters/usbfs_memory_mb"
#: High speed. On a full-speed port a mask takes twenty times as long.
_SPEED_MBIT = 480
#: Several frames in flight, each way, and a model's upload.
_USBFS_MIB = 4
_RULES = tuple(f"{folder}/60-gnetsegd.rules" for folder in ("/usr/lib/udev/rules.d", "/etc/udev/rules.d"))
_TRIGGER = "sudo udevadm control --reload && sudo udevadm trigger"


def check(case: Case) -> Iterator[Fault]:
    """Every accelerator that is plugged in."""
    config, machine = case.config.accelerator, case.machine
    if config.driver not in ("auto", "usb"):
        return
    options = config.options.get("usb")
    usb_id = options.id if options is not None else f"{USB_ID[0]:04x}:{USB_ID[1]:04x}"
    found = [
        name
        for name in machine.entries(_DEVICES)
        if f"{machine.read(f'{_DEVICES}/{name}/idVendor')}:{machine.read(f'{_DEVICES}/{name}/idProduct')}"
        == usb_id
    ]
    if not found and config.driver == "usb":
        yield Fault(
            "accelerator-missing",
            f"no USB device {usb_id} is plugged in, and accelerator.driver is usb",
            'plug it in; with accelerator.driver = "auto" the CPU serves until it comes',
        )
    if found and not any(machine.stat(rule) for rule in _RULES):
        yield Fault(
            "usb-rule-missing",
            "the udev rule 60-gnetsegd.rules is not installed, so the accelerator is open to root alone",
            f"sudo apt install --reinstall gnetsegd && {_TRIGGER}",
        )
    for name in found:
        yield from _device(case, name)
    mib = machine.number(_USBFS)
    if found and mib is not None and 0 < mib < _USBFS_MIB:  # 0 is no limit
        yield Fault(
            "usb-memory",
            f"the kernel gives all USB transfers {mib} MiB together (usbfs_memory_mb)",
            f"echo 16 | sudo tee {_USBFS}; for good usbcore.usbfs_memory_mb=16 in cmdline.txt",
        )


def _device(case: Case, name: str) -> Iterator[Fault]:
    machine, folder = case.machine, f"{_DEVICES}/{name}"
    speed = machine.number(f"{folder}/speed")
    if speed is not None and speed < _SPEED_MBIT:
        yield Fault(
            "usb-slow",
            f"the accelerator at USB port {name} runs at {speed} Mbit/s",
            "plug it into another port or hub, with another cable; lsusb -t shows the speeds",
        )
    if machine.read(f"{folder}/power/control") == "auto":
        yield Fault(
            "usb-autosuspend",
            f"the kernel may put the accelerator at USB port {name} to sleep",
            _TRIGGER,
        )
    bus, number = machine.number(f"{folder}/busnum"), machine.number(f"{folder}/devnum")
    if bus is None or number is None:
        return
    node = f"/dev/bus/usb/{bus:03d}/{number:03d}"
    status, plugdev = machine.stat(node), machine.group("plugdev")
    if status is None or plugdev is None:
        return
    if status.st_gid != plugdev[0] or not status.st_mode & stat.S_IWGRP:
        yield Fault("usb-rights", f"{node}, the accelerator, is not open to the group plugdev", _TRIGGER)

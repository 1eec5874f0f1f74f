"""What a machine is called, what it draws, and whether it is held back: the words beside a measurement."""

from __future__ import annotations

import os
import platform
import re
from typing import TYPE_CHECKING

from ..text import clean
from .doctor.power import firmware_flags

if TYPE_CHECKING:
    from .doctor.machine import Machine

#: Of the firmware's flags: too little voltage, a capped frequency, throttled, the soft limit of heat.
_REASONS = ((0, "undervoltage"), (1, "capped"), (2, "throttled"), (3, "soft limit of heat"))
_NAME_CHARACTERS = 60
_RAIL = re.compile(r"(\w+)_([AV]) (?:current|volt)\(\d+\)=([0-9.]+)[AV]")


def name(machine: Machine) -> str:
    """The board's model, else the processor's, and how many processors are there."""
    model = machine.read("/proc/device-tree/model").rstrip("\0")
    if not model:
        lines = machine.read("/proc/cpuinfo").splitlines()
        fields = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = f"{fields[0] if fields else platform.machine()}, {os.cpu_count()} processors"
    # It becomes a cell of a table.
    return clean(model.replace("|", "/"), _NAME_CHARACTERS)


def kernel() -> str:
    """Its release and the architecture."""
    return f"{platform.release()} {platform.machine()}"


def watts(machine: Machine) -> float | None:
    """What is drawn, in W: by the Pi 5's own regulators, else by sensors of power; None if none is there."""
    said = machine.run(["vcgencmd", "pmic_read_adc"])
    if said is not None and said.code == 0:
        rails: dict[str, dict[str, float]] = {}
        for rail, unit, value in _RAIL.findall(said.out):
            rails.setdefault(rail, {})[unit] = float(value)
        products = [values["A"] * values["V"] for values in rails.values() if len(values) == 2]
        if products:
            return sum(products)
    folder = "/sys/class/hwmon"
    found = (machine.number(f"{folder}/{entry}/power1_input") for entry in machine.entries(folder))
    microwatts = [value for value in found if value is not None]
    return sum(microwatts) / 1e6 if microwatts else None


def held_back(machine: Machine) -> str | None:
    """Why the processor is slower than it could be, or "no"; None where nothing tells."""
    flags = firmware_flags(machine)
    if flags is None:
        return None
    return ", ".join(words for bit, words in _REASONS if flags >> bit & 1) or "no"

"""Power, heat and the clock: what makes a Pi slow or strange without a word."""

from __future__ import annotations

from collections.abc import Iterator

from . import Fault
from .machine import Case, Machine

_THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_HOT_MILLIDEGREES = 80_000
_SUPPLY = (
    "use the official power supply and a short, thick cable; put USB devices on a hub with its own supply"
)
_COOL = "give it a heat sink or a fan, and room for air; vcgencmd measure_temp shows the temperature"


def check(case: Case) -> Iterator[Fault]:
    """The firmware's flags first: they know more than the kernel."""
    flags = firmware_flags(case.machine) or 0
    if flags & 1 or _alarm(case):
        yield Fault("undervoltage", "the supply voltage is too low right now", _SUPPLY)
    elif flags & 1 << 16:
        yield Fault("undervoltage-since-boot", "the supply voltage was too low since the last boot", _SUPPLY)
    if flags & (1 << 2 | 1 << 3):
        yield Fault("throttled", "the processor is throttled right now, because it is hot", _COOL)
    elif flags & 1 << 1:
        yield Fault("capped", "the processor's frequency is capped right now", _SUPPLY)
    elif flags & (1 << 18 | 1 << 19):
        yield Fault("throttled-since-boot", "the processor was throttled by heat since the last boot", _COOL)
    hottest = max(_temperatures(case), default=0)
    if hottest >= _HOT_MILLIDEGREES:
        yield Fault("hot", f"the processor has {hottest / 1000:.0f} degrees Celsius", _COOL)
    clock = case.machine.run(["timedatectl", "show", "--property=NTP", "--property=NTPSynchronized"])
    if clock is not None and "NTPSynchronized=no" in clock.out.split():
        on = "NTP=yes" in clock.out.split()
        yield Fault(
            "clock",
            "the clock is not synchronised, so times that readers compare between machines are wrong",
            "give it a network, and look with timedatectl timesync-status"
            if on
            else "sudo timedatectl set-ntp true",
        )


def firmware_flags(machine: Machine) -> int | None:
    """What holds a Raspberry Pi's processor back, as ``vcgencmd get_throttled`` has it; None elsewhere."""
    said = machine.run(["vcgencmd", "get_throttled"])
    words = said.out.strip().partition("throttled=")[2] if said is not None and said.code == 0 else ""
    try:
        return int(words or machine.read(_THROTTLED), 16)
    except ValueError:
        return None


def _alarm(case: Case) -> bool:
    folder = "/sys/class/hwmon"
    return any(
        case.machine.read(f"{folder}/{name}/name") == "rpi_volt"
        and case.machine.read(f"{folder}/{name}/in0_lcrit_alarm") == "1"
        for name in case.machine.entries(folder)
    )


def _temperatures(case: Case) -> list[int]:
    folder = "/sys/class/thermal"
    found = (case.machine.number(f"{folder}/{name}/temp") for name in case.machine.entries(folder))
    return [value for value in found if value is not None]

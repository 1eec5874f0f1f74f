"""Room on the disk and in memory."""

from __future__ import annotations

from collections.abc import Iterator

from . import Fault
from .machine import Case

#: Below these something will fail soon.
_FREE_SHARE = 0.02
_FREE_MEMORY_MIB = 48
_PLACES = ("/", "/var/log", "/run", "/etc/gnetsegd")


def check(case: Case) -> Iterator[Fault]:
    """Disk, memory, and what the kernel ended for want of memory."""
    told: set[int] = set()
    for place in _PLACES:
        status = case.machine.stat(place)
        if status is None or status.st_dev in told:
            continue
        told.add(status.st_dev)
        try:
            share = case.machine.free_share(case.machine.path(place))
        except (OSError, ZeroDivisionError):
            continue
        if share < _FREE_SHARE:
            yield Fault(
                "disk-full",
                f"of the disk that holds {place} {share:.1%} are free",
                "sudo apt clean && sudo journalctl --vacuum-size=50M; sudo du -xh / | sort -h | tail",
            )
    for line in case.machine.read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable" and rest.split() and int(rest.split()[0]) < _FREE_MEMORY_MIB << 10:
            yield Fault(
                "memory",
                f"{int(rest.split()[0]) >> 10} MiB of memory are left",
                "end what needs much (ps aux --sort=-rss | head), or choose a smaller network in [model]",
            )
    if case.unit.get("Result") == "oom-kill":
        yield Fault(
            "out-of-memory",
            f"the kernel has ended {case.unit_name} for want of memory",
            "choose a smaller network in [model], or end other programs",
        )

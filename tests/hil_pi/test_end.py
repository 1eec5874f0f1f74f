"""The daemon's end, the kernel's log, and the machine's end."""

from __future__ import annotations

import re
from collections.abc import Callable

from cable import Cable
from daemon import UNIT, Daemon
from machine import Machine

#: What the kernel says when something of it is broken, and whatever it says of USB that is a warning.
BROKEN = re.compile(r"Oops|BUG:|WARNING:|Call trace|soft lockup|rcu: INFO|hung task|blocked for more than")
#: What the driver says as it loads, of a board without regulators and of the emulated controller's registers.
AT_START = re.compile(
    r"supply \w+ not found, using dummy|dummy supplies not allowed|dwc2_check_params: Invalid"
)


def test_it_stops_within_its_time_limit_and_leaves_nothing_behind(
    machine: Machine, cable: Cable, daemon: Daemon, record_property: Callable[[str, object], None]
) -> None:
    assert cable
    daemon.configure()
    daemon.wait_for_quiet()
    limit = daemon.show("TimeoutStopUSec")
    seconds = machine.ask("call", command=["systemctl", "stop", UNIT], timeout_s=300.0)["seconds"]
    record_property("stopped after", f"{seconds:.1f} s (the unit's limit: {limit})")
    # systemd kills it at the limit, and then the result is "timeout".
    wanted = {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0", "NRestarts": "0"}
    assert {name: daemon.show(name) for name in wanted} == wanted
    assert machine.call("ps", "-o", "pid=,args=", "-u", "gnetsegd", check=False) == ""
    states = machine.call("ps", "-eo", "stat=,pid=,args=").splitlines()
    assert [line for line in states if line.startswith("Z")] == []
    assert machine.call("ls", "/run/gnetsegd", check=False).endswith("No such file or directory\n")
    assert "Traceback" not in daemon.journal()


def test_the_kernel_has_nothing_to_complain_of(machine: Machine) -> None:
    said = machine.call("dmesg", "--level", "emerg,alert,crit,err,warn", "--notime").splitlines()
    usb = [line for line in said if re.search(r"usb|dwc2", line, re.IGNORECASE)]
    assert [line for line in usb if not AT_START.search(line)] == []
    assert [line for line in machine.call("dmesg").splitlines() if BROKEN.search(line)] == []


def test_it_powers_off(machine: Machine) -> None:
    machine.power_off()

"""The unit, and what the daemon says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from ... import __version__
from ...message import TEXT_CHARACTERS
from ...text import clean
from . import Fault
from .machine import Case

#: One restart may be a hang that was mended; so many are a fault.
_RESTARTS = 3
#: What a daemon says that is in order, or on its way to it.
_SOUND = ("running", "idle", "starting", "stopping")


def check(case: Case) -> Iterator[Fault]:
    """Installed, enabled, running, and serving."""
    unit, name = case.unit, case.unit_name
    if unit.get("LoadState") == "not-found":
        yield Fault("unit-missing", f"the unit {name} is not installed", "sudo apt install gnetsegd")
        return
    if unit:
        yield from _unit(case)
    if unit and case.machine.user_id("gnetsegd") is None:
        yield Fault("user-missing", "there is no user gnetsegd", "sudo systemd-sysusers")
    if case.status is not None:
        yield from _words(case, case.status)


def _unit(case: Case) -> Iterator[Fault]:
    unit, name = case.unit, case.unit_name
    if unit.get("UnitFileState") == "masked":
        yield Fault("unit-masked", f"{name} is masked, so nothing starts it", f"sudo systemctl unmask {name}")
    elif unit.get("UnitFileState") == "disabled":
        yield Fault(
            "unit-disabled",
            f"{name} is not enabled, so it does not start with the machine",
            f"sudo systemctl enable --now {name}",
        )
    if unit.get("NeedDaemonReload") == "yes":
        yield Fault(
            "unit-changed",
            f"the files of {name} were changed, and systemd has not read them",
            f"sudo systemctl daemon-reload && sudo systemctl restart {name}",
        )
    state, result = unit.get("ActiveState"), unit.get("Result", "success")
    restarts = int(unit.get("NRestarts", "0") or 0)
    if state == "failed" or unit.get("SubState") == "auto-restart":
        code = unit.get("ExecMainStatus", "")
        yield Fault(
            "unit-failing",
            f"{name} does not stay up ({result}, exit code {code}, {restarts} restarts)",
            f"journalctl -u {name} -n 20 says why; then sudo systemctl restart {name}",
        )
    elif state == "inactive":
        yield Fault("unit-stopped", f"{name} does not run", f"sudo systemctl start {name}")
    if _watchdog(case):
        yield Fault(
            "watchdog",
            f"systemd's watchdog has ended {name} since the boot: no mask came for too long",
            f"journalctl -b -u {name} -g 'watchdog|has not returned' shows what hung",
        )
    elif state == "active" and restarts >= _RESTARTS:
        yield Fault(
            "unit-restarts",
            f"{name} was restarted {restarts} times since it was started by hand or by the boot",
            f"journalctl -u {name} -p warning says why",
        )


def _watchdog(case: Case) -> bool:
    if case.unit.get("Result") == "watchdog":
        return True
    if not int(case.unit.get("NRestarts", "0") or 0):
        return False
    journal = case.machine.run(
        ["journalctl", "-b", "-u", case.unit_name, "-g", "Watchdog timeout", "-n", "1", "-q", "-o", "cat"]
    )
    return journal is not None and journal.code == 0 and "atchdog timeout" in journal.out


def _words(case: Case, status: dict[str, object]) -> Iterator[Fault]:
    state, reason = str(status["state"]), clean(str(status["reason"]), TEXT_CHARACTERS)
    if state not in _SOUND:
        yield Fault(
            f"daemon-{clean(state, 40)}",
            f"the daemon says {clean(state)}: {reason or 'no reason'}",
            f"mend what it names; journalctl -u {case.unit_name} -n 20 has more",
        )
    if status.get("fallback"):
        yield Fault(
            "fallback",
            f"the CPU stands in for the accelerator{': ' + reason if reason else ''}",
            f"plug the accelerator in again; journalctl -u {case.unit_name} -n 20 says why it was left",
        )
    version = status.get("version")
    if isinstance(version, str) and version != __version__:
        yield Fault(
            "old-process",
            f"gnetsegd {clean(version)} runs, and {__version__} is installed",
            f"sudo systemctl restart {case.unit_name}",
        )

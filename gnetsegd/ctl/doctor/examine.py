"""Look at everything, and tell it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click

from ...config import Config, from_dict
from ...config import load as load_config
from ...errors import GnetsegError
from . import Fault, cameras, configuration, power, readers, room, unit, usb
from .machine import Case, Machine

log = logging.getLogger(__name__)

CHECKS = (unit.check, configuration.check, cameras.check, usb.check, readers.check, power.check, room.check)
_PROPERTIES = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "NRestarts", "NeedDaemonReload",
    "ExecMainStatus", "MainPID",
)  # fmt: skip


def show(instance: str, as_json: bool, machine: Machine | None = None) -> int:
    """Print the faults; 1 if there are any. Nothing is printed for people where there are none."""
    faults = examine(machine if machine is not None else Machine(), instance)
    if as_json:
        click.echo(json.dumps({"faults": [fault._asdict() for fault in faults]}, indent=2))
    else:
        for fault in faults:
            click.echo(f"{click.style(fault.name, fg='red', bold=True)}: {fault.text}\n    {fault.remedy}")
    return 1 if faults else 0


def examine(machine: Machine, instance: str = "") -> list[Fault]:
    """Every fault of the unit ``gnetsegd``, or with ``instance`` of ``gnetsegd@INSTANCE``."""
    found = case_of(machine, instance)
    return [fault for check in CHECKS for fault in check(found)]


def case_of(machine: Machine, instance: str) -> Case:
    """The daemon's surroundings on ``machine``."""
    name = f"gnetsegd@{instance}.service" if instance else "gnetsegd.service"
    path = f"/etc/gnetsegd/{instance or 'gnetsegd'}.toml"
    if machine.stat(path) is None:
        path = ""
    config = _load(machine, path)
    said = machine.run(["systemctl", "show", name, *(f"--property={key}" for key in _PROPERTIES)])
    properties: dict[str, str] = {}
    if said is not None and said.code == 0:
        properties = dict(line.partition("=")[::2] for line in said.out.splitlines() if "=" in line)
    return Case(machine, name, path, config, properties, _status(machine, config))


def _load(machine: Machine, path: str) -> Config:
    try:
        return load_config(machine.path(path) if path else None)
    except GnetsegError:
        return from_dict({}, "defaults")  # that it is wrong is told by the check of the configuration


def _status(machine: Machine, config: Config) -> dict[str, object] | None:
    """From the first socket of this machine that is there."""
    for table in config.publish.all_endpoints():
        path = table.address.removeprefix("ipc://")
        if table.address.startswith("ipc://") and machine.path(path).exists() and "status" in table.kinds:
            return machine.ask(f"ipc://{Path(machine.path(path))}", config.camera.name)
    return None

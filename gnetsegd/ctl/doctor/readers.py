"""The sockets and keys: who may read."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from ...config import EndpointConfig
from . import Fault
from .machine import Case

_GROUP = "gnetsegd"


def check(case: Case) -> Iterator[Fault]:
    """Each endpoint of the configuration."""
    tables = case.config.publish.all_endpoints()
    for table in tables:
        if table.address.startswith("ipc://"):
            yield from _socket(case, table)
    if any(table.address.startswith("ipc://") for table in tables):
        yield from _reader(case)
    if case.config.publish.allow_plain_tcp and any(
        table.address.startswith("tcp://") and not table.curve_secret_key_file for table in tables
    ):
        yield Fault(
            "network-open",
            "masks go over the network unencrypted, to whoever asks (publish.allow_plain_tcp)",
            "sudo gnetsegctl keys init, then leave publish.allow_plain_tcp out",
        )
    for secret in {
        table.curve_secret_key_file: table for table in tables if table.curve_secret_key_file
    }.values():
        yield from _keys(case, secret)


def _socket(case: Case, table: EndpointConfig) -> Iterator[Fault]:
    path = table.address.removeprefix("ipc://")
    status = case.machine.stat(path)
    if not case.is_active:
        return
    if status is None:
        yield Fault(
            "socket-missing",
            f"the daemon runs, and its socket {path} is not there",
            f"sudo systemctl restart {case.unit_name}",
        )
        return
    if stat.S_IMODE(status.st_mode) & 0o777 != int(table.mode, 8):
        yield Fault(
            "socket-mode",
            f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, and the configuration says {table.mode}",
            f"sudo systemctl restart {case.unit_name}; nothing else should change it",
        )
    group = case.machine.group(_GROUP)
    if group is not None and status.st_gid != group[0]:
        yield Fault(
            "socket-group",
            f"{path} is not the group {_GROUP}'s, so its members may not read",
            f"sudo systemctl restart {case.unit_name}",
        )
    folder = case.machine.stat(str(Path(path).parent))
    if folder is not None and not folder.st_mode & stat.S_IXOTH:
        yield Fault(
            "socket-folder",
            f"only its owner may look into {Path(path).parent}, so nobody else reaches the socket",
            f"sudo systemctl restart {case.unit_name}; the unit's RuntimeDirectoryMode is 0755",
        )


def _reader(case: Case) -> Iterator[Fault]:
    machine = case.machine
    group, user = machine.group(_GROUP), machine.user
    if group is None or user in ("", "root", _GROUP):
        return
    number, members = group
    if user not in members:
        yield Fault(
            "reader-not-member",
            f"{user} is not in the group {_GROUP}, and so may not read the masks",
            f"sudo usermod -aG {_GROUP} {user}, then log out and in again",
        )
    elif number not in machine.groups():
        yield Fault(
            "reader-old-login",
            f"{user} is in the group {_GROUP}, but logged in before that was so",
            "log out and in again (or newgrp gnetsegd for this terminal)",
        )


def _keys(case: Case, table: EndpointConfig) -> Iterator[Fault]:
    machine, file, folder = case.machine, table.curve_secret_key_file, table.curve_authorized_keys_dir
    status = machine.stat(file)
    if status is None:
        if machine.stat(str(Path(file).parent)) is not None:
            yield Fault("key-missing", f"the daemon's key {file} is not there", "sudo gnetsegctl keys init")
        return
    group, owner = machine.group(_GROUP), machine.user_id(_GROUP)
    mode = status.st_mode
    readable = status.st_uid == owner or (
        group is not None and status.st_gid == group[0] and mode & stat.S_IRGRP
    )
    if not readable and owner is not None:
        yield Fault(
            "key-unreadable",
            f"the daemon may not read its key {file}",
            f"sudo chown root:{_GROUP} {file} && sudo chmod 0640 {file}",
        )
    if mode & stat.S_IRWXO:
        yield Fault(
            "key-exposed",
            f"everybody on this machine may read the daemon's secret key {file}",
            f"sudo chmod 0640 {file}; if others use this machine, sudo gnetsegctl keys init --new",
        )
    if not folder:
        yield Fault(
            "keys-of-anybody",
            f"{table.address} permits every client that knows the daemon's public key",
            "set curve_authorized_keys_dir, and permit clients with gnetsegctl keys add NAME",
        )
    elif machine.stat(folder) is not None and not any(n.endswith(".key") for n in machine.entries(folder)):
        yield Fault(
            "keys-none",
            f"no client is permitted at {table.address}: {folder} holds no key",
            "sudo gnetsegctl keys add NAME",
        )

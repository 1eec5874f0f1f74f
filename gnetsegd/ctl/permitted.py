"""``gnetsegctl keys``: who may read over the network. The running daemon takes over each change by itself.

The folder, by default ``/etc/gnetsegd/keys``, belongs to root; the daemon's group may read it:

    daemon.key, daemon.key_secret    the daemon's own pair
    clients/NAME.key                 who is permitted
    issued/NAME.key_secret           pairs that were made here for clients; root's alone
"""

from __future__ import annotations

import grp
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click

from .. import curve
from ..client import StatusSubscriber
from ..config import DEFAULT_PATH, Config, EndpointConfig
from ..config import load as load_config
from ..errors import ConfigError, PermanentError
from ..text import clean
from .keys import create

FOLDER = DEFAULT_PATH.parent / "keys"
GROUP = "gnetsegd"
PORT = 5555
#: The daemon looks at the folder twice a second, and says at once what is in force.
TAKEN_OVER_S = 5.0
_LOOK_S = 0.05
_DAEMON, _CLIENTS, _ISSUED = "daemon", "clients", "issued"


class Place(NamedTuple):
    """Where the keys are, and the daemon that uses them, if its configuration does."""

    folder: Path
    secret: Path
    clients: Path
    config: Config
    endpoint: EndpointConfig | None

    @property
    def public(self) -> Path:
        return self.secret.with_suffix(".key")

    @property
    def issued(self) -> Path:
        return self.folder / _ISSUED


def find(config_file: Path | None, folder: Path | None) -> Place:
    """The keys of a configuration: of its first endpoint that permits single clients. ``ConfigError``."""
    path = config_file if config_file is not None else DEFAULT_PATH
    config = load_config(path if config_file is not None or path.exists() else None)
    guarded = [t for t in config.publish.all_endpoints() if t.curve_authorized_keys_dir]
    if folder is None and guarded:
        secret = Path(guarded[0].curve_secret_key_file)
        return Place(secret.parent, secret, Path(guarded[0].curve_authorized_keys_dir), config, guarded[0])
    # The daemon that is told of it stands in another folder.
    folder = folder.absolute() if folder is not None else FOLDER
    clients = folder / _CLIENTS
    used = next((t for t in guarded if Path(t.curve_authorized_keys_dir) == clients), None)
    return Place(folder, folder / f"{_DAEMON}.key_secret", clients, config, used)


def init(place: Place, new: bool) -> None:
    """Make the folder and the daemon's pair. ``PermanentError`` where there is one, unless ``new``."""
    group = _group()
    for made, mode in ((place.folder, 0o750), (place.clients, 0o750), (place.issued, 0o700)):
        _make_folder(made, mode, group if mode == 0o750 else -1)
    there = place.secret.exists()
    if there and not new:
        raise PermanentError(
            f"{clean(str(place.secret))} is there already; with --new every client needs the new public key",
            os.EX_CANTCREAT,
        )
    public, secret = _pair()
    _write(place.secret, _certificate(public, secret), 0o640, group)
    _write(place.public, _certificate(public), 0o644, group)
    click.echo(f"{clean(str(place.secret))}: the daemon's key, made {'anew' if there else 'now'}")
    if there:
        click.echo("it is used after: sudo systemctl restart gnetsegd")
    if place.endpoint is None:
        click.echo("\n".join(["add to the configuration, then restart the daemon:", "", *lines(place)]))


def lines(place: Place) -> list[str]:
    """What makes a daemon listen on the network, with these keys."""
    local = [t.address for t in place.config.publish.all_endpoints() if t.address.startswith("ipc://")]
    tables = [f'[[publish.endpoint]]\naddress = "{address}"\n' for address in local]
    return [
        *tables,
        "[[publish.endpoint]]",
        f'address = "tcp://0.0.0.0:{PORT}"',
        f'curve_secret_key_file = "{place.secret}"',
        f'curve_authorized_keys_dir = "{place.clients}"',
    ]


def add(place: Place, name: str, public: str | None) -> None:
    """Permit a client: with a pair that is made here, or with the key that it has made itself."""
    _check_made(place)
    file = place.clients / f"{name}.key"
    if file.exists():
        raise PermanentError(f"{clean(str(file))} is there already; revoke {name} first", os.EX_CANTCREAT)
    if public is None:
        key, secret = _pair()
        _write(place.issued / f"{name}.key_secret", _certificate(key, secret), 0o600, -1)
    else:
        key = public.encode("ascii", "replace")
        if not curve.is_key(key):
            raise ConfigError("--public is no CURVE key: that is 40 characters of Z85", os.EX_USAGE)
    _write(file, _certificate(key), 0o640, _group())
    _wait_until_taken_over(place, f"{name} may read")
    if public is None:
        click.echo(f"for its machine: sudo gnetsegctl keys show-client-config {name} > {name}.toml")


def revoke(place: Place, name: str) -> None:
    """Take a client's permission back: after this it gets nothing more."""
    file = place.clients / f"{name}.key"
    if not file.exists():
        known = ", ".join(sorted(permitted.stem for permitted in place.clients.glob("*.key"))) or "nobody"
        raise PermanentError(f"{name} is not permitted; permitted are: {clean(known)}", os.EX_NOINPUT)
    key, _ = curve.load(file)
    try:
        file.unlink()
        (place.issued / f"{name}.key_secret").unlink(missing_ok=True)
    except OSError as error:
        raise _refused(file, error) from None
    others = curve.permitted(place.clients).names.get(key)
    if others is not None:
        raise PermanentError(
            f"the same key is permitted as {clean(others)}, so this client still reads; revoke that, too",
            os.EX_TEMPFAIL,
        )
    _wait_until_taken_over(place, f"{name} gets nothing more")


def names(place: Place) -> list[dict[str, object]]:
    """Who is permitted: name, public key, since when (s since 1970)."""
    found: list[dict[str, object]] = []
    for file in sorted(place.clients.glob("*.key")):
        try:
            key, _ = curve.load(file)
        except ConfigError as error:
            found.append({"name": clean(file.stem), "problem": str(error)})
            continue
        found.append({"name": clean(file.stem), "public_key": key.decode(), "since_s": file.stat().st_mtime})
    return found


def client_config(place: Place, name: str, host: str | None) -> str:
    """A client's file in TOML: address, camera and keys. ``PermanentError`` for one that is not permitted."""
    file = place.clients / f"{name}.key"
    if not file.exists():
        raise PermanentError(f"{name} is not permitted; sudo gnetsegctl keys add {name}", os.EX_NOINPUT)
    server, _ = curve.load(place.public)
    public, _ = curve.load(file)
    secret = None
    with suppress(ConfigError):
        secret = curve.load(place.issued / f"{name}.key_secret")[1]
    address = place.endpoint.address if place.endpoint is not None else f"tcp://0.0.0.0:{PORT}"
    port = address.rpartition(":")[2]
    written = [
        f"# What {name} needs to read the masks. Whoever has this file can read as {name}.",
        f'endpoint = "tcp://{host or socket.gethostname()}:{port}"',
        f'camera = "{place.config.camera.name}"',
        f'server_key = "{server.decode()}"',
        f'public_key = "{public.decode()}"',
    ]
    if secret is not None:
        written.append(f'secret_key = "{secret.decode()}"')
    else:
        written.append('secret_key = ""  # the one that the client has made with this public key')
    return "\n".join(written) + "\n"


def _wait_until_taken_over(place: Place, words: str) -> None:
    """Until the running daemon holds everybody to the keys that are in the folder now.

    ``PermanentError`` if it does not say so in time: what was asked for then is not certain.
    """
    wanted = curve.permitted(place.clients).digest
    for table in place.config.publish.all_endpoints():
        path = table.address.removeprefix("ipc://")
        if place.endpoint is None or table.address == path or "status" not in table.kinds:
            continue
        if not os.path.exists(path):  # noqa: PTH110 - says no, where Path's raises
            continue
        deadline = time.monotonic() + TAKEN_OVER_S
        with StatusSubscriber(table.address, place.config.camera.name) as daemon:
            while time.monotonic() < deadline:
                status = daemon.status(_LOOK_S)
                if status is not None and daemon.alive and wanted in status.get("keys", ()):
                    click.echo(words)
                    return
                time.sleep(_LOOK_S)
        raise PermanentError(
            f"the daemon has not taken the keys over within {TAKEN_OVER_S:g} s; journalctl -u gnetsegd says "
            "why, sudo systemctl restart gnetsegd makes it certain",
            os.EX_TEMPFAIL,
        )
    click.echo(f"{words}, once a daemon runs with these keys")


def _check_made(place: Place) -> None:
    if not place.secret.exists() or not place.clients.is_dir():
        raise PermanentError(
            f"there are no keys in {clean(str(place.folder))}; sudo gnetsegctl keys init makes them",
            os.EX_NOINPUT,
        )


def _group() -> int:
    """The daemon's group, -1 where there is none, or where this user may not give files away."""
    if os.geteuid() != 0:
        return -1
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return -1


def _pair() -> tuple[bytes, bytes]:
    import zmq

    return zmq.curve_keypair()


def _certificate(public: bytes, secret: bytes | None = None) -> bytes:
    """As ZeroMQ's own tools write it."""
    kind = "Public" if secret is None else "SECRET"
    written = f'#   ZeroMQ CURVE {kind} Certificate\nmetadata\ncurve\n    public-key = "{public.decode()}"\n'
    if secret is not None:
        written += f'    secret-key = "{secret.decode()}"\n'
    return written.encode()


def _make_folder(folder: Path, mode: int, group: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
        if group >= 0:
            os.chown(folder, -1, group)
    except OSError as error:
        raise _refused(folder, error) from None


def _write(file: Path, content: bytes, mode: int, group: int) -> None:
    """Whole or not at all, and with its mode and owner from the first moment on."""
    fresh = file.with_name(f".{file.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        create(fresh, content, mode)
        if group >= 0:
            os.chown(fresh, -1, group)
        fresh.replace(file)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise _refused(file, error) from None


def _refused(path: Path, error: OSError) -> PermanentError:
    denied = isinstance(error, PermissionError)
    remedy = "try with sudo" if denied else "name another --folder"
    return PermanentError(
        f"{clean(str(path))}: {error.strerror}; {remedy}", os.EX_NOPERM if denied else os.EX_CANTCREAT
    )

"""ZeroMQ endpoints: what may be bound, and by whom.

An ipc socket gets its mode before anyone can connect, and is never taken from a daemon that is
alive; TCP off this machine needs CURVE or a key that says otherwise by name.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from ..errors import ConfigError, PermanentError

if TYPE_CHECKING:
    from ..config import PublishConfig

#: sockaddr_un.sun_path less its NUL.
IPC_PATH_MAX_BYTES = 107


def check(config: PublishConfig) -> None:
    """``ConfigError`` for an endpoint that cannot or must not be bound."""
    if not config.endpoints:
        raise ConfigError(
            "publish.endpoints is empty; name at least one, such as ipc:///run/gnetsegd/masks.sock"
        )
    for endpoint in config.endpoints:
        scheme, separator, rest = endpoint.partition("://")
        if "\0" in endpoint:
            scheme = ""
        if scheme == "ipc" and separator and rest.startswith("/"):
            if len(os.fsencode(rest)) > IPC_PATH_MAX_BYTES:
                raise ConfigError(
                    f"publish.endpoints: the path of {endpoint} is longer than {IPC_PATH_MAX_BYTES} bytes; "
                    "choose a shorter one"
                )
        elif scheme == "tcp" and separator and _has_port(rest):
            if not (_is_loopback(rest) or config.curve_secret_key_file or config.allow_plain_tcp):
                raise ConfigError(
                    f"publish.endpoints: {endpoint} would show the masks to the whole network; set "
                    "publish.curve_secret_key_file, or publish.allow_plain_tcp = true if that is meant"
                )
        else:
            raise ConfigError(
                f"publish.endpoints: {endpoint!r} is neither ipc:///absolute/path nor tcp://address:port "
                "(1 to 65535)"
            )
    if config.curve_secret_key_file and not any(map(is_tcp, config.endpoints)):
        raise ConfigError(
            "publish.curve_secret_key_file is set, but none of publish.endpoints is tcp: nothing would use it"
        )


def _has_port(address: str) -> bool:
    port = address.rpartition(":")[2] if ":" in address else ""
    return port == "*" or (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535)


def is_tcp(endpoint: str) -> bool:
    return endpoint.startswith("tcp://")


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    if host in ("localhost", "lo"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Binding:
    """One bound endpoint. For ipc it holds a lock file, so that two daemons never share a path."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        #: As it was bound: with the port that was chosen for ``tcp://...:*``.
        self.bound = endpoint
        self._path: Path | None = None
        self._lock_fd = -1

    def bind(self, bound: zmq.Socket[bytes], ipc_mode: int) -> None:
        """Bind ``bound`` here; ``PermanentError`` with a sysexits code when that is impossible."""
        if is_tcp(self.endpoint):
            self._bind(bound)
            return
        path = Path(self.endpoint.removeprefix("ipc://"))
        self._lock(path)
        try:
            _refuse_living(path)
            # The mode must hold from the first moment on, so umask and not chmod.
            umask = os.umask(0o777 & ~ipc_mode)
            try:
                self._bind(bound)
                self._path = path
            finally:
                os.umask(umask)
        except PermanentError:
            self.release()
            raise

    def _bind(self, bound: zmq.Socket[bytes]) -> None:
        try:
            bound.bind(self.endpoint)
            self.bound = bound.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE:
                raise PermanentError(
                    f"{self.endpoint} is in use by another program; stop it or choose another endpoint",
                    os.EX_TEMPFAIL,
                ) from None
            code = os.EX_NOPERM if error.errno in (errno.EACCES, errno.EPERM) else os.EX_CANTCREAT
            raise PermanentError(
                f"{self.endpoint} cannot be bound ({error.strerror}); mend publish.endpoints", code
            ) from None

    def _lock(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        try:
            self._lock_fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            remedy = "create the folder" if missing else "let this user write there"
            raise PermanentError(
                f"{self.endpoint}: {lock} cannot be written to ({error.strerror}); "
                f"{remedy} or choose another endpoint",
                os.EX_CANTCREAT,
            ) from None
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.release()
            raise PermanentError(
                f"{self.endpoint} belongs to a gnetsegd that is running; stop it or choose another endpoint",
                os.EX_TEMPFAIL,
            ) from None

    def release(self) -> None:
        """Remove the socket's file and let the next daemon have the path; the lock's file stays."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def _refuse_living(path: Path) -> None:
    """ZeroMQ would remove whatever is at ``path``: make sure that it is only a left-over socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise PermanentError(
            f"{path} is there and is no socket; remove it or choose another endpoint", os.EX_CANTCREAT
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.connect(str(path))
        raise PermanentError(
            f"{path} is in use by another program; stop it or choose another endpoint", os.EX_TEMPFAIL
        )

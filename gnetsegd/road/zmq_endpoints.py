"""ZeroMQ endpoints: what may be bound, and by whom.

An ipc socket gets its mode before anyone can connect, and is never taken from a daemon that is
alive; TCP off this machine needs CURVE or a key that says otherwise by name.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import zmq

from ..errors import ConfigError, PermanentError
from ..tcp import has_port, is_loopback

if TYPE_CHECKING:
    from ..config import EndpointConfig, PublishConfig

#: sockaddr_un.sun_path less its NUL.
IPC_PATH_MAX_BYTES = 107
#: A filter of one instruction (BPF_RET, 0 bytes of the packet), and how Linux takes it: <asm/socket.h>.
_DROP_ALL = struct.pack("=HBBI", 6, 0, 0, 0)
_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
#: Connections that the kernel keeps for a listener that is busy; they still come in after it is shut.
BACKLOG_CONNECTIONS = 32
#: How often a socket's file that somebody removes is made anew.
LISTENERS_MAX = 16


def check(config: PublishConfig) -> None:
    """``ConfigError`` for an endpoint that cannot or must not be bound."""
    tables = config.all_endpoints()
    if not tables:
        raise ConfigError(
            "publish.endpoints is empty; name at least one, such as ipc:///run/gnetsegd/masks.sock"
        )
    if config.curve_secret_key_file and not any(map(is_tcp, config.endpoints)):
        for table in tables:
            _check_address("publish.endpoints", table.address)
        raise ConfigError(
            "publish.curve_secret_key_file is set, but none of publish.endpoints is tcp: nothing would use it"
        )
    if config.endpoint:
        _check_short_form(config)
    seen: set[str] = set()
    short = len(config.endpoints)
    for number, table in enumerate(tables):
        key = "publish.endpoints" if number < short else f"publish.endpoint[{number - short + 1}]"
        _check_address(key, table.address)
        if table.address in seen and not table.address.endswith(":*"):
            raise ConfigError(f"{key}: {table.address} is named twice; leave one out")
        seen.add(table.address)
        _check_access(key, table, config.allow_plain_tcp)


def _check_short_form(config: PublishConfig) -> None:
    """Beside tables, a setting of ``publish.endpoints`` that guards none of them is a mistake."""
    ipc = any(not is_tcp(address) for address in config.endpoints)
    for name, used, instead in (
        ("ipc_mode", ipc, "mode"),
        ("send_hwm_messages", bool(config.endpoints), "send_hwm_messages"),
    ):
        default = attrs.fields_dict(type(config))[name].default
        if not used and getattr(config, name) != default:
            raise ConfigError(
                f"publish.{name} is for publish.endpoints, and none of those would use it; set {instead} in "
                "[[publish.endpoint]]"
            )


def _check_address(key: str, address: str) -> None:
    scheme, separator, rest = address.partition("://")
    if "\0" in address:
        scheme = ""
    if scheme == "ipc" and separator and rest.startswith("/"):
        if len(os.fsencode(rest)) > IPC_PATH_MAX_BYTES:
            raise ConfigError(
                f"{key}: the path of {address} is longer than {IPC_PATH_MAX_BYTES} bytes; "
                "choose a shorter one"
            )
    elif not (scheme == "tcp" and separator and has_port(rest)):
        raise ConfigError(
            f"{key}: {address!r} is neither ipc:///absolute/path nor tcp://address:port (1 to 65535)"
        )


def _check_access(key: str, table: EndpointConfig, allow_plain_tcp: bool) -> None:
    if not table.kinds:
        raise ConfigError(f"{key}: kinds is empty, so {table.address} would serve nothing; leave kinds out")
    curve = table.curve_secret_key_file
    if is_tcp(table.address):
        exposed = not is_loopback(table.address.removeprefix("tcp://"))
        if exposed and not (curve or allow_plain_tcp):
            owner = "publish." if key == "publish.endpoints" else ""
            raise ConfigError(
                f"{key}: {table.address} would show the masks to the whole network; set "
                f"{owner}curve_secret_key_file, or publish.allow_plain_tcp = true if that is meant"
            )
    elif curve:
        raise ConfigError(
            f"{key}: curve_secret_key_file is for tcp, and {table.address} is guarded by its mode; "
            "leave the key out"
        )
    if table.curve_authorized_keys_dir and not curve:
        raise ConfigError(
            f"{key}: curve_authorized_keys_dir without curve_secret_key_file would guard nothing; set both"
        )


def is_tcp(endpoint: str) -> bool:
    return endpoint.startswith("tcp://")


class Binding:
    """One bound endpoint. For ipc it holds a lock file, so that two daemons never share a path.

    The ipc socket is made here and handed to libzmq, which would unlink the path whoever's it is by then.
    libzmq ends all connections with their listener. To take no more for a time, an ipc socket's file is moved
    away, and a TCP listener gets a filter that drops whatever comes.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        #: As it was bound: with the port that was chosen for ``tcp://...:*``.
        self.bound = endpoint
        #: The name that getsockname(2) gives of its connections: the path, or the port.
        self.local_name: str | int = ""
        self.is_shut = False
        #: From before its file is moved away until after it is back.
        self._is_aside = False
        #: libzmq's own descriptor of the listener, for TCP.
        self.listener_fd = -1
        self._ipc_mode = 0
        #: Listeners whose file somebody has removed.
        self._kept: list[socket.socket] = []
        self._path: Path | None = None
        self._identity: tuple[int, int] | None = None
        self._listener: socket.socket | None = None
        self._lock_fd = -1

    def bind(self, bound: zmq.Socket[bytes], ipc_mode: int) -> None:
        """Bind ``bound`` here; ``PermanentError`` with a sysexits code when that is impossible."""
        if is_tcp(self.endpoint):
            self._bind(bound)
            self.local_name = int(self.bound.rpartition(":")[2])
            return
        path = Path(self.endpoint.removeprefix("ipc://"))
        self._ipc_mode = ipc_mode
        self.local_name = str(path)
        self._lock(path)
        try:
            _remove_left_over(path)
            self._listen(path, ipc_mode)
            self._bind(bound)
        except PermanentError:
            self.release()
            raise

    def is_ours(self) -> bool:
        """Whether who follows the address still comes here (one stat(2)); False if the path is gone."""
        return self._path is None or self._is_aside or _identity(self._path) == self._identity

    def bind_again(self, bound: zmq.Socket[bytes]) -> bool:
        """Make the socket's file anew where it is gone; False where that cannot be.

        It cannot where its folder is gone, too, or another daemon has the path. Who is connected stays so:
        the listener without a file is kept, since libzmq ends all connections with it.
        """
        path = self._path
        if path is None or len(self._kept) >= LISTENERS_MAX or path.exists() or not path.parent.is_dir():
            return False
        lock = path.with_name(path.name + ".lock")
        if _identity(lock) != _file_identity(self._lock_fd):
            held, self._lock_fd = self._lock_fd, -1
            try:
                self._lock(path)
            except PermanentError:
                self._lock_fd = held
                return False
            os.close(held)
        kept = self._listener
        try:
            self._listen(path, self._ipc_mode)
            self._bind(bound)
        except PermanentError:
            return False
        if kept is not None:
            self._kept.append(kept)
        return True

    def shut(self) -> None:
        """Take no new connections, and keep those that are there."""
        if self.is_shut or not self.is_ours():
            return
        # First: who looks for the file meanwhile is not to miss it.
        self._is_aside = True
        try:
            if self._path is not None:
                self._path.rename(self._aside(self._path))
            else:
                drop = ctypes.create_string_buffer(_DROP_ALL)
                self._filter(_SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(drop)))
            self.is_shut = True
        except OSError:
            self._is_aside = False

    def open_again(self) -> None:
        """Undo ``shut``, unless somebody else has taken the path."""
        if not self.is_shut:
            return
        if self._path is None:
            with suppress(OSError):
                self._filter(_SO_DETACH_FILTER, bytes(4))
        else:
            aside = self._aside(self._path)
            with suppress(OSError):
                self._path.hardlink_to(aside)
            with suppress(OSError):
                aside.unlink()
        self.is_shut = self._is_aside = False

    def _filter(self, option: int, value: bytes) -> None:
        with socket.socket(fileno=os.dup(self.listener_fd)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, option, value)

    @staticmethod
    def _aside(path: Path) -> Path:
        return path.with_name(path.name + ".shut")

    def _listen(self, path: Path, ipc_mode: int) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # The mode must hold from the first moment on, so umask and not chmod.
        umask = os.umask(0o777 & ~ipc_mode)
        try:
            self._listener.bind(str(path))
            self._listener.listen(BACKLOG_CONNECTIONS)
        except OSError as error:
            raise self._refusal(error) from None
        finally:
            os.umask(umask)
        self._path, self._identity = path, _identity(path)

    def _bind(self, bound: zmq.Socket[bytes]) -> None:
        # libzmq closes the descriptor that it is given: it gets one of its own.
        given = os.dup(self._listener.fileno()) if self._listener is not None else -1
        try:
            bound.setsockopt(zmq.USE_FD, given)
            bound.bind(self.endpoint)
            self.bound = bound.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        except zmq.ZMQError as error:
            if given >= 0:
                os.close(given)
            raise self._refusal(error) from None
        finally:
            bound.setsockopt(zmq.USE_FD, -1)

    def _refusal(self, error: OSError | zmq.ZMQError) -> PermanentError:
        if error.errno == errno.EADDRINUSE:
            return PermanentError(
                f"{self.endpoint} is in use by another program; stop it or choose another endpoint",
                os.EX_TEMPFAIL,
            )
        code = os.EX_NOPERM if error.errno in (errno.EACCES, errno.EPERM) else os.EX_CANTCREAT
        return PermanentError(
            f"{self.endpoint} cannot be bound ({error.strerror}); mend publish.endpoints", code
        )

    def _lock(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        try:
            self._lock_fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            if error.errno == errno.ELOOP:
                words = f"{lock} is a symbolic link; remove it or choose another endpoint"
                raise PermanentError(f"{self.endpoint}: {words}", os.EX_CANTCREAT) from None
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
        """Remove the socket's file if it is still this one's, and let the next daemon have the path.

        The lock's file stays.
        """
        if self._path is not None:
            self.open_again()
            if self.is_ours():
                with suppress(OSError):
                    self._path.unlink()
            self._path = self._identity = None
        for listener in (self._listener, *self._kept):
            if listener is not None:
                listener.close()
        self._listener, self._kept = None, []
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one that has its name; None if there is no such file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _file_identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def check_paths(config: PublishConfig) -> None:
    """``PermanentError`` where something other than a socket has the place of one on this machine."""
    for table in config.all_endpoints():
        if not is_tcp(table.address):
            with suppress(OSError):  # what this user may not see, the daemon's may
                _is_there(Path(table.address.removeprefix("ipc://")))


def _is_there(path: Path) -> bool:
    """Whether a socket's file has the place; ``PermanentError`` where it is something else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise PermanentError(
            f"{path} is there and is no socket; remove it or choose another endpoint", os.EX_CANTCREAT
        )
    return True


def _remove_left_over(path: Path) -> None:
    """Make room at ``path`` if all that is there is a socket that nobody listens on."""
    if not _is_there(path):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A program whose queue of connections is full answers at once in this way, too.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise PermanentError(
                    f"{path} is left over and cannot be removed ({error.strerror}); remove it", os.EX_NOPERM
                ) from None
            return
        except PermissionError:
            raise PermanentError(
                f"{path} is a socket of another user; remove it or choose another endpoint", os.EX_NOPERM
            ) from None
        except OSError:
            pass
    raise PermanentError(
        f"{path} is in use by another program; stop it or choose another endpoint", os.EX_TEMPFAIL
    )

"""A Zenoh session: found, opened, waited for."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

from ...errors import ConfigError, PermanentError, TransientError
from ...files import read_regular
from ...text import clean
from .config import LOCAL_ROUTER, LinkConfig

#: One try to reach a router, in ms.
CONNECT_MS = 2000
#: A peer that says nothing for so long is lost: so a cut link is told within 5 s.
LEASE_MS = 2500
KEEP_ALIVES = 4
#: What the kernel keeps for a link that is full. Its own choice grows to megabytes: masks would come in their
#: order, and seconds old. Large enough for some 3 MB/s where an answer takes 10 ms.
SEND_BUFFER_BYTES = 32 << 10
#: Of one message that comes; the largest mask has 16 MiB. Zenoh's own limit is 1 GiB, which anybody may send.
MESSAGE_BYTES_MAX = 32 << 20
RETRY_S = 2.0
#: Of Zenoh's own configuration, and of each certificate and key in it.
FILE_BYTES_MAX = 1 << 20
_TLS_FILES = ("root_ca_certificate", "connect_certificate", "connect_private_key")
#: Of an address; what is behind a port are Zenoh's own settings for it.
_ADDRESS = re.compile(r"(tcp|tls|quic|udp|ws)/[^\s/]+:(\d{1,5})([?#].*)?|(unixsock-stream|vsock|serial)/.+")
#: Where the Debian package has it.
PACKAGED = Path("/usr/lib/gnetseg-zenoh")


def load() -> Any:
    """The module. ``PermanentError`` where it is not installed."""
    if PACKAGED.is_dir() and str(PACKAGED) not in sys.path:
        # Behind the others: whoever has installed one means that one.
        sys.path.append(str(PACKAGED))
    try:
        import zenoh
    except ImportError as error:
        raise PermanentError(
            f"many machines need eclipse-zenoh ({clean(str(error))}): apt install gnetseg-zenoh, or "
            "pip install 'gnetsegd[zenoh]'"
        ) from None
    # Its own lines would stand among ours; RUST_LOG shows them.
    zenoh.init_log_from_env_or("error")
    return zenoh


def configuration(config: LinkConfig) -> Any:
    """Zenoh's own. ``ConfigError`` for a file or an address that it does not take."""
    zenoh = load()
    own = f"zenoh.config_file {clean(config.config_file)}"
    try:
        if config.config_file:
            _read(config.config_file)  # Zenoh itself would read a pipe or a device for ever
        made = zenoh.Config.from_file(config.config_file) if config.config_file else zenoh.Config()
    except OSError as error:
        raise ConfigError(f"{own}: {error.strerror}; name another", os.EX_NOINPUT) from None
    except ValueError as error:
        raise ConfigError(f"{own}: {clean(str(error))}; name another") from None
    except zenoh.ZError as error:
        raise ConfigError(f"{own}: {_words(error)}") from None
    for name in _TLS_FILES:
        _check_tls(f"{own}: {name}", json.loads(made.get_json(f"transport/link/tls/{name}")))
    for address in config.connect:
        found = _ADDRESS.fullmatch(address)
        if found is None or int(found[2] or 1) not in range(1, 65536):
            raise ConfigError(f"zenoh.connect: {clean(address)!r} is no address; one is like {LOCAL_ROUTER}")
    values: dict[str, Any] = {
        "mode": "client",
        "connect/endpoints": list(config.connect) or _addresses(made) or [LOCAL_ROUTER],
        "connect/timeout_ms": CONNECT_MS,
        # Who is there is said in the configuration, not shouted into the network.
        "scouting/multicast/enabled": False,
        # For programs of one machine; here it would be 16 MiB for nothing.
        "transport/shared_memory/enabled": False,
        "transport/link/rx/max_message_size": MESSAGE_BYTES_MAX,
        "transport/link/tx/lease": LEASE_MS,
        "transport/link/tx/keep_alive": KEEP_ALIVES,
        # Of masks: what waits here is older than what is dropped.
        "transport/link/tx/queue/size/data_low": 1,
    }
    for protocol in ("tcp", "tls"):
        key = f"transport/link/{protocol}/so_sndbuf"
        if json.loads(made.get_json(key)) is None:  # the file may know the link better
            values[key] = SEND_BUFFER_BYTES
    for key, value in values.items():
        try:
            made.insert_json5(key, json.dumps(value))
        except zenoh.ZError as error:
            raise ConfigError(f"zenoh.connect: {_words(error)}; it is like tcp/HOST:7447") from None
    return made


def _read(path: str) -> None:
    read_regular(Path(path), FILE_BYTES_MAX)


def _check_tls(what: str, path: str | None) -> None:
    """Zenoh tells of a file that it cannot read in its own log alone; to its users no router answers."""
    try:
        if path is not None:
            _read(path)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"{what} {clean(path or '')}: {clean(str(words))}; name another, or let this user read it",
            os.EX_NOINPUT,
        ) from None


def _addresses(made: Any) -> list[str]:
    """Of its routers."""
    found = json.loads(made.get_json("connect/endpoints"))
    if isinstance(found, dict):  # one list for each mode
        found = found.get("client") or []
    return [str(one) for one in found]


def where(made: Any) -> str:
    """The routers of a ``configuration``, for sentences."""
    return clean(", ".join(_addresses(made)))


def open_session(config: LinkConfig) -> Any:
    """``TransientError`` where no router answers, with its address."""
    zenoh = load()
    made = configuration(config)
    try:
        return zenoh.open(made)
    except zenoh.ZError as error:
        place = where(made)
        # Zenoh tells of a bad certificate in its own log alone.
        hint = ", or its certificate is not one that zenoh.config_file trusts" if "tls/" in place else ""
        raise TransientError(
            f"no Zenoh router answers at {place}{hint} ({_words(error)}); start one, or name another "
            "(zenoh.connect, --connect)"
        ) from None


def wait_for_session(config: LinkConfig, stop: threading.Event, told: Any) -> Any | None:
    """Again and again; ``told`` hears each new reason. None where it is to stop."""
    before = ""
    while not stop.is_set():
        try:
            return open_session(config)
        except TransientError as error:
            if str(error) != before:
                before = str(error)
                told(before)
            stop.wait(RETRY_S)
    return None


def _words(error: Exception) -> str:
    """What Zenoh says, without where in its sources, and how it packs that."""
    inner = re.search(r'msg: "(.*)"', str(error))
    words = inner[1] if inner else str(error)
    return clean(words.partition(" at /")[0].partition(", expected one of")[0], 200)

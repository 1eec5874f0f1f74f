"""``gnetsegctl view``: serve the page until it is ended."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ...errors import PermanentError
from ...text import clean
from ..here import check
from .app import make_app
from .cameras import Cameras
from .door import Door
from .guard import Guard, addresses_of_this_machine, load_token, names_of_this_machine

#: For streams to end.
STOP_S = 2.0
BACKLOG = 64
KEEPALIVE_S = 15.0


class Options(NamedTuple):
    """As the command line has them; ``endpoints`` empty: all of this machine."""

    endpoints: tuple[str, ...]
    port: int
    share: bool
    new_token: bool
    viewers: int
    state_folder: Path


def serve(options: Options) -> None:
    """Until SIGTERM or SIGINT. ``PermanentError`` where the page cannot be served."""
    token = _token(options) if options.share else ""
    sockets = _listen(options)
    asyncio.run(_serve(options, sockets, token))


def _token(options: Options) -> str:
    path = options.state_folder / "token"
    try:
        return load_token(path, options.new_token)
    except OSError as error:
        raise PermanentError(
            f"{clean(str(path))}: the token cannot be kept ({error.strerror}); name a folder with --state",
            os.EX_CANTCREAT,
        ) from None


def _listen(options: Options) -> list[socket.socket]:
    """Sockets of this machine alone, or of the network where the page is shared."""
    hosts = [(socket.AF_INET, "0.0.0.0" if options.share else "127.0.0.1")]
    hosts.append((socket.AF_INET6, "::" if options.share else "::1"))
    made: list[socket.socket] = []
    port = options.port
    for family, host in hosts:
        try:
            one = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue  # a machine without IPv6
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((host, port))
            port = one.getsockname()[1]
            made.append(one)
        except OSError as error:
            one.close()
            if family == socket.AF_INET6 and made:
                continue
            raise PermanentError(
                f"port {port} cannot be used ({error.strerror}); choose another with --port", os.EX_TEMPFAIL
            ) from None
    return made


def _addresses(options: Options, port: int, token: str) -> list[str]:
    if not options.share:
        return [
            f"the page: http://localhost:{port}/ (on this machine alone; --share opens it to your network)"
        ]
    # What stands behind the # is never sent, so that no log has it.
    addresses = [*addresses_of_this_machine(), *names_of_this_machine()[1:2]]
    lines = [f"the page: http://{address}:{port}/#token={token}" for address in addresses]
    lines.append("whoever has this address may look; the way to it is not encrypted (http)")
    code = _qr_code(f"http://{addresses[0]}:{port}/#token={token}")
    return [*lines, code] if code else lines


def _qr_code(text: str) -> str:
    """For a phone's camera; empty without segno."""
    try:
        segno: Any = import_module("segno")
    except ImportError:
        return ""
    rows = [
        [False] * 4 + [bool(dark) for dark in row] + [False] * 4
        for row in segno.make(text, micro=False).matrix
    ]
    width = len(rows[0])
    rows = [[False] * width] * 4 + rows + [[False] * width] * 4
    rows += [[False] * width] * (len(rows) % 2)
    # Two rows a line; light is drawn, for a dark terminal.
    blocks = {(False, False): "█", (True, False): "▄", (False, True): "▀", (True, True): " "}
    return "\n".join(
        "".join(blocks[pair] for pair in zip(rows[y], rows[y + 1], strict=True))
        for y in range(0, len(rows), 2)
    )


async def _serve(options: Options, sockets: list[socket.socket], token: str) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with served(options, sockets, token):
        for line in _addresses(options, sockets[0].getsockname()[1], token):
            click.echo(line)
        await ended.wait()


def _is_ours(record: logging.LogRecord) -> bool:
    """Not a stranger's broken request, nor one who has gone: anybody could fill the journal with those."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (HttpProcessingError, web.RequestPayloadError, ConnectionError))


@asynccontextmanager
async def served(options: Options, sockets: list[socket.socket], token: str) -> AsyncIterator[Door]:
    """While it lasts, the page is served at ``sockets``, which are bound."""
    loop = asyncio.get_running_loop()
    check(options.endpoints, "--endpoint")
    cameras = Cameras(options.endpoints, options.state_folder, options.viewers)
    guard = Guard(token, names_of_this_machine())
    log = logging.getLogger(__name__)
    log.addFilter(_is_ours)
    runner = web.AppRunner(
        make_app(cameras, guard), access_log=None, keepalive_timeout=KEEPALIVE_S, logger=log
    )
    await runner.setup()
    assert runner.server is not None
    door = Door(runner.server)
    servers = [await loop.create_server(door, sock=one, backlog=BACKLOG) for one in sockets]
    try:
        yield door
    finally:
        for server in servers:
            server.close()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(runner.cleanup(), STOP_S)


def default_state_folder() -> Path:
    """systemd's, or the user's own."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "gnetsegd-view"

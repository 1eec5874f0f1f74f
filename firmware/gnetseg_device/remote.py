"""Plugs, unplugs and spoils a mock device from another process: one command a line, one line in answer.

A Unix socket, for tests and benches whose daemon is a process of its own. ``ask`` is the other end.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from .faults import FAULTS, parse_fault

if TYPE_CHECKING:
    from .device import MockDevice

MAX_LINE_BYTES = 1000
ASK_TIMEOUT_S = 5.0
USAGE = "inject NAME[:NUMBER] [COUNT], clear [NAME], unplug [SECONDS], plug [elsewhere], injected"


def obey(device: MockDevice, line: str) -> str:
    """Do what ``line`` says; the answer, which begins with ``error:`` where nothing was done."""
    words = line.split()
    try:
        match words:
            case ["inject", fault, *count]:
                name, rate, value = parse_fault(fault)
                # Here and now: a fault of single transfers that was not given a rate happens so many times.
                once = not FAULTS[name].lasting and ":" not in fault
                times = int(count[0]) if count else 1 if once else None
                device.inject(name, 1.0 if once else rate, count=times, value=value)
            case ["clear"]:
                device.clear()
            case ["clear", name] if name in FAULTS:
                device.clear(name)
            case ["unplug", *seconds]:
                device.unplug(float(seconds[0]) if seconds else None)
            case ["plug", *elsewhere]:
                device.plug(elsewhere=elsewhere == ["elsewhere"])
            case ["injected"]:
                return json.dumps(dict(device.injected))
            case _:
                return f"error: {line[:80]!r} is none of: {USAGE}"
    except ValueError as error:
        return f"error: {error}"
    return "ok"


def ask(path: Path | str, line: str) -> str:
    """Send a command to the device behind the socket at ``path``; its answer.

    Raises OSError if nobody is there, ``ValueError`` for a command that was not obeyed.
    """
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(ASK_TIMEOUT_S)
        connection.connect(str(path))
        connection.sendall(line.encode() + b"\n")
        with connection.makefile("r", encoding="utf-8") as answers:
            answer = answers.readline().strip()
    if answer.startswith("error:"):
        raise ValueError(answer.removeprefix("error:").strip())
    return answer


class RemoteControl:
    """Serves ``device`` at the socket ``path``, which it makes, in a thread. Raises OSError.

    A socket that is there already was left by a process that was killed: it is replaced.
    """

    def __init__(self, device: MockDevice, path: Path | str) -> None:
        class Handler(socketserver.StreamRequestHandler):
            timeout = ASK_TIMEOUT_S

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    while line := self.rfile.readline(MAX_LINE_BYTES):
                        self.wfile.write(obey(device, line.decode("utf-8", "replace")).encode() + b"\n")

        self._path = Path(path)
        if self._path.is_socket():
            self._path.unlink()
        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="remote", daemon=True).start()

    def close(self) -> None:
        """End it; the socket is removed."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)

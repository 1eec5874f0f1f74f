"""Does in the emulated Pi what the checks outside ask for, over a serial line.

Each line that comes is JSON: ``{"id": NUMBER, "do": NAME, ...arguments}``. Each gets one line back, with its
number: ``{"id": NUMBER, "is": ANSWER}``, or ``"error": WORDS`` in the answer's place. It runs as root;
Python, pyzmq and the daemon's package are all that it needs.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import traceback
import tty
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zmq

from gnetsegd.client import subscribe
from gnetsegd.message import parse_header, parse_json

LINE = Path("/dev/ttyAMA0")
ENDPOINT = "ipc:///run/gnetsegd/masks.sock"


def call(command: list[str], timeout_s: float) -> dict[str, Any]:
    """Run it: its exit code (-1: it took too long), what it printed, and how many seconds it took."""
    begun = time.monotonic()
    try:
        result = subprocess.run(
            command, timeout=timeout_s, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        code, output = result.returncode, result.stdout
    except subprocess.TimeoutExpired as error:
        code, output = -1, f"{error}"
    return {"code": code, "output": output, "seconds": time.monotonic() - begun}


def write(path: str, text: str) -> None:
    """Write a file, and its folder if need be."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def read(path: str) -> str:
    """A file's text; an empty one if it is not there."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _messages(*kinds: str, timeout_s: float) -> Iterator[tuple[str, bytes]]:
    """(kind, message) of what is published from now on, for so long."""
    sockets = {subscribe(ENDPOINT, kind, newest_only=False): kind for kind in kinds}
    poller = zmq.Poller()
    for socket in sockets:
        poller.register(socket, zmq.POLLIN)
    deadline = time.monotonic() + timeout_s
    try:
        while (left_s := deadline - time.monotonic()) > 0:
            for socket, _ in poller.poll(int(left_s * 1000) + 1):
                yield sockets[socket], socket.recv()
    finally:
        for socket in sockets:
            socket.close(linger=0)


def pairs(backend: str, bits: int, count: int, timeout_s: float) -> list[dict[str, str]]:
    """``count`` masks of that backend and encoding that are published from now on, with their pictures.

    All are whole messages, compressed and in base64.
    """
    found: list[dict[str, str]] = []
    waiting: dict[tuple[int, int], dict[str, bytes]] = {}
    status: dict[str, Any] = {}
    for kind, message in _messages("mask", "frame", "status", timeout_s=timeout_s):
        if kind == "status":
            status = parse_json(message)[2]
            continue
        header = parse_header(message)
        if header.backend != backend or (kind == "mask" and header.format.bits != bits):
            continue
        pair = waiting.setdefault((header.session, header.sequence), {})
        pair[kind] = message
        if len(pair) == 2:
            found.append({name: _packed(data) for name, data in pair.items()})
            if len(found) == count:
                return found
    raise TimeoutError(
        f"{len(found)} of {count} {bits}-bit masks of {backend} in {timeout_s:g} s; status: {status}"
    )


def mask(timeout_s: float) -> int:
    """The sequence number of the next mask that is published."""
    for _, message in _messages("mask", timeout_s=timeout_s):
        return parse_header(message).sequence
    raise TimeoutError(f"no mask in {timeout_s:g} s")


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 1)).decode()


def status(timeout_s: float) -> dict[str, Any]:
    """The next status that the daemon publishes."""
    for _, message in _messages("status", timeout_s=timeout_s):
        return parse_json(message)[2]
    raise TimeoutError(f"no status in {timeout_s:g} s")


DEEDS: dict[str, Callable[..., Any]] = {
    "call": call,
    "write": write,
    "read": read,
    "mask": mask,
    "pairs": pairs,
    "status": status,
}


def answer(line: bytes) -> dict[str, Any]:
    """What is said to one line."""
    number = None
    try:
        wanted = json.loads(line)
        number = wanted.pop("id")
        return {"id": number, "is": DEEDS[wanted.pop("do")](**wanted)}
    except Exception as error:
        traceback.print_exc()
        return {"id": number, "error": f"{type(error).__name__}: {error}"}


def main() -> None:
    descriptor = os.open(LINE, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(descriptor)
    with os.fdopen(descriptor, "r+b", buffering=0) as wire:

        def say(words: dict[str, Any]) -> None:
            left = memoryview(json.dumps(words).encode() + b"\n")
            while left:
                left = left[wire.write(left) or 0 :]

        say({"is": "here"})
        line = b""
        while True:
            line += wire.read(4096) or b""
            while b"\n" in line:
                first, _, line = line.partition(b"\n")
                say(answer(first))
                sys.stderr.flush()


if __name__ == "__main__":
    main()

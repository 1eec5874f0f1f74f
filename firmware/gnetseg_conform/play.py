"""Plays tests/vectors/link/transcripts over USB: what a device answers, event by event.

Each needs a device that is set up as its first line says, which only its maker can bring about: so they are
played where devices are made on demand (``--mock``, ``--backend``).
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gnetsegd.errors import GnetsegError
from gnetsegd.link.constants import Request, Type
from gnetsegd.link.errors import IncompatibleDevice, LinkError
from gnetsegd.link.header import in_buffer_size
from gnetsegd.link.requests import parse_capabilities, parse_status
from gnetsegd.text import clean

from .bench import SLACK, whole
from .guard import in_words
from .verdict import Broken, OutOfTime, Stalled, demand

if TYPE_CHECKING:
    from collections.abc import Callable

    from .wire import Times, Wire

#: A number that no request has.
UNKNOWN_REQUEST = 0x7F
_WORDS = 400


def load() -> dict[str, list[dict[str, Any]]]:
    """The lines of each transcript that comes with the package, by name."""
    folder = files(__package__).joinpath("transcripts")
    found = sorted((path.name, path) for path in folder.iterdir() if path.name.endswith(".jsonl"))
    return {
        name.removesuffix(".jsonl"): [json.loads(line) for line in path.read_text("ascii").splitlines()]
        for name, path in found
    }


def play_all(open_device: Callable[[dict[str, Any]], Wire], times: Times) -> dict[str, str]:
    """ "" for each transcript that went as it says, else a sentence. ``open_device`` takes its setup."""
    return {name: _try(lines, open_device, times) for name, lines in load().items()}


def _try(lines: list[dict[str, Any]], open_device: Callable[[dict[str, Any]], Wire], times: Times) -> str:
    try:
        wire = open_device(lines[0]["setup"])
        try:
            play(lines, wire, times)
        finally:
            wire.close()
    except (Broken, GnetsegError) as error:
        return clean(str(error), _WORDS)
    except (Exception, SystemExit) as error:  # whatever a device has sent or its maker does, the run goes on
        return clean(f"what the device sent could not be judged: {in_words(error)}", _WORDS)
    return ""


def play(lines: list[dict[str, Any]], wire: Wire, times: Times) -> None:
    """``Broken``, with the number of the line, where the device does not do as the lines say."""
    for number, line in enumerate(lines[1:], 2):
        follower = lines[number] if number < len(lines) else {}
        try:
            _event(line, "stall" in follower, wire, times)
        except Broken as broken:
            comment = f" ({line['comment']})" if "comment" in line else ""
            raise Broken(f"line {number}{comment}: {broken}") from None
    _silence(wire, times)


def _event(line: dict[str, Any], stalls: bool, wire: Wire, times: Times) -> None:
    if "request" in line:
        number = getattr(Request, line["request"], UNKNOWN_REQUEST)
        try:
            wire.tell(number, bytes.fromhex(line["data"]), times.request_s)
        except Stalled:
            demand(stalls, f"{line['request']} is STALLed")
        else:
            demand(not stalls, f"{line['request']} is accepted; it is to be STALLed")
    elif "host" in line:
        wire.send(bytes.fromhex(line["host"]), times.answer_s)
    elif "device" in line:
        answer = _read(wire, times.answer_s)
        demand(answer.hex() == line["device"], f"the answer is {answer.hex()} instead of {line['device']}")
    elif "error" in line:
        _error(_read(wire, times.answer_s), line["error"])
    elif "silence" in line:
        _silence(wire, times)
    elif "status" in line:
        _compare(_status(wire, times), line["status"])
    elif "capabilities" in line:
        _compare(_capabilities(wire, times), line["capabilities"])


def _read(wire: Wire, limit_s: float) -> bytes:
    return wire.receive(in_buffer_size(SLACK) + SLACK, limit_s)


def _silence(wire: Wire, times: Times) -> None:
    try:
        answer = _read(wire, times.silence_s)
    except OutOfTime:
        return
    raise Broken(f"{answer.hex()} came where no answer is due")


def _error(transfer: bytes, expected: dict[str, int]) -> None:
    answer = whole(transfer)
    demand(answer.header.type == Type.ERROR, f"{answer.describe()} came instead of an ERROR")
    _compare({name: getattr(answer.header, name) for name in expected}, expected)


def _status(wire: Wire, times: Times) -> dict[str, Any]:
    try:
        status = parse_status(wire.ask(Request.GET_STATUS, times.request_s))
    except LinkError as error:
        raise Broken(str(error)) from None
    return {name: getattr(status, name) for name in status.__dataclass_fields__}


def _capabilities(wire: Wire, times: Times) -> dict[str, Any]:
    try:
        told = parse_capabilities(wire.ask(Request.CAPABILITIES, times.request_s))
    except (LinkError, IncompatibleDevice) as error:
        raise Broken(str(error)) from None
    model = (told.model.pack() if told.model else bytes(64)).hex()
    return {"slots": told.slots, "features": told.features, "state": told.state, "model": model}


def _compare(have: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, due in expected.items():
        demand(have.get(name) == due, f"{name} is {have.get(name)} instead of {due}")

"""The commands ``zenoh``, ``fleet watch`` and ``fleet record``, until they are ended."""

from __future__ import annotations

import json
import logging
import math
import queue
import sys
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ...message import parse_header
from ...recordings import RecordingError
from ...recordings.naming import free_name
from ...recordings.waiting import Waiting
from ...recordings.writing import RecordingWriter
from ...text import clean
from ..here import check
from ..saying import say
from ..signals import stop_on_signals
from . import link
from .bridge import LOOK_S, Bridge
from .config import host_name
from .fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path

    from .config import FleetConfig, LinkConfig, Wish
    from .fleet import Event, Seen

#: A table is drawn so often.
DRAW_S = 0.5
#: A camera with a token is heard each second; one that is not is shown as silent.
SILENT_S = 5.0
_TICK_S = 0.2


def serve(config: FleetConfig) -> None:
    """This machine's cameras, until SIGTERM. A router that is not there is waited for."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    stop, log = stop_on_signals(), logging.getLogger(__name__)
    host = host_name(config.zenoh)
    configuration = link.configuration(config.zenoh)  # what is wrong with it is said now
    check(config.send.endpoints, "send.endpoints")
    session = link.wait_for_session(config.zenoh, stop, log.warning)
    if session is None:
        return
    log.info("%s is on Zenoh by %s", host, link.where(configuration))
    bridge = Bridge(session, host, config)
    try:
        while not stop.is_set():
            bridge.look()
            stop.wait(LOOK_S)
    finally:
        bridge.stop()
        session.close()


#: The table's width where it goes to a file or a pipe.
FILE_COLUMNS = 200
#: Of states in the table.
_COLOURS = {
    "running": "green",
    "idle": "cyan",
    "lost": "red bold",
    "silent": "red",
    "two of one name": "red",
}


def told(event: Event) -> str:
    return f"{event.host}/{event.camera} is {event.what}"


def row(seen: Seen, now: float) -> dict[str, Any]:
    """What is shown of one camera; ages in s, ``share`` None: no presence came."""
    age_s = seen.age_s()
    state = clean(str(seen.status.get("state", "")), 20)
    if not seen.alive:
        state = "lost"
    elif now - seen.heard_at > SILENT_S:
        state = "silent"
    elif now - seen.doubled_at < SILENT_S:
        state = "two of one name"
    return {
        "host": seen.host,
        "camera": seen.camera,
        "alive": seen.alive,
        "state": state,
        "fps": round(float(seen.status.get("fps", 0.0)), 1),
        "received_hz": round(seen.rate_hz(now), 1),
        "age_s": None if age_s is None else round(age_s, 3),
        "share": seen.presence.get("share"),
        "lost": seen.lost,
        "wrong": seen.wrong,
        "last_seen_s": round(now - seen.heard_at, 1) if seen.heard_at else None,
    }


_COLUMNS = ("host", "camera", "state", "person", "makes/s", "masks/s", "age", "lost", "last seen")
#: Those that a narrow terminal does without, the least important first.
_LEFT_OUT = ("makes/s", "masks/s", "lost", "age", "person", "last seen")
_PADDING = 2


def columns(rows: list[dict[str, str]], width: int) -> list[str]:
    """Those that fit in ``width`` characters whole; host, camera and state always."""
    shown = list(_COLUMNS)
    for name in _LEFT_OUT:
        widths = [max(len(cells[each]) for cells in [*rows, {each: each}]) + _PADDING for each in shown]
        if sum(widths) <= width:
            break
        shown.remove(name)
    return shown


def _table(fleet: Fleet, width: int) -> Table:
    now = time.monotonic()
    rows = []
    for found in fleet.read(lambda seen: row(seen, now)):
        # What was seen before a camera was lost is not true any more.
        share = "" if found["share"] is None or found["state"] != "running" else f"{found['share']:.0%}"
        age = "" if found["age_s"] is None else f"{found['age_s'] * 1000:.0f} ms"
        last = "" if found["last_seen_s"] is None else f"{found['last_seen_s']:.1f} s"
        cells = (
            found["host"], found["camera"], found["state"] or "silent", share, f"{found['fps']:.1f}",
            f"{found['received_hz']:.1f}", age, str(found["lost"]), last,
        )  # fmt: skip
        rows.append(dict(zip(_COLUMNS, cells, strict=True)))
    shown = columns(rows, width)
    table = Table(*shown, box=None)
    for each in rows:
        colour = _COLOURS.get(each["state"], "yellow")
        state = f"[{colour}]{escape(each['state'])}[/]"
        table.add_row(*(state if name == "state" else each[name] for name in shown))
    return table


def watch(config: LinkConfig, wish: Wish, seconds: float | None, as_json: bool) -> None:
    """A table; with ``as_json`` one object at the end. ``TransientError`` without a router."""
    stop = stop_on_signals()
    wish.messages()  # what is wrong with it is said now
    session = link.open_session(config)
    fleet = Fleet(session, wish=wish)
    end = time.monotonic() + seconds if seconds is not None else None
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console.width = FILE_COLUMNS
    try:
        draws = console.is_terminal and not console.is_dumb_terminal and not as_json
        with Live(console=console, auto_refresh=False) if draws else nullcontext() as live:
            while not stop.is_set() and (end is None or time.monotonic() < end):
                if not as_json:
                    for event in fleet.events():
                        console.print(told(event))
                if live is not None:
                    live.update(_table(fleet, console.width), refresh=True)
                stop.wait(DRAW_S)
        if not as_json and not draws:
            console.print(_table(fleet, console.width))
        if as_json:
            now = time.monotonic()
            rows = fleet.read(lambda seen: row(seen, now))
            click.echo(json.dumps({"cameras": rows, "nonsense": fleet.nonsense}))
    finally:
        fleet.close()
        session.close()


class FleetWriter:
    """One file of many hosts: channels ``HOST/mask/CAMERA``. Times are this machine's, at the arrival."""

    def __init__(self, writer: RecordingWriter) -> None:
        self._writer = writer
        self._waiting: Waiting[tuple[str, str, str, bytes, int]] = Waiting()
        #: One for the whole file: a clock that is set meanwhile makes no gap in it, and no step back.
        self._wall_offset_ns = time.time_ns() - time.monotonic_ns()

    @property
    def no_room(self) -> int:
        """Messages that found none in memory."""
        return self._waiting.no_room

    @property
    def messages(self) -> int:
        """Those that the file holds, once it has ended."""
        return self._writer.messages

    def take(self, host: str, kind: str, camera: str, data: bytes) -> None:
        """From Zenoh's thread, which must not wait."""
        arrived_ns = time.monotonic_ns() + self._wall_offset_ns
        self._waiting.put((host, kind, camera, data, arrived_ns), len(data))

    def write(self) -> None:
        """What has come, or comes within a moment. ``RecordingError`` where the disk is full."""
        end = time.monotonic() + _TICK_S
        while (left_s := end - time.monotonic()) > 0:
            with suppress(queue.Empty):
                self._add(*self._waiting.get(left_s))
            self._writer.tick(time.monotonic())

    def finish(self) -> None:
        """What waits, and the end; nothing more is taken by now. Errors as ``write``."""
        while len(self._waiting):
            self._add(*self._waiting.get(_TICK_S))
            self._writer.tick(time.monotonic())
        self._writer.finish()

    def _add(self, host: str, kind: str, camera: str, data: bytes, arrived_ns: int) -> None:
        made_ns, sequence = arrived_ns, 0
        if kind == "mask":
            header = parse_header(data)
            made_ns, sequence = arrived_ns - header.latency_ns, header.sequence
        self._writer.add(kind, f"{host}/{kind}/{camera}", data, made_ns, arrived_ns, sequence)


def record(config: LinkConfig, wish: Wish, path: Path, seconds: float | None) -> None:
    """A whole fleet into one file. ``TransientError`` without a router, ``RecordingError`` of the file."""
    stop = stop_on_signals()
    wish.messages()
    session = link.open_session(config)
    path = free_name(path, say)
    writer = FleetWriter(RecordingWriter(path))
    fleet = Fleet(session, writer.take, wish)
    say(f"recording a fleet into {clean(str(path))}; Ctrl-C ends it")
    end = time.monotonic() + seconds if seconds is not None else math.inf
    error: RecordingError | None = None
    try:
        try:
            while not stop.is_set() and time.monotonic() < end:
                writer.write()
                for event in fleet.events():
                    say(told(event))
        finally:
            # Then nothing more comes, and what waits has an end.
            fleet.close()
            session.close()
        writer.finish()
    except RecordingError as failed:
        error = failed
    seen = fleet.cameras()
    masks, lost = sum(one.masks for one in seen), sum(one.lost for one in seen)
    shown = clean(str(path))
    said = f"{shown}: {len(seen)} cameras, {masks} masks, {lost} left out (mask_hz) or lost on the way"
    # What came is then more than what has found room.
    say(said if error is None else f"{said}; the file has up to {writer.messages} messages")
    if writer.no_room:
        say(f"{writer.no_room} messages found no room in memory while the disk was waited for")
    if fleet.nonsense:
        say(f"{fleet.nonsense} messages were none of gnetsegd's, and are not recorded")
    if error is not None:
        raise error

"""``gnetsegctl watch``: the masks as they come, live on a terminal or line by line elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from ..message import TEXT_CHARACTERS
from ..text import clean
from .blocks import draw

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ..client import MaskSubscriber, ReceivedMask
    from .session import Target

REDRAW_S = 0.1
LINE_S = 1.0


def watch(target: Target, seconds: float | None) -> None:
    """Until Ctrl-C, or for ``seconds``. ``PermanentError`` when the daemon is not there at first."""
    # First without masks: a look at who is there wakes nobody.
    with target.look() as looker:
        target.first_status(looker)
    with target.subscribe(newest_only=False) as subscriber:
        subscriber.status(target.timeout_s)
        end = float("inf") if seconds is None else time.monotonic() + seconds
        if sys.stdout.isatty() and _draws():
            _live(subscriber, end)
        else:
            _lines(subscriber, end)


def _draws() -> bool:
    """A dumb terminal moves no cursor, and what is not UTF-8 has no blocks."""
    return os.environ.get("TERM", "") not in ("dumb", "unknown") and sys.stdout.encoding.lower() == "utf-8"


def _newest(subscriber: MaskSubscriber, until: float) -> ReceivedMask | None:
    """The last mask that arrives before ``until``; all are read, so that losses are seen."""
    newest = None
    while (left := until - time.monotonic()) > 0:
        newest = subscriber.receive(left) or newest
    return newest


def _lines(subscriber: MaskSubscriber, end: float) -> None:
    while time.monotonic() < end:
        mask = _newest(subscriber, min(end, time.monotonic() + LINE_S))
        click.echo(" ".join(f"{name}={value}" for name, value in facts(subscriber, mask)))


def _live(subscriber: MaskSubscriber, end: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    mask = None
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while time.monotonic() < end:
            mask = _newest(subscriber, min(end, time.monotonic() + REDRAW_S)) or mask
            live.update(panel(subscriber, mask, console), refresh=True)


def facts(subscriber: MaskSubscriber, mask: ReceivedMask | None) -> list[tuple[str, str]]:
    """(name, value) of what there is to say; ``mask`` is None where none came."""
    status = subscriber.status()
    state = clean(status["state"]) if status and subscriber.alive else "silent"
    found = [("state", state), ("fps", f"{subscriber.rate_fps:.1f}")]
    if mask is not None:
        found += [
            ("frame", str(mask.sequence)),
            ("age", f"{mask.age_s * 1000:.0f}ms"),
            ("person", person_share(mask)),
            ("backend", clean(mask.backend) + ("(fallback)" if mask.fallback else "")),
        ]
    counters: dict[str, Any] = status["counters"] if status else {}
    dropped = counters.get("dropped_camera", 0), counters.get("dropped_daemon", 0)
    found += [("missed", str(subscriber.missed)), ("dropped", f"{dropped[0]}+{dropped[1]}")]
    if subscriber.bad_messages:
        found.append(("bad", str(subscriber.bad_messages)))
    return found


def person_share(mask: ReceivedMask) -> str:
    """How much of the mask is person; ``?`` where the network knows none, or ``info`` has not come."""
    return f"{mask.share():.0%}" if mask.has_info and mask.persons else "?"


def panel(subscriber: MaskSubscriber, mask: ReceivedMask | None, console: Console) -> RenderableType:
    """The whole picture for the terminal."""
    from rich.align import Align
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    status, info = subscriber.status(), subscriber.info()
    table = Table.grid(expand=True)
    values = facts(subscriber, mask)
    for _ in values:
        table.add_column(justify="center", no_wrap=True)
    table.add_row(*(Text(value, style=_style(name, value, subscriber)) for name, value in values))
    table.add_row(*(Text(_TITLES.get(name, name), style="dim") for name, _ in values))
    reason = clean(status["reason"], TEXT_CHARACTERS) if status else ""
    if status is not None and not subscriber.alive:
        reason = "the daemon is silent; waiting for it to come back"
    width, height = console.size
    if mask is None or not subscriber.alive or (status and status["state"] != "running"):
        # No data is not an empty mask: then none is drawn.
        middle: RenderableType = Align.center(Text(reason or "no mask yet", style="yellow"))
    else:
        middle = Align.center(draw(mask.labels, width - 4, max(4, height - 7)))
    name = f"{subscriber.camera} at {subscriber.endpoint}"
    model = clean(info["model"]["id"]) if info else ""
    return Panel(
        Group(table, Text(), middle),
        title=Text(f"gnetsegd  {name}"),
        subtitle=Text(f"{model}  Ctrl-C ends"),
        border_style="dim",
        height=height - 1,
    )


_TITLES = {
    "fps": "masks/s",
    "person": "is person",
    "missed": "lost on the way",
    "dropped": "dropped camera+daemon",
    "bad": "bad messages",
}


def _style(name: str, value: str, subscriber: MaskSubscriber) -> str:
    if name == "state":
        return "bold green" if value == "running" else "bold yellow" if value != "silent" else "bold red"
    if name == "fps":
        return "bold green" if subscriber.on_rate else "bold yellow"
    if name in ("missed", "bad") and value != "0":
        return "bold red"
    return "bold yellow" if "fallback" in value else "bold"

"""``gnetsegctl status``: what the daemon says of itself, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ..message import TEXT_CHARACTERS
from ..text import clean

if TYPE_CHECKING:
    from .session import Target

_COLOURS = {"running": "green", "idle": "cyan", "starting": "yellow", "stopping": "yellow"}
#: Up to 255 names.
LABELS_CHARACTERS = 4000


def show(target: Target, as_json: bool) -> None:
    """Print it; ``PermanentError`` when no status came in time."""
    with target.look() as subscriber:
        status = target.first_status(subscriber)
        # The daemon greets with info; without camera or network there is none.
        info = subscriber.info(min(target.timeout_s, 0.2))
    if as_json:
        click.echo(json.dumps({"status": status, "info": info}, indent=2))
    else:
        click.echo("\n".join(lines(status, info)))


def words(value: Any) -> str:
    """A driver's own counters and words, without the marks of a programming language; what is empty goes."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {words(inner)}" for key, inner in value.items() if inner not in ("", {}))
    return str(value)


def lines(status: dict[str, Any], info: dict[str, Any] | None) -> list[str]:
    """The same for people."""
    state = clean(status["state"])
    head = click.style(state, fg=_COLOURS.get(state, "red"), bold=True)
    if status["reason"]:
        head += f": {clean(status['reason'], TEXT_CHARACTERS)}"
    counters, camera = status["counters"], status["camera_device"]
    backend = clean(status["backend"]) or "none"
    if status["fallback"]:
        backend += click.style(" (stands in for the preferred one)", fg="yellow")
    rows = [
        ("state", head),
        ("masks", f"{status['fps']:.1f} per second, {counters['masks']} in {duration(status['uptime_s'])}"),
        ("backend", backend),
        (
            "camera",
            f"{clean(camera['driver'])}, {clean(camera['description']) or 'not open'}, {camera['fps']:g} FPS",
        ),
    ]
    if info is not None:
        mask, geometry, model = info["mask"], info["geometry"], info["model"]
        labels = clean(", ".join(info["labels"]), LABELS_CHARACTERS)
        rows += [
            ("model", f"{clean(model['id'])} ({clean(model['title'])})"),
            (
                "mask",
                f"{mask['width']}x{mask['height']}, {mask['bits']} bits: {labels}",
            ),
            (
                "geometry",
                f"{clean(geometry['mode'])} of {geometry['sensor_width']}x{geometry['sensor_height']}",
            ),
        ]
    rows += [
        (
            "dropped",
            f"{counters['dropped_camera']} by the camera, {counters['dropped_daemon']} by the daemon "
            f"({counters['losses']} lost in the accelerator)",
        ),
        (
            "reopened",
            f"camera {counters['camera_reopens']} times, accelerator {counters['accelerator_reopens']} times",
        ),
        ("watched", "yes" if status["subscribers"] else "no"),
    ]
    rows += [(clean(key, 40), clean(words(value))) for key, value in status["accelerator"].items()]
    width = max(len(name) for name, _ in rows)
    return [f"{name:>{width}}  {text}" for name, text in rows]


def duration(seconds: float) -> str:
    """``seconds`` as a person says it."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 2:
        return f"{seconds:.0f} s"
    if hours < 2:
        return f"{minutes:.0f} min"
    return f"{hours:.0f} h" if days < 2 else f"{days:.0f} days"

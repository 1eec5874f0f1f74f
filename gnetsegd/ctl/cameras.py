"""``gnetsegctl cameras``: what is here, what it gives, and the lines that choose it."""

from __future__ import annotations

import json
import math
from importlib import import_module
from typing import Any, NamedTuple

import click

from ..cameras import discover
from ..cameras.v4l2_formats import Mode
from ..text import clean

#: Modes that are listed of one camera; a webcam has some dozens.
LISTED_MAX = 12


class Csi(NamedTuple):
    """A camera of the Pi, as libcamera counts it."""

    number: int
    model: str


def show(as_json: bool) -> None:
    """Print them; nothing is opened for pictures."""
    webcams, refused = discover.webcams()
    csi, why = csi_cameras()
    if as_json:
        click.echo(json.dumps(as_object(csi, why, webcams, refused)))
        return
    for camera in csi:
        click.echo(f"{camera.model}, camera {camera.number} of the Pi")
        click.echo(f'    [camera]\n    driver = "picamera2"\n    picamera2.camera_num = {camera.number}')
    for webcam in webcams:
        click.echo(f"{webcam.name}, {webcam.path} ({webcam.driver}): {modes(webcam.modes)}")
        click.echo(f'    [camera]\n    driver = "v4l2"\n    v4l2.device = "{webcam.link or webcam.path}"')
    for node in refused:
        click.echo(f"{node.path}: cannot be looked at ({node.reason}); be in the group video")
    if not csi and not webcams:
        click.echo("No camera is here." + (f" {why}" if why else ""))
    elif why and not csi:
        click.echo(why)
    if csi or webcams:
        click.echo('Without such lines (driver = "auto") the first one is taken.')


def csi_cameras() -> tuple[list[Csi], str]:
    """Those that libcamera sees, and why none can be seen, if so."""
    if not discover.has_picamera2():
        return [], "CSI cameras need python3-picamera2, which is not installed."
    try:
        told = import_module("picamera2").Picamera2.global_camera_info()
        # Webcams are in libcamera's list, too, and are served without it.
        found = [
            Csi(int(camera["Num"]), clean(str(camera["Model"])))
            for camera in told
            if "usb" not in str(camera.get("Id", "")).lower()
        ]
    except Exception as error:  # another libcamera, another numpy, a daemon that holds it
        return [], f"picamera2 cannot tell what is here: {type(error).__name__}: {clean(str(error))}"
    return found, ""


def modes(offered: list[Mode]) -> str:
    """The sizes of each format, the largest first."""
    by_format: dict[str, list[Mode]] = {}
    for mode in offered:
        by_format.setdefault(mode.pixel_format.strip(), []).append(mode)
    told = []
    for name, its in by_format.items():
        its.sort(key=lambda m: -m.width * m.height)
        sizes = [
            f"{m.width}x{m.height}" + (f" at {m.fps:.4g}/s" if math.isfinite(m.fps) else "") for m in its
        ]
        more = len(sizes) - LISTED_MAX
        told.append(f"{name} {', '.join(sizes[:LISTED_MAX])}" + (f" and {more} more" if more > 0 else ""))
    return clean("; ".join(told), 2000)


def as_object(
    csi: list[Csi], why: str, webcams: list[discover.Webcam], refused: list[discover.Refused]
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "csi": [camera._asdict() for camera in csi],
        "csi_reason": why,
        "webcams": [
            {
                **webcam._asdict(),
                "modes": [
                    m._asdict() | {"fps": m.fps if math.isfinite(m.fps) else None} for m in webcam.modes
                ],
            }
            for webcam in webcams
        ],
        "refused": [node._asdict() for node in refused],
    }

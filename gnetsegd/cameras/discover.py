"""Which cameras are here: for ``auto``, for ``gnetsegctl cameras``, for whoever asks what is wrong.

Nothing is streamed. Nodes of the Pi's own camera pipeline look like webcams and are none: libcamera has them.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..text import clean
from . import v4l2_ioctl as v4l2
from .v4l2_formats import COMPRESSED, LAYOUTS, Mode, modes_of
from .v4l2_links import links_to

DEV = Path("/dev")
SYSFS = Path("/sys")
PROC = Path("/proc")
NODE = re.compile(r"video(\d{1,4})")
#: Nodes that are looked at.
NODES_MAX = 64
#: Drivers of nodes that belong to a pipeline of libcamera, or only convert.
PIPELINES = ("bcm2835-isp", "bcm2835-codec", "unicam", "rp1-cfe", "pispbe", "rpi-hevc-dec", "rpivid")
#: Of them the drivers of the camera connectors: their nodes are there once a sensor has answered.
RECEIVERS = ("unicam", "rp1-cfe")
LENSES = ("dw9", "ad5398")
#: So many entries of a folder are looked at.
ENTRIES_MAX = 4096
#: A name in sysfs or of a process is shorter.
NAME_BYTES = 256
#: What sizes in steps are listed near to.
USUAL = (640, 480)


class Webcam(NamedTuple):
    """A node that gives pictures. ``link``: its path that stays the same, if udev made one."""

    path: str
    name: str
    driver: str
    link: str
    modes: list[Mode]


class Refused(NamedTuple):
    """A node that could not be looked at, and why."""

    path: str
    reason: str


def webcams(
    open_device: Callable[[str], v4l2.Device] = v4l2.CharacterDevice, dev: Path = DEV
) -> tuple[list[Webcam], list[Refused]]:
    """Those that can be used, by their numbers, and the nodes that nobody could look at."""
    found, refused = [], []
    for path in _nodes(dev):
        try:
            device = open_device(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
                refused.append(Refused(path, clean(os.strerror(error.errno or 0))))
            continue
        try:
            webcam = _look(path, device)
        except OSError:  # no video device, or one that is just going
            webcam = None
        finally:
            with suppress(OSError):
                device.close()
        if webcam is not None:
            found.append(webcam)
    return found, refused


def has_picamera2() -> bool:
    """Whether picamera2 is installed: without it no CSI camera can be used. It is not imported."""
    if "picamera2" in sys.modules:
        return sys.modules["picamera2"] is not None
    try:
        return find_spec("picamera2") is not None
    except (ImportError, ValueError):
        return False


def csi_sensor(sysfs: Path = SYSFS) -> str:
    """The sensor at a camera connector of the Pi, in the kernel's words; empty if none has answered there.

    Neither libcamera nor picamera2 is asked: this is what they should see.
    """
    names = [_word(path / "name") for path in _listed(sysfs / "class/video4linux")]
    if not any(name.startswith(RECEIVERS) for name in names):
        return ""
    # A sensor's name ends with its place on the I2C bus; drives of lenses have one, too.
    chips = [name.split()[0] for name in names if re.search(r" \d+-[0-9a-f]{4}$", name)]
    return ", ".join(chip for chip in chips if not chip.startswith(LENSES)) or "camera"


def holders(path: str, proc: Path = PROC) -> list[tuple[int, str]]:
    """(process id, name) of the programs that have the device open, as far as this user may see them."""
    held: list[tuple[int, str]] = []
    for process in _listed(proc):
        if not process.name.isdigit():
            continue
        try:
            links = [os.readlink(fd) for fd in (process / "fd").iterdir()]  # noqa: PTH115 - thousands of them
        except OSError:  # it has ended, or is another user's
            continue
        if path in links:
            held.append((int(process.name), _word(process / "comm") or "?"))
    return sorted(held)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(islice(folder.iterdir(), ENTRIES_MAX))
    except OSError:
        return []


def _word(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return clean(opened.read(NAME_BYTES).decode("utf-8", "replace"))
    except OSError:
        return ""


def _nodes(dev: Path) -> list[str]:
    """Paths of the video nodes, by their numbers."""
    try:
        names = [entry.name for entry in islice(dev.iterdir(), 4096)]
    except OSError:
        return []
    numbers = sorted(int(match[1]) for name in names if (match := NODE.fullmatch(name)))
    return [str(dev / f"video{number}") for number in numbers[:NODES_MAX]]


def _look(path: str, device: v4l2.Device) -> Webcam | None:
    capability = v4l2.Capability()
    device.ioctl(v4l2.QUERYCAP, capability)
    able = capability.capabilities
    if able & v4l2.CAP_DEVICE_CAPS:
        able = capability.device_caps
    driver = clean(bytes(capability.driver).decode("utf-8", "replace").rstrip("\0"))
    if not able & v4l2.CAP_VIDEO_CAPTURE or not able & v4l2.CAP_STREAMING or driver in PIPELINES:
        return None
    modes = [m for m in modes_of(device, *USUAL) if m.pixel_format in LAYOUTS or m.pixel_format in COMPRESSED]
    if not modes:
        return None
    name = clean(bytes(capability.card).decode("utf-8", "replace").rstrip("\0"))
    links = links_to(path)
    return Webcam(path, name, driver, links[0] if links else "", modes)

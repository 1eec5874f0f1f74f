"""Is the camera there, free, and permitted?"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from ...cameras import discover
from ...cameras.v4l2 import V4l2Options
from ...text import clean
from . import Fault
from .machine import Case

#: Drivers whose camera a machine may have or not.
_OF_CAMERAS = ("auto", "picamera2", "v4l2")


def check(case: Case) -> Iterator[Fault]:
    """The camera of the configuration."""
    driver = case.config.camera.driver
    if driver not in _OF_CAMERAS:
        return
    sensor = discover.csi_sensor(case.machine.path("/sys")) if driver != "v4l2" else ""
    if driver == "picamera2" or sensor:
        yield from _picamera2(case, sensor)
    nodes = _nodes(case)
    if driver == "picamera2" and not sensor:
        yield Fault(
            "camera-missing",
            "no camera answers at the Pi's connector, and camera.driver is picamera2",
            "switch the power off, reseat the cable, and look with rpicam-hello --list-cameras; for a webcam "
            'set camera.driver = "auto"',
        )
    elif not sensor and not nodes:
        yield Fault(
            "camera-missing",
            _missing(case),
            "plug in a webcam, or switch the power off and reseat the camera's cable; gnetsegctl cameras "
            "lists what is here",
        )
    elif not sensor:
        yield from _node(case, nodes[0])


def _missing(case: Case) -> str:
    if case.config.camera.driver == "v4l2":
        device = case.config.camera.options["v4l2"].device
        return f"the camera of camera.v4l2.device, {device}, is not there"
    return "no camera is here: none at a connector of the Pi, and no webcam"


def _picamera2(case: Case, sensor: str) -> Iterator[Fault]:
    if not case.machine.has_picamera2():
        yield Fault(
            "picamera2-missing",
            f"picamera2 is not installed, and the camera at the connector ({sensor or 'none yet'}) needs it",
            "sudo apt install python3-picamera2 && sudo systemctl restart gnetsegd",
        )
        return
    try:
        case.machine.load_picamera2()
    except Exception as error:
        words = clean(str(error)) or type(error).__name__
        yield Fault(
            "picamera2-broken",
            f"picamera2 is installed and cannot be imported: {words}",
            "sudo apt install --reinstall python3-picamera2 python3-numpy; remove what pip put beside them "
            "(pip list --user; pip uninstall numpy)",
        )


def _nodes(case: Case) -> list[str]:
    """Device nodes of webcams that the configuration means and that are there."""
    config, machine = case.config.camera, case.machine
    device: str = config.options["v4l2"].device if "v4l2" in config.options else ""
    if config.driver == "v4l2" or device not in ("", V4l2Options().device):
        return [_resolved(case, device)] if machine.stat(device) is not None else []
    found, refused = machine.webcams()
    return [*(webcam.path for webcam in found), *(node.path for node in refused)]


def _resolved(case: Case, device: str) -> str:
    """The node behind a link of udev."""
    path = case.machine.path(device)
    return f"/dev/{path.resolve().name}" if path.is_symlink() else device


def _node(case: Case, node: str) -> Iterator[Fault]:
    machine = case.machine
    status, video = machine.stat(node), machine.group("video")
    if status is not None and video is not None:
        permitted = (
            status.st_gid == video[0] and status.st_mode & stat.S_IRGRP and status.st_mode & stat.S_IWGRP
        )
        if not permitted and not status.st_mode & stat.S_IWOTH:
            yield Fault(
                "camera-rights",
                f"{node} is not open to the group video, so the daemon may not use it",
                "sudo udevadm trigger --subsystem-match=video4linux; if it stays so, look for a rule of your "
                "own in /etc/udev/rules.d",
            )
    own = case.unit.get("MainPID", "0")
    others = [
        (pid, name)
        for pid, name in discover.holders(node, machine.path("/proc"))
        if str(pid) != own and name != "gnetsegd"
    ]
    if others:
        pid, name = others[0]
        yield Fault(
            "camera-busy",
            f"{node} is in use by {name} (process {pid}), and only one program can have a camera",
            f"end that program (kill {pid}); the daemon takes the camera by itself",
        )

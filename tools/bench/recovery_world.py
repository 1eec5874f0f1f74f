"""A world that fails on demand, inside the daemon's process: a camera and a USB device.

The daemon under test finds the camera ``world`` by its entry point; with it comes a mock device in
libusb's place. What they do is written in one JSON file (``World``), which the bench changes while
the daemon runs, and which outlives the process: what is broken stays so after a restart, and the
camera has one owner at a time, whichever process that is.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Any, ClassVar

import attrs

from gnetsegd.cameras import CameraInfo, CaptureRequest
from gnetsegd.cameras.pattern import PatternCamera
from gnetsegd.config import option
from gnetsegd.errors import AbsentError, TransientError
from gnetsegd.frame import Frame
from gnetsegd.testing.road import Pictures

FILE_VARIABLE = "GNETSEG_RECOVERY_WORLD"
ENTRY_POINTS = """\
[gnetsegd.cameras]
world = recovery_world:WorldCamera
"""
LOOK_S = 0.05


def write(path: Path, world: dict[str, Any]) -> None:
    """Change the world, all at once.

    ``camera``: ``gone``, ``block`` (in capture), ``hang_open``, ``fail_and_hang_close``, each true or
    false, and ``flap_frames``: so many frames of each opening. ``device``: ``plugged``, ``faults`` by
    name with the arguments of ``Injector.arm``, ``device`` with arguments of ``MockDevice``.
    """
    new = path.with_suffix(".new")
    new.write_text(json.dumps(world))
    new.replace(path)


def _read() -> dict[str, Any]:
    world: dict[str, Any] = json.loads(Path(os.environ[FILE_VARIABLE]).read_text())
    return world


@attrs.frozen
class WorldOptions:
    """Nothing to choose: the world's file says it all."""

    unused: int = option(0, "is not used")


class WorldCamera(PatternCamera):
    """Pictures that are a function of their own time of exposure; one owner; fails as the file says."""

    Options: ClassVar[type[Any]] = WorldOptions

    def __init__(self, _options: WorldOptions) -> None:
        super().__init__()
        self._lock_fd = -1
        self._frames = 0
        self._blocks_at_close = False

    def open(self, request: CaptureRequest) -> CameraInfo:
        camera = _read()["camera"]
        if camera.get("gone"):
            raise AbsentError("world: there is no camera; plug it in")
        if camera.get("hang_open"):
            _block()
        self._lock_fd = os.open(
            Path(os.environ[FILE_VARIABLE]).with_name("camera.lock"), os.O_RDWR | os.O_CREAT
        )
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise TransientError("world: the camera is in use by another owner; close that") from None
        self._frames = 0
        self._pictures = Pictures(request.spec)
        return super().open(request)

    def capture(self, frame: Frame) -> None:
        super().capture(frame)
        camera = _read()["camera"]
        if camera.get("block"):
            _block()
        self._frames += 1
        flap_frames = camera.get("flap_frames", 0)
        self._blocks_at_close = camera.get("fail_and_hang_close", False)
        if camera.get("gone") or self._blocks_at_close or 0 < flap_frames < self._frames:
            raise TransientError("world: the camera fell off its cable; plug it in again")
        self._pictures.write(frame.sensor_timestamp_ns, frame.pixels)

    def close(self) -> None:
        if self._blocks_at_close:
            _block()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
        super().close()


def _block() -> None:
    """As a library does that waits for hardware which is no longer there."""
    threading.Event().wait()


class Usb:
    """The machine's USB: a mock device that follows the file, or none."""

    def __init__(self) -> None:
        from gnetseg_device.device import MockDevice
        from gnetseg_device.networks import tflite_network
        from gnetseg_device.pyusb_backend import Host, PyusbBackend

        self._armed: dict[str, Any] = {}
        self._plugged = True
        self._device: MockDevice | None = None
        device = _read().get("device")
        if device is None:
            self.backend = PyusbBackend(Host())
            return
        self._device = MockDevice(network=tflite_network(1), **device.get("device", {}))
        self.backend = self._device.backend
        self._follow()
        threading.Thread(target=self._run, name="world", daemon=True).start()

    def _run(self) -> None:
        while True:
            threading.Event().wait(LOOK_S)
            self._follow()

    def _follow(self) -> None:
        wanted, device = _read()["device"], self._device
        assert device is not None
        for name in self._armed.keys() - wanted.get("faults", {}).keys():
            device.clear(name)
            del self._armed[name]
        for name, arguments in wanted.get("faults", {}).items():
            if self._armed.get(name) != arguments:
                device.inject(name, **{"count": None, **arguments})
                self._armed[name] = arguments
        plugged = wanted.get("plugged", True)
        if plugged != self._plugged:
            self._plugged = plugged
            if plugged:
                device.plug(elsewhere=wanted.get("elsewhere", False))
            else:
                device.unplug()


_usb: Usb | None = None
_usb_lock = threading.Lock()


def _libusb(find_library: Any = None) -> Any:
    """In the place of ``usb.backend.libusb1.get_backend``. Made at the first use: no thread before a fork."""
    global _usb
    del find_library
    with _usb_lock:
        if _usb is None:
            _usb = Usb()
        return _usb.backend


def _plug_in() -> None:
    import usb.backend.libusb1 as libusb1

    libusb1.get_backend = _libusb


if os.environ.get(FILE_VARIABLE):
    _plug_in()

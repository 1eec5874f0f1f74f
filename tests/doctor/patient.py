"""A sound machine in a folder: tests make it ill."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gnetsegd import __version__
from gnetsegd.cameras.discover import Webcam
from gnetsegd.ctl.doctor import Fault
from gnetsegd.ctl.doctor.examine import examine
from gnetsegd.ctl.doctor.machine import Machine, Said

GROUP = os.getegid()
USER = os.geteuid()
THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
USB = "/sys/bus/usb/devices/1-1"
NODE = "/dev/bus/usb/001/004"


class Patient:
    """Files below ``root``, what programs answer, what the daemon says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unit = {
            "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active", "SubState": "running",
            "Result": "success", "NRestarts": "0", "NeedDaemonReload": "no", "ExecMainStatus": "0",
            "MainPID": "500",
        }  # fmt: skip
        self.programs: dict[str, Said | None] = {
            "timedatectl": Said(0, "NTP=yes\nNTPSynchronized=yes\n"),
            "vcgencmd": Said(0, "throttled=0x0\n"),
            "journalctl": Said(1, ""),
            sys.executable: Said(0, "good\n"),
        }
        self.status: dict[str, Any] | None = {
            "state": "running", "reason": "", "fallback": False, "version": __version__,
        }  # fmt: skip
        self.webcams = [Webcam("/dev/video0", "HD Webcam", "uvcvideo", "", [])]
        self.user = "robot"
        self.groups = [GROUP]
        self.free = 0.5
        self.has_picamera2 = True
        self.picamera2_error: Exception | None = None
        self.write("/etc/group", f"video:x:{GROUP}:\nplugdev:x:{GROUP}:\ngnetsegd:x:{GROUP}:robot\n")
        self.write("/etc/passwd", f"gnetsegd:x:{USER}:{GROUP}::/:/usr/sbin/nologin\n")
        self.write("/usr/lib/udev/rules.d/60-gnetsegd.rules", "")
        self.write("/proc/meminfo", "MemTotal: 948304 kB\nMemAvailable: 500000 kB\n")
        self.write("/sys/class/thermal/thermal_zone0/temp", "52000\n")
        self.write("/sys/module/usbcore/parameters/usbfs_memory_mb", "16\n")
        self.write("/sys/class/video4linux/video0/name", "HD Webcam\n")
        self.write("/dev/video0", "", 0o660)
        self.hold("/dev/video0", 500, "gnetsegd")
        for name, value in (
            ("idVendor", "1209"), ("idProduct", "0001"), ("speed", "480"), ("busnum", "1"), ("devnum", "4"),
            ("power/control", "on"),
        ):  # fmt: skip
            self.write(f"{USB}/{name}", value + "\n")
        self.write(NODE, "", 0o660)
        (root / "run/gnetsegd").mkdir(parents=True)
        (root / "run/gnetsegd").chmod(0o755)
        self.write("/run/gnetsegd/masks.sock", "", 0o660)
        self.configure("")

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        file = self.root / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def remove(self, name: str) -> None:
        (self.root / name.lstrip("/")).unlink()

    def configure(self, text: str) -> None:
        self.write("/etc/gnetsegd/gnetsegd.toml", text)

    def hold(self, path: str, pid: int, name: str) -> None:
        """A process has the device open."""
        self.write(f"/proc/{pid}/comm", name + "\n")
        (self.root / f"proc/{pid}/fd").mkdir()
        (self.root / f"proc/{pid}/fd/7").symlink_to(path)

    def use_connector(self) -> None:
        """A camera at the Pi's connector in place of the webcam."""
        self.webcams.clear()
        self.write("/sys/class/video4linux/video0/name", "unicam-image\n")
        self.write("/sys/class/video4linux/v4l-subdev0/name", "imx708 10-001a\n")

    def use_keys(self) -> None:
        """TCP with CURVE and one client."""
        self.configure(
            '[[publish.endpoint]]\naddress = "ipc:///run/gnetsegd/masks.sock"\n'
            '[[publish.endpoint]]\naddress = "tcp://0.0.0.0:5555"\n'
            'curve_secret_key_file = "/etc/gnetsegd/keys/daemon.key_secret"\n'
            'curve_authorized_keys_dir = "/etc/gnetsegd/keys/clients"\n'
        )
        self.write("/etc/gnetsegd/keys/daemon.key_secret", "", 0o640)
        self.write("/etc/gnetsegd/keys/clients/robot.key", "")

    def _run(self, command: Sequence[str], limit_s: float = 1.0) -> Said | None:
        assert limit_s > 0
        if command[0] == "systemctl":
            return Said(0, "".join(f"{key}={value}\n" for key, value in self.unit.items()))
        return self.programs.get(command[0])

    def _load_picamera2(self) -> None:
        if self.picamera2_error is not None:
            raise self.picamera2_error

    def machine(self) -> Machine:
        def ask(endpoint: str, camera: str) -> dict[str, Any] | None:
            assert (endpoint, camera) == (f"ipc://{self.root}/run/gnetsegd/masks.sock", "cam0")
            return self.status

        return Machine(
            self.root, self._run, ask, lambda: (self.webcams, []), lambda: self.has_picamera2,
            self._load_picamera2, lambda _: self.free, self.user, lambda: self.groups,
        )  # fmt: skip

    def faults(self) -> list[Fault]:
        return examine(self.machine())

"""The USB gadget of this board: made in configfs, bound to a device controller, and taken down again.

Linux: Documentation/usb/gadget_configfs.rst. Needs root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gnetsegd.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from .descriptors import Identity

CONFIGFS = Path("/sys/kernel/config")
CONTROLLERS = Path("/sys/class/udc")
MOUNTS = Path("/run/gnetseg-gadget")
_ENGLISH = "strings/0x409"
#: The kernel may still be taking the last gadget down.
_BUSY_S = 5.0


def controller(name: str = "") -> str:
    """The device controller ``name``, or the only one; ``PermanentError`` or ``TransientError``."""
    there = sorted(path.name for path in CONTROLLERS.glob("*"))
    if name and name not in there:
        raise TransientError(
            f"there is no USB device controller {name} (there is {', '.join(there) or 'none'})"
        )
    if not there:
        raise PermanentError(
            "this board has no USB device controller that is switched on; on a Raspberry Pi add "
            "dtoverlay=dwc2,dr_mode=peripheral to config.txt",
            os.EX_UNAVAILABLE,
        )
    if not name and len(there) > 1:
        raise PermanentError(
            f"there are several USB device controllers; choose with --udc {'|'.join(there)}", os.EX_USAGE
        )
    return name or there[0]


class Gadget:
    """A gadget with one FunctionFS function, called ``name``; leftovers of that name are cleared first.

    ``folder`` is where the FunctionFS is mounted after ``create``. Raises ``PermanentError``.
    """

    def __init__(self, identity: Identity, name: str = "gnetseg", max_power_ma: int = 250) -> None:
        self._identity = identity
        self._name = name
        self._max_power_ma = max_power_ma
        self._root = CONFIGFS / "usb_gadget" / name
        self._function = self._root / "functions" / f"ffs.{name}"
        self._configuration = self._root / "configs" / "c.1"
        self.folder = MOUNTS / name

    def create(self) -> None:
        """All but binding it; FunctionFS's descriptors have to be written in between."""
        try:
            self.remove()
            self._create()
        except PermissionError:
            raise PermanentError("a USB gadget is made by root; run as root", os.EX_NOPERM) from None
        except subprocess.CalledProcessError as error:
            words = error.stderr.decode(errors="replace").strip()
            raise PermanentError(f"{' '.join(error.cmd)}: {words}", os.EX_UNAVAILABLE) from None
        except OSError as error:
            raise PermanentError(
                f"{error.filename}: {error.strerror}; the kernel needs configfs and usb_f_fs",
                os.EX_UNAVAILABLE,
            ) from None

    def bind(self, udc: str) -> None:
        """Show it to the host."""
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                _write(self._root / "UDC", udc)
                return
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise PermanentError(
                        f"the gadget cannot be bound to {udc}: {error.strerror}; "
                        "another gadget may have it, see /sys/kernel/config/usb_gadget",
                        os.EX_UNAVAILABLE,
                    ) from None
            time.sleep(0.1)

    def unbind(self) -> None:
        """Take it away from the host; nothing happens if it is not bound."""
        with contextlib.suppress(OSError):  # ENODEV: it was not
            _write(self._root / "UDC", "\n")

    def remove(self) -> None:
        """Take it all down; nothing happens if there is nothing."""
        if self._root.exists():
            self.unbind()
        if os.path.ismount(self.folder):
            _run("umount", "--lazy", str(self.folder))
        with contextlib.suppress(FileNotFoundError):
            (self._configuration / self._function.name).unlink()
        for folder in (
            self._configuration / _ENGLISH, self._configuration, self._function, self._root / _ENGLISH,
            self._root,
        ):  # fmt: skip
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()

    def _create(self) -> None:
        if not (CONFIGFS / "usb_gadget").exists():
            _run("modprobe", "libcomposite")
        if not os.path.ismount(CONFIGFS):
            _run("mount", "-t", "configfs", "none", str(CONFIGFS))
        root, identity = self._root, self._identity
        (root / _ENGLISH).mkdir(parents=True)
        for name, value in (
            ("idVendor", f"{identity.vendor_id:#06x}"),
            ("idProduct", f"{identity.product_id:#06x}"),
            ("bcdUSB", "0x0200"),
            ("bcdDevice", "0x0100"),
            (f"{_ENGLISH}/manufacturer", identity.manufacturer),
            (f"{_ENGLISH}/product", identity.product),
            (f"{_ENGLISH}/serialnumber", identity.serial),
        ):
            _write(root / name, value)
        (self._configuration / _ENGLISH).mkdir(parents=True)
        _write(self._configuration / _ENGLISH / "configuration", "gnetseg link")
        _write(self._configuration / "MaxPower", str(self._max_power_ma))
        self._function.mkdir(parents=True)
        (self._configuration / self._function.name).symlink_to(self._function)
        self.folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "functionfs", self._name, str(self.folder))


def _write(path: Path, value: str) -> None:
    # In one write and without truncation, as the kernel's files want it.
    with path.open("r+b", buffering=0) as file:
        file.write(value.encode())


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)

"""The USB cable of the emulated Pi: at its far end is a ``gnetseg-mockdev``, a process of this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: The model that the device has on board, by name, and what the checks look for on the bus.
MODEL = "gnetseg-large-cpu30"
SERIAL = "hil-pi-0001"


def bundle(work: Path) -> Path:
    """The run's own copy of the model, the one that the Pi has: the checkout's may change meanwhile."""
    return work / "source" / "gnetsegd" / "models" / MODEL


class Cable:
    """Plugs into QEMU's usbredir socket in ``work``, the run's folder; the device's words are left there."""

    def __init__(self, work: Path) -> None:
        self._redir = work / "redir"
        self._log = work / "device"
        self._bundle = bundle(work)
        self._device: subprocess.Popen[bytes] | None = None

    def plug(self, *, with_model: bool = True) -> None:
        """Power a device up and plug it in; with the model on board, or with none."""
        self.pull()
        command = [sys.executable, "-m", "gnetseg_device.mockdev", "--usbredir", str(self._redir)]
        command += ["--serial", SERIAL, *(["--model", str(self._bundle)] if with_model else [])]
        with self._log.open("ab") as log:
            self._device = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def pull(self) -> None:
        """Pull it out without a warning; the device loses its power."""
        device, self._device = self._device, None
        if device:
            device.kill()
            device.wait()

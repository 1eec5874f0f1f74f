"""The USB cable of the emulated Pi: at its far end is a ``gnetseg-mockdev``, a process of this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: The model that the device has on board, and what the checks look for on the bus.
MODEL = "gnetseg-large-cpu30"
SERIAL = "hil-pi-0001"


class Cable:
    """Plugs into QEMU's usbredir socket ``redir``; the device's words go to the file ``log``."""

    def __init__(self, redir: Path, log: Path) -> None:
        self._redir = redir
        self._log = log
        self._device: subprocess.Popen[bytes] | None = None

    def plug(self, *, with_model: bool = True) -> None:
        """Power a device up and plug it in; with the model on board, or with none."""
        self.pull()
        command = [sys.executable, "-m", "gnetseg_device.mockdev", "--usbredir", str(self._redir)]
        command += ["--serial", SERIAL, *(["--model", MODEL] if with_model else [])]
        with self._log.open("ab") as log:
            self._device = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def pull(self) -> None:
        """Pull it out without a warning; the device loses its power."""
        device, self._device = self._device, None
        if device:
            device.kill()
            device.wait()

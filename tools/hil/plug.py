"""The far end of the guest's USB cable: a process on this machine, plugged in on request.

The guest writes lines to a virtio port and reads one line as the answer to each:

    plug [ARGUMENT ...]     start gnetseg-mockdev with these arguments
    webcam                  start a webcam (tests/hil/webcam.py)
    unplug                  kill what is plugged in: the cable is pulled, whatever is under way
    freeze, thaw            stop it and let it go on: the device hangs, but stays on the bus
"""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path


class PlugServer:
    """Answers the guest at the socket ``control``; QEMU's usbredir socket is ``redir``.

    ``python`` has what the mock device needs, with the guest's TFLite runtime. ``source`` is the run's
    own copy of the checkout, the one that the guest has: the checkout may change meanwhile.
    """

    def __init__(self, python: Path, source: Path, control: Path, redir: Path) -> None:
        self._python = python
        self._source = source
        self._control = control
        self._redir = redir
        self._mock: subprocess.Popen[bytes] | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        self._log = (redir.parent / "share" / "logs" / "mockdev").open("ab")

    def start(self) -> None:
        """Answer in a thread, until the guest ends."""
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._unplug()
        self._socket.close()
        self._log.close()

    def _serve(self) -> None:
        while True:
            try:
                self._socket.connect(str(self._control))
                break
            except OSError:
                time.sleep(0.1)  # QEMU is not that far yet
        with self._socket.makefile("rw") as stream:
            for line in stream:
                try:
                    answer = self._do(shlex.split(line))
                except (OSError, ValueError) as error:
                    answer = f"error {error}"
                stream.write(f"{answer}\n")
                stream.flush()

    def _do(self, words: list[str]) -> str:
        if words[:1] == ["plug"]:
            self._plug("-m", "gnetseg_device.mockdev", "--usbredir", str(self._redir), *words[1:])
            return "ok"
        if words == ["webcam"]:
            self._plug("tests/hil/webcam.py", str(self._redir))
            return "ok"
        if words == ["unplug"]:
            self._unplug()
            return "ok"
        if words in (["freeze"], ["thaw"]) and self._mock:
            self._mock.send_signal(signal.SIGSTOP if words == ["freeze"] else signal.SIGCONT)
            return "ok"
        return f"error what is {words}?"

    def _plug(self, *arguments: str) -> None:
        """Run it with Python, from the copy of the checkout."""
        self._unplug()
        source = self._source
        environment = {"PYTHONPATH": f"{source}/firmware:{source}", "PATH": "/usr/bin:/bin"}
        self._mock = subprocess.Popen(
            [self._python, *arguments], stdout=self._log, stderr=self._log, env=environment, cwd=source
        )

    def _unplug(self) -> None:
        mock, self._mock = self._mock, None
        if mock:
            mock.kill()
            mock.wait()

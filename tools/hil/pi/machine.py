"""QEMU's Raspberry Pi 3B, with a wire to the agent in it and a USB port for usbredir."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

QEMU = "qemu-system-aarch64"
#: From power-on to the agent's first word; some 25 s on an idle machine.
BOOT_LIMIT_S = 600.0
#: Longer than whatever the agent may be asked to wait for.
ANSWER_LIMIT_S = 900.0
#: For each of its logs; it may hang, and then they are not worth a long wait.
LOGS_LIMIT_S = 120.0


class MachineError(Exception):
    """The machine, or the agent in it, did not do what it was asked; the words say what."""


def qemu_command(image: Path, initrd: Path, work: Path, *, shell: bool = False) -> list[str]:
    """The whole command line; its sockets ``wire`` and ``redir`` are made in ``work``."""
    append = [
        "console=ttyS1,115200", "quiet", "panic=-1", "audit=0", "systemd.unit=multi-user.target",
        "systemd.show_status=0",
    ]  # fmt: skip
    if shell:
        append += ["systemd.debug_shell=1", "systemd.default_debug_tty=ttyS1"]
    return [
        # One thread a core; the processor is emulated everywhere, so that it is the same everywhere.
        QEMU, "-M", "raspi3b", "-accel", "tcg,thread=multi,tb-size=1024",
        "-kernel", f"{image}/vmlinuz", "-dtb", f"{image}/pi.dtb", "-initrd", str(initrd),
        "-append", " ".join(append), "-display", "none", "-monitor", "none", "-no-reboot",
        "-chardev", f"socket,id=wire,path={work}/wire,server=on,wait=off", "-serial", "chardev:wire",
        "-serial", "mon:stdio" if shell else f"file:{work}/console",
        "-chardev", f"socket,id=redir,path={work}/redir,server=on,wait=off",
        # Port 1 is the controller's own; on another one there would be a full-speed hub between.
        "-device", "usb-redir,chardev=redir,port=1",
    ]  # fmt: skip


class Machine:
    """A machine that is on. In ``work`` are its sockets and its logs."""

    def __init__(self, image: Path, initrd: Path, work: Path) -> None:
        self._console = work / "console"
        self._wire_path = work / "wire"
        with (work / "qemu").open("wb") as log:
            self._process = subprocess.Popen(
                qemu_command(image, initrd, work), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._socket = socket.socket(socket.AF_UNIX)
        self._received = b""
        self._orders = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    @property
    def on(self) -> bool:
        """Has it not been powered off?"""
        return self._process.poll() is None

    def wait_for_boot(self) -> None:
        """Until the agent is there."""
        deadline = time.monotonic() + BOOT_LIMIT_S
        while True:
            try:
                self._socket.connect(str(self._wire_path))
                break
            except OSError:
                self._check_alive(deadline, "QEMU does not listen")
                time.sleep(0.1)
        self._line(deadline)

    def ask(self, do: str, *, limit_s: float = ANSWER_LIMIT_S, **arguments: Any) -> Any:
        """The agent's answer (guest/agent.py); ``MachineError`` if it was an error or none came."""
        if not self.on:
            raise MachineError("the machine is off; an earlier check tells why")
        deadline = time.monotonic() + limit_s
        number = self._send(do, **arguments)
        # An order that was given up, at its limit or by an interruption, may be answered yet.
        while (answer := self._line(deadline)).get("id") != number:
            pass
        if "error" in answer:
            raise MachineError(f"{do}: {answer['error']}")
        return answer["is"]

    def call(self, *command: str, timeout_s: float = 300.0, check: bool = True) -> str:
        """What a command in the guest printed; ``MachineError`` if it failed and ``check`` is set."""
        result = self.ask("call", command=command, timeout_s=timeout_s)
        if check and result["code"]:
            raise MachineError(f"{' '.join(command)}: exit code {result['code']}: {result['output'].strip()}")
        return str(result["output"])

    def keep_logs(self) -> None:
        """Write its journal and its kernel's log into the run's folder, if it can still tell them."""
        for name, command in (("journal", "journalctl -b --no-pager -o short-monotonic"), ("dmesg", "dmesg")):
            try:
                result = self.ask(
                    "call", limit_s=LOGS_LIMIT_S, command=command.split(), timeout_s=LOGS_LIMIT_S
                )
            except (MachineError, OSError):
                return  # it is off, or hangs; what was kept before stays
            if result["code"] == 0:
                (self._console.parent / name).write_text(result["output"])

    def power_off(self, limit_s: float = 300.0) -> float:
        """Shut it down; how many seconds until QEMU has ended. ``MachineError`` if it does not."""
        self.keep_logs()
        begun = time.monotonic()
        # No answer is waited for: the agent is stopped on the way, perhaps before it has given one.
        self._send("call", command=["systemctl", "--no-block", "poweroff"], timeout_s=limit_s)
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise MachineError(f"the machine is still on {limit_s:g} s after it was to power off") from None
        if "Power down" not in self._console.read_text(errors="replace"):
            raise MachineError(f"the machine ended without powering off: {self._last_words()}")
        return time.monotonic() - begun

    def _send(self, do: str, **arguments: Any) -> int:
        """Give an order; the number that its answer will have."""
        self._orders += 1
        self._socket.settimeout(ANSWER_LIMIT_S)
        self._socket.sendall(json.dumps({"id": self._orders, "do": do, **arguments}).encode() + b"\n")
        return self._orders

    def _line(self, deadline: float) -> Any:
        while b"\n" not in self._received:
            self._check_alive(deadline, "nothing comes from the agent")
            self._socket.settimeout(1.0)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            if not data:
                raise MachineError(f"QEMU has ended; the console's last words: {self._last_words()}")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)

    def _check_alive(self, deadline: float, trouble: str) -> None:
        if self._process.poll() is not None:
            raise MachineError(f"QEMU has ended (exit code {self._process.returncode}): {self._last_words()}")
        if time.monotonic() > deadline:
            raise MachineError(f"{trouble}; the console's last words: {self._last_words()}")

    def _last_words(self) -> str:
        for path in (self._console.with_name("qemu"), self._console):
            if path.exists() and (words := path.read_text(errors="replace").strip()):
                return words[-500:]
        return "none"

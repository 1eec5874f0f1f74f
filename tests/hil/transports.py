"""Three roads on which the device reaches the guest's own USB stack."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

from guest import LOGS, QUICK, bundle_of, call, eventually

SERIAL = "hil-0001"
_CONTROL = Path("/dev/virtio-ports/hil.plug")


class Transport:
    """A cable. ``pull`` gives no warning to anybody."""

    name = ""
    #: Is it the host controller that ``freeze`` stops? Then no transfer ends, and no fault is counted.
    host_hangs = False

    def plug(self, *arguments: str) -> None:
        """Put it in; returns when the kernel has the device. ``arguments`` go to the mock device."""
        raise NotImplementedError

    def pull(self) -> None:
        raise NotImplementedError

    def unplug(self) -> None:
        """Pull the cable of a device that goes on running."""
        self.pull()

    def replug(self) -> None:
        """Put it back in."""
        self.plug()

    def freeze(self) -> None:
        """The device hangs, but stays on the bus."""
        raise NotImplementedError

    def thaw(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Leave nothing behind."""
        self.pull()

    # -- what all have in common

    def wait_for_device(self) -> Path:
        """The device's folder in sysfs."""
        return eventually("the kernel sees no device", self.device)  # type: ignore[no-any-return]

    def wait_until_gone(self) -> None:
        eventually("the kernel still has the device", lambda: self.device() is None)

    @staticmethod
    def device() -> Path | None:
        for serial in Path("/sys/bus/usb/devices").glob("*/serial"):
            try:
                if serial.read_text().strip() == SERIAL:
                    return serial.parent
            except OSError:
                continue  # it left just now
        return None


class Process:
    """A Python program in the background, by its arguments; its words go to the logs."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._log: IO[bytes] = (LOGS / name).open("ab")
        self._process = subprocess.Popen(["/usr/bin/python3", *arguments], stdout=self._log, stderr=self._log)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals, timeout_s: float = 30) -> int:
        """Its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(timeout_s)
        self._log.close()
        return code


def ask_outside(line: str) -> None:
    """Have something done to the cable that ends on the machine that runs QEMU (tools/hil/plug.py)."""
    with _CONTROL.open("r+b", buffering=0) as wire:
        wire.write(f"{line}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            answer += wire.read(100) or b""
    assert answer == b"ok\n", answer


class Usbredir(Transport):
    """QEMU's xHCI controller; the device is a process on the machine that runs QEMU."""

    name = "usbredir"

    def plug(self, *arguments: str) -> None:
        ask_outside(" ".join(["plug", "--model", QUICK, "--serial", SERIAL, *arguments]))
        self.wait_for_device()

    def pull(self) -> None:
        ask_outside("unplug")
        self.wait_until_gone()

    def freeze(self) -> None:
        ask_outside("freeze")

    def thaw(self) -> None:
        ask_outside("thaw")


def prepare_usbip() -> None:
    """The kernel's virtual host controller, and a loopback to reach it."""
    call("modprobe vhci-hcd")
    call("ip link set lo up")


def usbip_attach() -> None:
    """Plug in the device that a USB/IP server of this machine has, as soon as it serves."""
    command = ["usbip", "attach", "-r", "127.0.0.1", "-b", "1-1"]
    eventually("usbip attach", lambda: subprocess.run(command, capture_output=True).returncode == 0)


class Usbip(Transport):
    """The kernel's virtual host controller, over TCP on loopback."""

    name = "usbip"
    host_hangs = True

    def __init__(self) -> None:
        prepare_usbip()
        self._mock: Process | None = None

    def plug(self, *arguments: str) -> None:
        self._mock = Process(
            "usbip",
            "-m",
            "gnetseg_device.mockdev",
            "--model",
            bundle_of(QUICK),
            "--serial",
            SERIAL,
            *arguments,
        )
        usbip_attach()
        self.wait_for_device()

    def pull(self) -> None:
        mock, self._mock = self._mock, None
        if mock:
            mock.end(signal.SIGKILL)
        self.wait_until_gone()

    def freeze(self) -> None:
        """Here it is the host controller that hangs: no time limit ends a transfer any more."""
        assert self._mock
        self._mock.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._mock
        self._mock.signal(signal.SIGCONT)

    def unplug(self) -> None:
        call("usbip detach -p 0")
        self.wait_until_gone()

    def replug(self) -> None:
        usbip_attach()
        self.wait_for_device()


class FunctionFs(Transport):
    """A gadget of this very kernel, on dummy_hcd: device controller and host controller in one."""

    name = "functionfs"

    def __init__(self) -> None:
        call("modprobe dummy_hcd")
        call("modprobe libcomposite")
        self._gadget: Process | None = None

    def plug(self, *arguments: str) -> None:
        self._gadget = Process(
            "gadget",
            "-m",
            "gnetseg_device.functionfs_main",
            "--model",
            bundle_of(QUICK),
            "--serial",
            SERIAL,
            *arguments,
        )
        self.wait_for_device()

    def pull(self) -> None:
        gadget, self._gadget = self._gadget, None
        if gadget:
            gadget.end(signal.SIGKILL)
        self.wait_until_gone()

    def stop(self) -> float:
        """The orderly way; how long it took, in seconds."""
        assert self._gadget
        gadget, self._gadget = self._gadget, None
        begun = time.monotonic()
        code = gadget.end(signal.SIGTERM)
        assert code == os.EX_OK
        return time.monotonic() - begun

    def close(self) -> None:
        # In order: a killed gadget leaves its mount for the next one to clear.
        if self._gadget:
            self.stop()

    def unplug(self) -> None:
        """As somebody else on the board would: the gadget is told of it by the kernel only."""
        call("timeout 20 sh -c 'echo > /sys/kernel/config/usb_gadget/gnetseg/UDC'")
        self.wait_until_gone()

    def replug(self) -> None:
        call("timeout 20 sh -c 'echo dummy_udc.0 > /sys/kernel/config/usb_gadget/gnetseg/UDC'")
        self.wait_for_device()

    def freeze(self) -> None:
        assert self._gadget
        self._gadget.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._gadget
        self._gadget.signal(signal.SIGCONT)


TRANSPORTS = {kind.name: kind for kind in (Usbredir, Usbip, FunctionFs)}

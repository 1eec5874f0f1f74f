"""The daemon and a USB accelerator, with the kernel's USB stack, usbfs, libusb and udev between them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from guest import MODEL, Listener, Unit, call, eventually
from transports import SERIAL, TRANSPORTS, Transport

REPLUGS = 20
#: More than the guest can serve: the next picture waits already, so there is always one under way.
LOAD_FPS = 60
#: Opens the device as the daemon does, and says which it is.
OPEN = """
from gnetsegd.accelerators import usb_port
for device in usb_port.find((0x1209, 0x0001)):
    print(usb_port.UsbPort(device).serial)
"""


@pytest.fixture(scope="module", params=list(TRANSPORTS))
def cable(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """A transport with the device plugged in; each check leaves it so."""
    made = TRANSPORTS[request.param]()
    made.plug()
    yield made
    made.close()


@pytest.fixture
def running(cable: Transport, daemon: Unit) -> Unit:
    """The unit with the USB accelerator and nothing to fall back to, READY."""
    cable.wait_for_device()
    daemon.configure("usb")
    daemon.apply()
    return daemon


def open_as(user: str) -> tuple[int, str, str]:
    """Exit code, what it printed, and the last line of what it complained of."""
    command = ["runuser", "-u", user, "--", "python3", "-c", OPEN]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.returncode, result.stdout.strip(), result.stderr.strip().rpartition("\n")[2]


def faults(status: dict[str, Any]) -> int:
    """How many the driver has counted."""
    return sum(status["accelerator"]["faults"].values())


def test_the_kernel_enumerates_a_high_speed_device_that_stays_awake(cable: Transport) -> None:
    device = cable.wait_for_device()
    wanted = {
        "speed": "480", "bConfigurationValue": "1", "product": "gnetseg", "power/control": "on",
        "idVendor": "1209", "idProduct": "0001",
    }  # fmt: skip
    call("udevadm settle")
    assert {name: (device / name).read_text().strip().partition(" ")[0] for name in wanted} == wanted


def test_only_members_of_its_group_may_open_it(cable: Transport) -> None:
    device = cable.wait_for_device()
    call("udevadm settle")
    bus, number = ((device / name).read_text().strip() for name in ("busnum", "devnum"))
    assert call(f"stat -c %a:%G /dev/bus/usb/{int(bus):03}/{int(number):03}") == "660:plugdev\n"
    assert open_as("gnetsegd") == (os.EX_OK, SERIAL, "")
    code, serial, complaint = open_as("nobody")
    assert code != os.EX_OK
    assert not serial
    assert "this user may not open the device; install the udev rule" in complaint


def test_masks_from_the_device_are_the_stand_ins_to_the_last_bit(running: Unit) -> None:
    # The device has another network: this one is uploaded, over the same cable.
    running.configure("usb", model=MODEL)
    running.apply()
    with Listener() as listener:
        listener.check_masks("usb", model=MODEL)


def test_a_killed_daemon_comes_back_to_the_device(running: Unit) -> None:
    pid = running.pid
    with Listener() as listener:
        listener.mask("usb")
        os.kill(pid, signal.SIGKILL)
        running.wait_for_another(pid)
        listener.drain()
        listener.check_masks("usb", 2)


def test_a_device_that_hangs_is_told_of_and_used_again_when_it_wakes_up(
    cable: Transport, running: Unit
) -> None:
    running.configure("usb", answer_timeout_s=3)
    running.apply()
    pid = running.pid
    with Listener() as listener:
        listener.mask("usb")
        before = faults(listener.wait_for("status", bool))
        cable.freeze()
        try:
            # The silence alone is told of as well: that the driver has noticed shows in its count.
            status = listener.wait_for(
                "fault",
                lambda status: status["state"] != "running" and (cable.host_hangs or faults(status) > before),
            )
            assert status["reason"]
            if cable.host_hangs:
                # No time limit ends a transfer any more, so the process has to. As the kernel does not let go
                # of it either, systemd gives it up and starts another beside it.
                eventually("the process has not ended", lambda: running.pid not in (0, pid))
                assert "a call for the accelerator's answer has not returned" in running.journal_of(pid)
        finally:
            cable.thaw()
        listener.wait_for("recovery", lambda status: status["state"] == "running")
        listener.check_masks("usb", 2)
    assert (running.pid == pid) != cable.host_hangs


def test_twenty_unplugs_under_load_are_survived_by_one_process(cable: Transport, running: Unit) -> None:
    running.configure("usb", fps=LOAD_FPS)
    running.apply()
    pid = running.pid
    with Listener() as listener:
        listener.mask("usb")
        before = listener.wait_for("status", bool)["counters"]["losses"]
        for _ in range(REPLUGS):
            listener.drain()
            listener.mask("usb")
            cable.unplug()
            cable.replug()
        listener.drain()
        listener.check_masks("usb", 2)
        # Each pull took a picture with it that was under way.
        lost = listener.wait_for("status", bool)["counters"]["losses"] - before
        print(f"{lost} pictures lost in {REPLUGS} pulls")
        assert lost >= REPLUGS
    assert running.pid == pid
    assert running.active


def test_the_stand_in_takes_over_and_hands_back(cable: Transport, running: Unit) -> None:
    running.configure("auto")
    running.apply()
    with Listener() as listener:
        listener.mask("usb")
        cable.unplug()
        header = listener.mask("standin")
        assert header.fallback
        cable.replug()
        assert not listener.mask("usb").fallback
        listener.check_masks("usb", 2)

"""The daemon and the device, with the Pi's USB controller, usbfs and libusb between them."""

from __future__ import annotations

from collections.abc import Callable

import reference
from cable import Cable
from daemon import Daemon
from machine import Machine
from usb_device import wait_until_gone

REPLUGS = 5
#: A bound for the emulated machine: resident memory of the daemon that drives the USB device.
RESIDENT_LIMIT_MIB = 100


def test_the_unit_starts_as_its_service_user_under_systemd(
    machine: Machine, cable: Cable, daemon: Daemon
) -> None:
    assert cable
    daemon.configure()
    # Type=notify: it is active when it has said READY, which it says with the device opened and proven.
    assert daemon.active
    assert machine.call("ps", "-o", "user=", "-p", str(daemon.pid)) == "gnetsegd\n"
    # The unit's own sandbox: a filter of system calls is on.
    assert "\nSeccomp:\t2\n" in machine.ask("read", path=f"/proc/{daemon.pid}/status")
    assert machine.call("stat", "-c", "%a:%U", "/run/gnetsegd/masks.sock") == "660:gnetsegd\n"


def test_masks_over_usb_are_the_models_to_the_last_bit(cable: Cable, daemon: Daemon) -> None:
    assert cable
    daemon.configure(mask_bits=8)
    masks = daemon.masks(3)
    # A picture without a person would prove little.
    assert reference.check(masks) > 0
    assert [mask.header.payload_size for mask in masks] == [masks[0].labels.size] * 3


def test_packed_masks_of_one_bit_are_the_same_after_unpacking(cable: Cable, daemon: Daemon) -> None:
    assert cable
    daemon.configure(mask_bits=1)
    masks = daemon.masks(3, bits=1)
    assert reference.check(masks) > 0
    assert [mask.header.payload_size for mask in masks] == [masks[0].labels.size // 8] * 3


def test_five_unplugs_are_survived_by_one_process(machine: Machine, cable: Cable, daemon: Daemon) -> None:
    daemon.configure()
    pid = daemon.pid
    for _ in range(REPLUGS):
        daemon.wait_for_quiet()
        cable.pull()
        wait_until_gone(machine)
        cable.plug()
        reference.check(daemon.masks(1))
    assert daemon.pid == pid


def test_a_device_that_rebooted_and_lost_its_model_is_given_it_again(
    machine: Machine, cable: Cable, daemon: Daemon
) -> None:
    daemon.configure()
    daemon.wait_for_quiet()
    cable.pull()
    wait_until_gone(machine)
    cable.plug(with_model=False)
    reference.check(daemon.masks(2))


def test_its_resident_memory_stays_under_its_bound(
    machine: Machine, cable: Cable, daemon: Daemon, record_property: Callable[[str, object], None]
) -> None:
    assert cable
    daemon.configure()
    daemon.masks(1)
    lines = machine.ask("read", path=f"/proc/{daemon.pid}/status").splitlines()
    sizes = {line.partition(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.endswith(" kB")}
    words = (
        f"{sizes['VmRSS']:.1f} MiB resident (bound {RESIDENT_LIMIT_MIB}), at most {sizes['VmHWM']:.1f} so far"
    )
    record_property("on the emulated machine", words)
    assert sizes["VmRSS"] < RESIDENT_LIMIT_MIB

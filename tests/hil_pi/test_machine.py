"""The machine is what it claims to be, down to the USB controller."""

from __future__ import annotations

from cable import SERIAL, Cable
from machine import Machine
from usb_device import attribute, node


def test_it_is_a_raspberry_pi_3b_with_four_cores_and_a_gigabyte(machine: Machine) -> None:
    assert machine.ask("read", path="/sys/firmware/devicetree/base/model") == "Raspberry Pi 3 Model B\0"
    assert machine.call("uname", "-m") == "aarch64\n"
    # 0xd03 is the Cortex-A53.
    assert machine.ask("read", path="/proc/cpuinfo").count("CPU part\t: 0xd03\n") == 4
    total_kib = int(machine.ask("read", path="/proc/meminfo").split()[1])
    # Of 1 GiB the video core and the kernel keep some.
    assert 850 * 1024 < total_kib <= 1024 * 1024


def test_its_own_controller_enumerates_the_device_at_high_speed(machine: Machine, cable: Cable) -> None:
    assert cable
    driver = machine.call("readlink", "-f", "/sys/bus/usb/devices/usb1/../driver")
    assert driver.strip() == "/sys/bus/platform/drivers/dwc2"
    names = ("idVendor", "idProduct", "manufacturer", "serial", "speed", "bConfigurationValue")
    assert [attribute(machine, name) for name in names] == ["1209", "0001", "gnetseg", SERIAL, "480", "1"]
    machine.call("udevadm", "settle")
    assert machine.call("stat", "-c", "%a:%G", node(machine)) == "660:plugdev\n"

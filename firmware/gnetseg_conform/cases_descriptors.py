"""What the page demands of the descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnetsegd.link import constants as c

from .registry import case
from .verdict import Skip, demand

if TYPE_CHECKING:
    from .bench import Bench

_FULL_SPEED, _HIGH_SPEED = 2, 3


@case("Descriptors", "high speed (480 Mbit/s) or faster", catches=("full-speed",))
def speed(bench: Bench) -> None:
    """The link is at high speed or faster."""
    speed = getattr(bench.wire.device, "speed", None)
    if not speed:
        raise Skip("this backend does not tell the speed")
    demand(speed > _FULL_SPEED, "the link is at 12 Mbit/s or slower; try another cable and port first")


@case("Descriptors", "a string that is unique to the device", catches=("foul-text",))
def serial_number(bench: Bench) -> None:
    """The device has a serial number of characters that can be printed."""
    serial = bench.wire.serial
    demand(bool(serial), "the device has no serial number: a host cannot find it again after a replug")
    demand(serial.isprintable(), f"the serial number has characters that cannot be printed: {serial!a}")


@case("Descriptors", "`bInterfaceClass` 0xFF, `bInterfaceSubClass` 0x47, `bInterfaceProtocol` 0x01")
def interface(bench: Bench) -> None:
    """The one configuration has one interface of the link's class, subclass and protocol."""
    count = bench.wire.device.bNumConfigurations
    demand(count == 1, f"the device has {count} configurations instead of one")
    ours = (c.INTERFACE_CLASS, c.INTERFACE_SUBCLASS, c.INTERFACE_PROTOCOL)
    found = [
        (one.bInterfaceClass, one.bInterfaceSubClass, one.bInterfaceProtocol) for one in bench.wire.interfaces
    ]
    words = ", ".join("/".join(f"{number:#04x}" for number in triple) for triple in found)
    demand(found.count(ours) == 1, f"the interfaces are {words}; one has to be 0xff/0x47/0x01")


@case("Descriptors", "one bulk OUT and one bulk IN, of any numbers")
def endpoints(bench: Bench) -> None:
    """The interface has one bulk OUT and one bulk IN endpoint with packets of 512 bytes (1024)."""
    outs, ins = bench.wire.outs, bench.wire.ins
    demand(
        len(outs) == len(ins) == 1, f"the interface has {len(outs)} bulk OUT and {len(ins)} bulk IN endpoints"
    )
    speed = getattr(bench.wire.device, "speed", None) or _HIGH_SPEED
    due = 1024 if speed > _HIGH_SPEED else c.PACKET if speed == _HIGH_SPEED else 64
    for endpoint in (*outs, *ins):
        size = endpoint.wMaxPacketSize
        demand(
            size == due,
            f"endpoint {endpoint.bEndpointAddress:#04x} has a wMaxPacketSize of {size} instead of {due}",
        )

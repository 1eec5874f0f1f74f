"""A small model for the device's deterministic network: 200 classes, so that each label tells much."""

from __future__ import annotations

import time
from typing import Any

from gnetseg_device.device import MockDevice

from gnetsegd.accelerators.usb import UsbAccelerator, UsbOptions

from ..device.host import bundle
from ..road.fakes import wait_until

MODEL = bundle(width=48, height=32, classes=200)
#: A fault must be over for its masks to come again within this time.
RECOVERY_S = 2.0


def driver(device: MockDevice, backend: Any = None, bundle: Any = MODEL, **options: Any) -> UsbAccelerator:
    """The driver on a device, or on another backend of its host; quicker to give up than by default."""
    options.setdefault("answer_timeout_s", 0.1)
    return UsbAccelerator(bundle, UsbOptions(**options), backend or device.backend)


def wait_for_fault(device: MockDevice, name: str, count: int = 1) -> float:
    """Until it has happened and is over (the device is back): that moment."""
    wait_until(lambda: device.injected[name] >= count)
    wait_until(lambda: device.port.attachment)
    return time.monotonic()


def recovers(road: Any, since: float) -> None:
    """A frame that was made after ``since`` gets its mask in time."""
    road.wait_for_new_frame(since, 10)
    took = next(seen.received_at for seen in road.seen if seen.made_at > since) - since
    assert took <= RECOVERY_S

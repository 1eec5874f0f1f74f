"""A USB port for a device of four methods: whoever builds one tries it before there is any USB.

The device is a state machine without threads; here it gets descriptors, time limits and a pyusb backend, so
that gnetsegd and gnetseg-conform see it as any other. ``port`` is the one with a pace and with faults.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol, cast

from gnetsegd.link.constants import REQUEST_IN, REQUEST_OUT, Request

from .descriptors import SPEED_HIGH, Identity, standard_request
from .pyusb_backend import Host, PyusbBackend
from .transfer import Place, Reason, TransferError

if TYPE_CHECKING:
    from .port import Port


class PlainDevice(Protocol):
    """What a device has to have. One call at a time."""

    def control_in(self, request: int, length: int) -> bytes | None:
        """Data of a vendor IN request, at most ``length`` bytes; None is a STALL."""

    def control_out(self, request: int, data: bytes) -> bool:
        """A vendor OUT request; False is a STALL."""

    def bulk_out(self, data: bytes) -> None:
        """One transfer on bulk OUT; its first byte begins a packet."""

    def bulk_in(self) -> bytes | None:
        """The next answer, whole, which counts as sent with that; None if there is none yet."""


class PlainPort:
    """``device`` on a USB port, always plugged in."""

    attachment = 1
    place = Place(1, 1, 1)

    def __init__(self, device: PlainDevice, identity: Identity) -> None:
        self.identity = identity
        self._device = device
        #: The lock, and the bell that is rung when there may be an answer.
        self._changed = threading.Condition()

    def speed(self) -> int:
        return SPEED_HIGH

    def open(self, attachment: int) -> None:
        """Anybody may."""

    def claim(self, attachment: int) -> None:
        """Whoever comes first; the backend sees to that."""

    def clear_halt(self, attachment: int, endpoint: int) -> None:
        """No endpoint is ever halted."""

    def reset(self, attachment: int) -> None:
        del attachment
        with self._changed:
            self._device.control_out(Request.SOFT_RESET, b"")

    def control_in(
        self, attachment: int, kind: int, request: int, value: int, length: int, timeout_s: float = 0
    ) -> bytes:
        """Raises TransferError: STALL, OVERFLOW."""
        del attachment, timeout_s
        with self._changed:
            vendor = kind == REQUEST_IN
            data = (
                self._device.control_in(request, length)
                if vendor
                else standard_request(self.identity, kind, request, value)
            )
        if data is None:
            raise TransferError(Reason.STALL)
        if vendor and len(data) > length:
            # Of a real device the host's controller takes no more either.
            raise TransferError(Reason.OVERFLOW)
        return data[:length]

    def control_out(
        self,
        attachment: int,
        kind: int,
        request: int,
        value: int,
        index: int,
        data: bytes,
        timeout_s: float = 0,
    ) -> None:
        """Raises TransferError: STALL."""
        del attachment, index, timeout_s
        with self._changed:
            vendor = kind == REQUEST_OUT
            taken = (
                self._device.control_out(request, data)
                if vendor
                else standard_request(self.identity, kind, request, value) is not None
            )
        if not taken:
            raise TransferError(Reason.STALL)

    def bulk_out(self, attachment: int, data: memoryview, timeout_s: float) -> int:
        """How many bytes passed: all."""
        del attachment, timeout_s
        with self._changed:
            self._device.bulk_out(bytes(data))
            self._changed.notify_all()
        return len(data)

    def bulk_in(self, attachment: int, buffer: memoryview, timeout_s: float) -> int:
        """One answer into ``buffer``; how many bytes came. Raises TransferError: TIMEOUT, OVERFLOW."""
        del attachment
        deadline = time.monotonic() + timeout_s if timeout_s else float("inf")
        with self._changed:
            while (answer := self._device.bulk_in()) is None:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(min(left, threading.TIMEOUT_MAX)):
                    raise TransferError(Reason.TIMEOUT)
        if len(answer) > len(buffer):
            raise TransferError(Reason.OVERFLOW)
        buffer[: len(answer)] = answer
        return len(answer)


def backend_of(device: PlainDevice, serial: str = "plain-0001") -> PyusbBackend:
    """A pyusb backend whose only device is this one: for ``usb.core.find(backend=...)``."""
    port = PlainPort(device, Identity(serial, product="gnetseg device"))
    # To the backend it is a port like the one with faults.
    return PyusbBackend(Host(cast("Port", port)))

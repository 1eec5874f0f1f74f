"""The cable: requests and transfers to one device through pyusb, each with its time limit.

What pyusb raises becomes one of the words of ``verdict``. Nothing here knows what bulk bytes mean.
"""

from __future__ import annotations

import contextlib
import errno
import time
from array import array
from dataclasses import dataclass
from typing import Any

from gnetsegd.errors import AbsentError, PermanentError
from gnetsegd.link import constants as c
from gnetsegd.link.requests import IN_LENGTH
from gnetsegd.text import clean

from .guard import Guard, in_words
from .verdict import Broken, Gone, OutOfTime, Stalled, TransferFailed

DIRECTION_IN = 0x80
BULK = 2
#: How long a device that has left the bus may take to come back, in s.
AWAY_S = 5.0
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Times:
    """Time limits, in s. ``silence_s`` is how long nothing has to come where nothing may come."""

    request_s: float = 1.0
    answer_s: float = 2.0
    begin_s: float = 1.0
    commit_s: float = 5.0
    silence_s: float = 0.3

    def times(self, factor: float) -> Times:
        """For a device or a machine that is emulated: everything takes ``factor`` times as long."""
        return Times(*(factor * limit for limit in (
            self.request_s, self.answer_s, self.begin_s, self.commit_s, self.silence_s
        )))  # fmt: skip


def _failed(error: Exception, what: str) -> TransferFailed:
    number = getattr(error, "errno", None)
    if number == errno.ENODEV:
        return Gone(f"{what}: the device has left the bus")
    if number == errno.EPIPE:
        return Stalled(f"{what}: the device answers with a STALL")
    if number == errno.ETIMEDOUT:
        return OutOfTime(f"{what}: nothing within the time limit")
    if number == errno.EOVERFLOW:
        return TransferFailed(f"{what}: more came than the longest answer has")
    return TransferFailed(f"{what}: {_words(error)}")


def _words(error: Exception) -> str:
    """What pyusb says; its own "[Errno None]" left out."""
    said = getattr(error, "strerror", None)
    return clean(said) if isinstance(said, str) and said else in_words(error)


class Wire:
    """One device, opened and claimed. ``usb_id`` is (vendor, product); ``serial`` picks one of several.

    Raises ``AbsentError`` if it is not there, ``PermanentError`` if it cannot be opened.
    """

    def __init__(self, usb_id: tuple[int, int], serial: str = "", backend: Any = None) -> None:
        self._usb_id, self._wanted = usb_id, serial
        self._backend = None if backend is None else Guard(backend)
        self.serial = ""
        #: It has left the bus, and was not found again.
        self.away = False
        self._open(self._find())

    # -- finding and opening

    def _find(self) -> Any:
        import usb.core

        vendor, product = self._usb_id
        name = f"{vendor:04x}:{product:04x}"
        try:
            found = list(
                usb.core.find(find_all=True, idVendor=vendor, idProduct=product, backend=self._backend) or ()
            )
        except usb.core.NoBackendError:
            raise PermanentError("pyusb finds no libusb; apt install libusb-1.0-0") from None
        except usb.core.USBError as error:
            raise PermanentError(f"the devices on the bus cannot be listed: {_words(error)}") from None
        serials = [_serial(device) for device in found]
        if self._wanted:
            found = [device for device, serial in zip(found, serials, strict=True) if serial == self._wanted]
        if not found:
            others = ", ".join(clean(serial) or "one without" for serial in serials) or "none"
            wanted = f" with the serial number {self._wanted}" if self._wanted else ""
            raise AbsentError(
                f"no device {name}{wanted} is plugged in (serial numbers there: {others}); plug it in"
            )
        if len(found) > 1:
            raise PermanentError(
                f"{len(found)} devices {name} are plugged in ({', '.join(map(clean, serials))}); "
                "name one with --serial"
            )
        return found[0]

    def _open(self, device: Any) -> None:
        import usb.core
        import usb.util

        self.device = device
        self.serial = _serial(device)
        try:
            try:
                configuration = device.get_active_configuration()
            except usb.core.USBError as error:
                if getattr(error, "errno", None) in (errno.EACCES, errno.ENODEV):
                    raise
                device.set_configuration()
                configuration = device.get_active_configuration()
            self.interfaces = list(configuration)
            if not self.interfaces:
                raise PermanentError(
                    "the device cannot be opened: its configuration has no interface; mend its descriptors"
                )
            self.interface = next(filter(_is_ours, self.interfaces), self.interfaces[0])
            self.number = int(self.interface.bInterfaceNumber)
            usb.util.claim_interface(device, self.number)
        except usb.core.USBError as error:
            remedy = {
                errno.EACCES: "this user may not open it; install the udev rule, or run as root",
                errno.EBUSY: "another program uses it; stop that one (gnetsegd?)",
            }.get(getattr(error, "errno", None) or 0, _words(error))
            raise PermanentError(f"the device cannot be opened: {remedy}") from None
        bulk = [endpoint for endpoint in self.interface if endpoint.bmAttributes & 3 == BULK]
        self.outs = [endpoint for endpoint in bulk if not endpoint.bEndpointAddress & DIRECTION_IN]
        self.ins = [endpoint for endpoint in bulk if endpoint.bEndpointAddress & DIRECTION_IN]

    def find_again(self) -> bool:
        """After it has left the bus: whether it came back within ``AWAY_S``, by its serial number."""
        import usb.core
        import usb.util

        with contextlib.suppress(usb.core.USBError):  # there is nothing left to release
            usb.util.dispose_resources(self.device)
        self._wanted = self._wanted or self.serial
        deadline = time.monotonic() + AWAY_S
        self.away = True
        while self.away:
            try:
                self._open(self._find())
                self.away = False
            except Exception:  # whatever descriptors it comes back with
                if time.monotonic() > deadline:
                    break
                time.sleep(_LOOK_EVERY_S)
        return not self.away

    def close(self) -> None:
        import usb.core
        import usb.util

        with contextlib.suppress(usb.core.USBError):  # what was found out is told all the same
            usb.util.dispose_resources(self.device)

    # -- endpoint 0

    def ask(self, request: int, limit_s: float, length: int = IN_LENGTH) -> bytes:
        """Data of a vendor IN request."""
        import usb.core

        try:
            return bytes(
                self.device.ctrl_transfer(c.REQUEST_IN, request, 0, self.number, length, _ms(limit_s))
            )
        except usb.core.USBError as error:
            raise _failed(error, _request_name(request)) from None

    def tell(self, request: int, data: bytes, limit_s: float) -> None:
        """A vendor OUT request."""
        import usb.core

        try:
            self.device.ctrl_transfer(c.REQUEST_OUT, request, 0, self.number, data, _ms(limit_s))
        except usb.core.USBError as error:
            raise _failed(error, _request_name(request)) from None

    def clear_halts(self) -> None:
        """CLEAR_FEATURE(ENDPOINT_HALT) on both bulk endpoints."""
        import usb.core

        for endpoint in (*self.outs, *self.ins):
            try:
                self.device.clear_halt(endpoint.bEndpointAddress)
            except usb.core.USBError as error:
                raise _failed(error, "CLEAR_FEATURE(ENDPOINT_HALT)") from None

    def reset(self) -> None:
        """Reset the port, and claim the interface again; ``Gone`` if the device is another one afterwards."""
        import usb.core
        import usb.util

        try:
            self.device.reset()
            usb.util.claim_interface(self.device, self.number)
        except usb.core.USBError as error:
            raise _failed(error, "the reset of the port") from None

    # -- bulk

    def send(self, data: bytes, limit_s: float) -> None:
        """One transfer on bulk OUT, which has to take all of ``data``."""
        import usb.core

        if not self.outs:
            raise Broken("there is no bulk OUT endpoint")
        try:
            count = self.device.write(self.outs[0].bEndpointAddress, array("B", data), _ms(limit_s))
        except usb.core.USBError as error:
            raise _failed(error, f"bulk OUT, {len(data)} bytes") from None
        if count != len(data):
            raise OutOfTime(f"bulk OUT: {count} of {len(data)} bytes were taken within the time limit")

    def receive(self, size: int, limit_s: float) -> bytes:
        """One transfer on bulk IN into a buffer of ``size`` bytes."""
        import usb.core

        if not self.ins:
            raise Broken("there is no bulk IN endpoint")
        try:
            return bytes(self.device.read(self.ins[0].bEndpointAddress, size, _ms(limit_s)))
        except usb.core.USBError as error:
            raise _failed(error, "bulk IN") from None


def _ms(limit_s: float) -> int:
    return max(1, round(limit_s * 1000))  # 0 would be for ever


def _request_name(request: int) -> str:
    try:
        return c.Request(request).name
    except ValueError:
        return f"request {request:#04x}"


def _is_ours(interface: Any) -> bool:
    triple = (interface.bInterfaceClass, interface.bInterfaceSubClass, interface.bInterfaceProtocol)
    return triple == (c.INTERFACE_CLASS, c.INTERFACE_SUBCLASS, c.INTERFACE_PROTOCOL)


def _serial(device: Any) -> str:
    """As it says it; "" if it says none."""
    import usb.core

    try:
        return str(device.serial_number or "")
    except (ValueError, usb.core.USBError):  # no languages, no rights, no answer
        return ""

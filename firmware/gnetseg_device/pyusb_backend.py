"""A pyusb backend in this process: the real host driver, unmodified, over devices that live here.

``PyusbBackend(host)`` is to a ``Host`` what libusb is to a machine: hand it to ``usb.core.find``.
Each instance is a process of its own: what one has claimed is busy to the others, until it is
closed or ``kill`` ends it as SIGKILL would. Errors carry libusb's codes and errno, and a transfer
whose time is over in the middle gives a short count without raising, as pyusb's libusb1 backend
does (``usb/backend/libusb1.py``).
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import usb.backend
from usb.core import USBError, USBTimeoutError

from gnetsegd.link import constants as c

from .descriptors import ENDPOINT_IN, ENDPOINT_OUT, INTERFACE
from .port import KERNEL_CONTROL_S, Port
from .transfer import Reason, TransferError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: libusb's error code, errno and words of each reason.
_ERRORS = {
    Reason.NO_DEVICE: (-4, errno.ENODEV, "No such device (it may have been disconnected)"),
    Reason.TIMEOUT: (-7, errno.ETIMEDOUT, "Operation timed out"),
    Reason.STALL: (-9, errno.EPIPE, "Pipe error"),
    Reason.OVERFLOW: (-8, errno.EOVERFLOW, "Overflow"),
    Reason.NO_MEMORY: (-11, errno.ENOMEM, "Insufficient memory"),
    Reason.PERMISSION: (-3, errno.EACCES, "Access denied (insufficient permissions)"),
    Reason.BUSY: (-6, errno.EBUSY, "Resource busy"),
    Reason.CANCELLED: (-1, errno.EIO, "Input/output error"),
}


def usb_error(reason: Reason) -> USBError:
    """The exception that pyusb raises for it."""
    code, number, words = _ERRORS[reason]
    kind = USBTimeoutError if reason is Reason.TIMEOUT else USBError
    return kind(words, code, number)


class Host:
    """A machine's USB ports, and who has claimed what. Thread-safe."""

    def __init__(self, *ports: Port) -> None:
        self.ports = list(ports)
        self.lock = threading.Lock()
        self.addresses = itertools.cycle(range(1, 128))
        #: The backend that has claimed the interface of an attachment.
        self.claims: dict[tuple[Port, int], PyusbBackend] = {}


class _Attached:
    """A device as it was enumerated: one attachment of one port."""

    def __init__(self, port: Port, attachment: int) -> None:
        self.port = port
        self.attachment = attachment
        self.place = port.place
        self.speed = port.speed()


class _Handle:
    """An opened device."""

    def __init__(self, device: _Attached) -> None:
        self.port = device.port
        self.attachment = device.attachment
        self.closed = False


class PyusbBackend(usb.backend.IBackend):  # type: ignore[misc]  # pyusb has no types
    """See the module's docstring. One thread for OUT, one for IN and one for endpoint 0 at a time."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self._dead = False

    def kill(self) -> None:
        """End this process as SIGKILL does: its handles are gone, its claims free, no word to the device."""
        self._dead = True
        with self._host.lock:
            for key in [key for key, owner in self._host.claims.items() if owner is self]:
                del self._host.claims[key]

    # -- devices and descriptors

    def enumerate_devices(self) -> Iterator[_Attached]:
        for port in list(self._host.ports):
            attachment = port.attachment
            if attachment:
                yield _Attached(port, attachment)

    def get_parent(self, dev: _Attached) -> None:
        del dev

    def get_device_descriptor(self, dev: _Attached) -> SimpleNamespace:
        identity, place = dev.port.identity, dev.place
        return SimpleNamespace(
            bLength=18, bDescriptorType=1, bcdUSB=0x0200, bDeviceClass=0, bDeviceSubClass=0,
            bDeviceProtocol=0, bMaxPacketSize0=64, idVendor=identity.vendor_id,
            idProduct=identity.product_id, bcdDevice=0x0100, iManufacturer=1, iProduct=2,
            iSerialNumber=3, bNumConfigurations=1, address=place.address, bus=place.bus,
            port_number=place.port, port_numbers=(place.port,), speed=dev.speed,
        )  # fmt: skip

    def get_configuration_descriptor(self, dev: _Attached, config: int) -> SimpleNamespace:
        del dev
        if config:
            raise IndexError(f"Invalid configuration index {config}")
        return SimpleNamespace(
            bLength=9, bDescriptorType=2, wTotalLength=32, bNumInterfaces=1, bConfigurationValue=1,
            iConfiguration=0, bmAttributes=0x80, bMaxPower=250, extra_descriptors=[],
        )  # fmt: skip

    def get_interface_descriptor(self, dev: _Attached, intf: int, alt: int, config: int) -> SimpleNamespace:
        del dev, config
        if intf or alt:
            raise IndexError(f"Invalid interface index {intf}, {alt}")
        return SimpleNamespace(
            bLength=9, bDescriptorType=4, bInterfaceNumber=INTERFACE, bAlternateSetting=0, bNumEndpoints=2,
            bInterfaceClass=c.INTERFACE_CLASS, bInterfaceSubClass=c.INTERFACE_SUBCLASS,
            bInterfaceProtocol=c.INTERFACE_PROTOCOL, iInterface=0, extra_descriptors=[],
        )  # fmt: skip

    def get_endpoint_descriptor(
        self, dev: _Attached, ep: int, intf: int, alt: int, config: int
    ) -> SimpleNamespace:
        del dev, intf, alt, config
        return SimpleNamespace(
            bLength=7, bDescriptorType=5, bEndpointAddress=(ENDPOINT_OUT, ENDPOINT_IN)[ep], bmAttributes=2,
            wMaxPacketSize=c.PACKET, bInterval=0, bRefresh=0, bSynchAddress=0, extra_descriptors=[],
        )  # fmt: skip

    # -- opening

    def open_device(self, dev: _Attached) -> _Handle:
        try:
            dev.port.open(dev.attachment)
        except TransferError as error:
            raise usb_error(error.reason) from None
        return _Handle(dev)

    def close_device(self, dev_handle: _Handle) -> None:
        self.release_interface(dev_handle, INTERFACE)
        dev_handle.closed = True

    def set_configuration(self, dev_handle: _Handle, config_value: int) -> None:
        del config_value
        self._alive(dev_handle)

    def get_configuration(self, dev_handle: _Handle) -> int:
        self._alive(dev_handle)
        return 1

    def set_interface_altsetting(self, dev_handle: _Handle, intf: int, altsetting: int) -> None:
        del intf, altsetting
        self._alive(dev_handle)

    def claim_interface(self, dev_handle: _Handle, intf: int) -> None:
        del intf
        self._alive(dev_handle)
        try:
            dev_handle.port.claim(dev_handle.attachment)
        except TransferError as error:
            raise usb_error(error.reason) from None
        key = (dev_handle.port, dev_handle.attachment)
        with self._host.lock:
            if self._host.claims.setdefault(key, self) is not self:
                raise usb_error(Reason.BUSY)

    def release_interface(self, dev_handle: _Handle, intf: int) -> None:
        del intf
        key = (dev_handle.port, dev_handle.attachment)
        with self._host.lock:
            if self._host.claims.get(key) is self:
                del self._host.claims[key]

    def is_kernel_driver_active(self, dev_handle: _Handle, intf: int) -> bool:
        del dev_handle, intf
        return False

    def detach_kernel_driver(self, dev_handle: _Handle, intf: int) -> None:
        del dev_handle, intf

    def attach_kernel_driver(self, dev_handle: _Handle, intf: int) -> None:
        del dev_handle, intf

    # -- transfers

    def bulk_write(self, dev_handle: _Handle, ep: int, intf: int, data: Any, timeout: int) -> int:
        del intf
        self._alive(dev_handle)
        if ep != ENDPOINT_OUT:
            raise USBError("Entity not found", -5, errno.ENOENT)
        try:
            return dev_handle.port.bulk_out(dev_handle.attachment, _memory(data), timeout / 1000)
        except TransferError as error:
            raise usb_error(error.reason) from None

    def bulk_read(self, dev_handle: _Handle, ep: int, intf: int, buff: Any, timeout: int) -> int:
        del intf
        self._alive(dev_handle)
        if ep != ENDPOINT_IN:
            raise USBError("Entity not found", -5, errno.ENOENT)
        try:
            return dev_handle.port.bulk_in(dev_handle.attachment, _memory(buff), timeout / 1000)
        except TransferError as error:
            raise usb_error(error.reason) from None

    def ctrl_transfer(
        self,
        dev_handle: _Handle,
        bmRequestType: int,  # noqa: N803 - pyusb's names
        bRequest: int,  # noqa: N803
        wValue: int,  # noqa: N803
        wIndex: int,  # noqa: N803
        data: Any,
        timeout: int,
    ) -> int:
        self._alive(dev_handle)
        port, attachment, buffer = dev_handle.port, dev_handle.attachment, _memory(data)
        limit_s = timeout / 1000 if timeout else KERNEL_CONTROL_S
        try:
            if not bmRequestType & 0x80:
                port.control_out(attachment, bmRequestType, bRequest, wValue, wIndex, bytes(buffer), limit_s)
                return len(buffer)
            answer = port.control_in(attachment, bmRequestType, bRequest, wValue, len(buffer), limit_s)
        except TransferError as error:
            raise usb_error(error.reason) from None
        buffer[: len(answer)] = answer
        return len(answer)

    def clear_halt(self, dev_handle: _Handle, ep: int) -> None:
        self._alive(dev_handle)
        try:
            dev_handle.port.clear_halt(dev_handle.attachment, ep)
        except TransferError as error:
            raise usb_error(error.reason) from None

    def reset_device(self, dev_handle: _Handle) -> None:
        self._alive(dev_handle)
        try:
            dev_handle.port.reset(dev_handle.attachment)
        except TransferError as error:
            raise usb_error(error.reason) from None

    def _alive(self, handle: _Handle) -> None:
        if self._dead or handle.closed:
            raise usb_error(Reason.NO_DEVICE)


def _memory(data: Any) -> memoryview:
    """The memory that ``data.buffer_info()`` tells, as libusb would use it: no copy."""
    address, count = data.buffer_info()
    size = count * data.itemsize
    if not size:
        return memoryview(b"")
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")

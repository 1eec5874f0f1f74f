"""The boundary over pyusb: find a device, claim it, move bytes, and say in plain words what failed.

Nothing here knows what the bytes mean. On the hot path pyusb's *backend* is called directly, with an
object that tells where the buffer lies: pyusb's own ``Device.write`` would copy, or look at each
byte (``tests/usb/test_pyusb.py`` fails if the parts that are used here change).
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import GnetsegError, PermanentError, TransientError
from ..frame import Memory
from ..link.constants import INTERFACE_CLASS, INTERFACE_PROTOCOL, INTERFACE_SUBCLASS
from ..text import clean

#: Of endpoint descriptors: the transfer type's code, and the address bit of IN.
BULK = 2
DIRECTION_IN = 0x80
#: A request on endpoint 0: what docs/protocol.md allows at most.
CONTROL_TIMEOUT_MS = 1000
FULL_SPEED = 2
#: libusb's error codes, as far as ``classify`` tells them apart.
_LIBUSB_TIMEOUT = -7
_LIBUSB_ERRNO = {
    -3: errno.EACCES,
    -4: errno.ENODEV,
    -6: errno.EBUSY,
    _LIBUSB_TIMEOUT: errno.ETIMEDOUT,
    -9: errno.EPIPE,
    -11: errno.ENOMEM,
}
SPEEDS = {1: "1.5 Mbit/s", 2: "12 Mbit/s", 3: "480 Mbit/s", 4: "5 Gbit/s", 5: "10 Gbit/s", 6: "20 Gbit/s"}

#: Where the kernel makes a node for each device, in a folder for each bus.
DEVICES = Path("/dev/bus/usb")
#: Where it lists them with their numbers.
SYSFS = Path("/sys/bus/usb/devices")
#: libusb hears of a device from udev, which may be busy: so long after a change each look asks it anew.
SETTLE_S = 10.0

USBFS_MEMORY = Path("/sys/module/usbcore/parameters/usbfs_memory_mb")
#: Raspberry Pi: a bit field, bit 0 under-voltage now, bit 16 under-voltage since boot.
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
UNDER_VOLTAGE = 0x10001


class UsbFault(TransientError):
    """A transfer or a request that failed. ``kind`` is its short name in ``status``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def classify(error: Exception) -> UsbFault:
    """What a pyusb exception means, in words that name the remedy."""
    number = getattr(error, "errno", None)
    if number == errno.ENODEV:
        return UsbFault("gone", "the device is gone; plug it in again" + power_advice())
    if number == errno.EACCES:
        return UsbFault(
            "permission", "this user may not open the device; install the udev rule, or join group plugdev"
        )
    if number == errno.EBUSY:
        return UsbFault("busy", "another program uses the device; stop it, or name another usb.serial")
    if number == errno.ENOMEM:
        return UsbFault(
            "memory",
            f"the kernel has no memory for the transfer; raise usbcore.usbfs_memory_mb (now {_usbfs_mb()})",
        )
    if number == errno.EPIPE:
        return UsbFault("stall", "the device halted an endpoint")
    if number == errno.ETIMEDOUT:
        return UsbFault("timeout", "the device did not answer in time" + power_advice())
    return UsbFault("transfer", f"a transfer failed ({clean(str(error))}){power_advice()}")


def power_advice() -> str:
    """Words about under-voltage, if this is a Raspberry Pi that suffers from it."""
    try:
        throttled = int(THROTTLED.read_text(), 16)
    except (OSError, ValueError):
        return ""
    if not throttled & UNDER_VOLTAGE:
        return ""
    return "; the Raspberry Pi reports under-voltage: use a stronger power supply or a powered hub"


def _usbfs_mb() -> str:
    try:
        return USBFS_MEMORY.read_text().strip()
    except OSError:
        return "unknown"


def find(usb_id: tuple[int, int], backend: Any = None) -> Iterator[Any]:
    """The pyusb devices with this vendor and product id; ``PermanentError`` without libusb."""
    try:
        import usb.core
    except ImportError:
        raise PermanentError(
            "the USB accelerator needs pyusb; install gnetsegd[usb] or python3-usb"
        ) from None
    try:
        found = usb.core.find(find_all=True, idVendor=usb_id[0], idProduct=usb_id[1], backend=backend)
        yield from found or ()
    except usb.core.NoBackendError:
        raise PermanentError("pyusb finds no libusb; apt install libusb-1.0-0") from None
    except usb.core.USBError as error:
        raise classify(error) from None


class Attachments:
    """Which matching devices are plugged in, found without opening any.

    The kernel touches a folder under ``DEVICES`` at each plugging and unplugging: while none has changed,
    the last answer holds, and a look costs a few ``stat`` calls. Another ``backend`` than the system's
    libusb is asked each time, and so is a system that has no such folder.
    """

    def __init__(
        self,
        usb_id: tuple[int, int],
        backend: Any = None,
        find_them: Callable[[tuple[int, int], Any], Iterable[Any]] | None = None,
    ) -> None:
        """``find_them``: what lists them, in place of libusb."""
        self._usb_id = usb_id
        self._backend = backend
        self._find = find_them or find
        self._changes: dict[str, int] = {}
        self._found: frozenset[tuple[int, int]] = frozenset()

    def look(self) -> frozenset[tuple[int, int]]:
        """(bus, address) of each. Raises as ``find``."""
        changes = self._read_changes() if self._backend is None else {}
        if not changes or changes != self._changes:
            found = frozenset(
                (device.bus, device.address) for device in self._find(self._usb_id, self._backend)
            )
            self._found = found
            age_s = time.time() - max(changes.values(), default=0) / 1e9
            # In the future after the clock was set back: then it is asked until that time has come.
            self._changes = changes if age_s > SETTLE_S else {}
        return self._found

    @staticmethod
    def _read_changes() -> dict[str, int]:
        """When each folder changed last, in ns; empty if that cannot be told."""
        try:
            with os.scandir(DEVICES) as buses:
                changes = {bus.name: bus.stat().st_mtime_ns for bus in buses}
            return changes | {"": DEVICES.stat().st_mtime_ns}
        except OSError:
            return {}


class Listed(NamedTuple):
    """A device that the kernel lists."""

    bus: int
    address: int


def list_devices(usb_id: tuple[int, int], backend: Any = None) -> list[Any]:
    """The matching devices as the kernel lists them, without libusb, which would start a thread.

    On a system without sysfs, or for another ``backend``: as ``find``, and raises as that.
    """
    if backend is not None or not SYSFS.is_dir():
        return list(find(usb_id, backend))
    found = []
    for folder in SYSFS.iterdir():
        try:
            numbers = [int((folder / name).read_text("ascii"), 16) for name in ("idVendor", "idProduct")]
            if tuple(numbers) == usb_id:
                place = [int((folder / name).read_text("ascii")) for name in ("busnum", "devnum")]
                found.append(Listed(*place))
        except (OSError, ValueError):  # an interface, or one that has just gone
            continue
    return found


Transfer = Callable[[Memory, int], int]


def _backend_transfer(
    context: Any,
    transfer: Callable[..., int],
    interface: int,
    endpoint: int,
    errors: tuple[type[Exception], ...],
) -> Transfer:
    """A bulk transfer through whatever backend pyusb has: it is promised an ``array``, so it gets one."""
    handle = context.handle
    buffer = array("B")

    def bulk(memory: Memory, timeout_ms: int) -> int:
        nonlocal buffer
        if len(buffer) != memory.size:
            buffer = array("B", bytes(memory.size))
        view = memory.view()
        if not endpoint & DIRECTION_IN:
            memoryview(buffer)[:] = view
        try:
            count = transfer(handle, endpoint, interface, buffer, timeout_ms)
        except errors as error:
            raise classify(error) from None
        if endpoint & DIRECTION_IN:
            view[:count] = memoryview(buffer)[:count]
        return count

    return bulk


def _direct_transfer(context: Any, endpoint: int) -> Transfer:
    """The same by libusb's own function: pyusb's way to it costs three times as much as the transfer.

    The function is looked up anew, so that ctypes knows no types of arguments and passes the ready-made
    pointers as they are.
    """
    function = context.backend.lib["libusb_bulk_transfer"]
    # Pointers that are arguments already: ctypes would make one of each c_void_p, at each call.
    handle = ctypes.c_void_p.from_param(context.handle.handle.value)
    transferred = ctypes.c_int()
    pointer = ctypes.byref(transferred)

    def bulk(memory: Memory, timeout_ms: int) -> int:
        code = function(handle, endpoint, memory.pointer, memory.size, pointer, timeout_ms)
        count = transferred.value
        if code and not (count and code == _LIBUSB_TIMEOUT):
            raise classify(OSError(_LIBUSB_ERRNO.get(code, errno.EIO), f"libusb error {code}"))
        return count

    return bulk


class UsbPort:
    """One device, opened, and claimed by ``claim``. ``UsbFault`` from everything that can fail.

    Three threads may use it at once: one for ``bulk_out``, one for ``bulk_in``, one for the rest.
    """

    def __init__(self, device: Any) -> None:
        import usb.core
        import usb.util

        self._device = device
        self._util = usb.util
        self._errors = (usb.core.USBError, NotImplementedError)
        try:
            interface = self._find_interface(device)
            self._number = interface.bInterfaceNumber
            self._out, self._in = self._find_endpoints(interface)
            # Private to pyusb. Else a refused open looks like a missing serial number.
            device._ctx.managed_open()
            self.serial = clean(device.serial_number or "")
        except BaseException as error:
            usb.util.dispose_resources(device)
            if isinstance(error, self._errors):
                raise classify(error) from None
            if isinstance(error, ValueError):  # pyusb could not read which languages its strings have
                raise UsbFault(
                    "transfer",
                    f"the device does not tell its serial number ({clean(str(error))}); plug it in again",
                ) from None
            raise
        self.place = f"bus {device.bus} port {'.'.join(map(str, device.port_numbers or ()))}"
        #: Changes with each plugging-in.
        self.attachment = (device.bus, device.address)
        self.speed = device.speed
        self._make_transfers()

    def _make_transfers(self) -> None:
        # Private to pyusb, and what makes a transfer without a copy possible.
        context = self._device._ctx
        #: ``bulk_out(memory, timeout_ms)`` sends it; how many bytes went (fewer, where the time was over).
        #: ``bulk_in(memory, timeout_ms)`` receives one transfer into it; how many bytes came.
        self.bulk_out, self.bulk_in = (
            _direct_transfer(context, endpoint)
            if hasattr(context.backend, "lib")
            else _backend_transfer(context, transfer, self._number, endpoint, self._errors)
            for transfer, endpoint in (
                (context.backend.bulk_write, self._out),
                (context.backend.bulk_read, self._in),
            )
        )

    def claim(self) -> None:
        """Take the interface for this process: now it can be talked to."""
        try:
            self._util.claim_interface(self._device, self._number)
        except self._errors as error:
            raise classify(error) from None

    @staticmethod
    def _find_interface(device: Any) -> Any:
        wanted = (INTERFACE_CLASS, INTERFACE_SUBCLASS, INTERFACE_PROTOCOL)
        for interface in device[0]:
            have = (interface.bInterfaceClass, interface.bInterfaceSubClass, interface.bInterfaceProtocol)
            if have == wanted:
                return interface
        raise UsbFault(
            "not-ours",
            f"the device {device.idVendor:04x}:{device.idProduct:04x} has no interface of a gnetseg "
            "accelerator; unplug it or configure another usb.id",
        )

    @staticmethod
    def _find_endpoints(interface: Any) -> tuple[int, int]:
        """Addresses of the bulk OUT and the bulk IN endpoint."""
        bulk = [endpoint.bEndpointAddress for endpoint in interface if endpoint.bmAttributes & 3 == BULK]
        out = [address for address in bulk if not address & DIRECTION_IN]
        back = [address for address in bulk if address & DIRECTION_IN]
        if len(out) != 1 or len(back) != 1:
            raise UsbFault(
                "not-ours", "the device has not one bulk endpoint each way; update its firmware or unplug it"
            )
        return out[0], back[0]

    def request_out(
        self, request_type: int, request: int, data: bytes, timeout_ms: int = CONTROL_TIMEOUT_MS
    ) -> None:
        """A vendor request with data for the device."""
        self._request(request_type, request, data, timeout_ms)

    def request_in(self, request_type: int, request: int, length: int) -> bytes:
        """A vendor request with data from the device."""
        return bytes(self._request(request_type, request, length, CONTROL_TIMEOUT_MS))

    def _request(self, request_type: int, request: int, data_or_length: bytes | int, timeout_ms: int) -> Any:
        try:
            return self._device.ctrl_transfer(
                request_type, request, 0, self._number, data_or_length, timeout_ms
            )
        except self._errors as error:
            fault = classify(error)
            if fault.kind == "timeout":
                raise UsbFault(
                    "mute",
                    "the device does not answer even a request on endpoint 0; plug it in again"
                    + power_advice(),
                ) from None
            raise fault from None

    def clear_halts(self) -> None:
        try:
            self._device.clear_halt(self._out)
            self._device.clear_halt(self._in)
        except self._errors as error:
            raise classify(error) from None

    def reset(self) -> None:
        """Reset the port and claim the interface again."""
        try:
            self._device.reset()
        except self._errors as error:
            raise classify(error) from None
        self.claim()  # opens it again, too
        self._make_transfers()

    @property
    def speed_words(self) -> str:
        return SPEEDS.get(self.speed or 0, "unknown speed")

    def close(self) -> None:
        """Release and close; never fails."""
        try:
            self._util.dispose_resources(self._device)
        except (*self._errors, GnetsegError):
            pass

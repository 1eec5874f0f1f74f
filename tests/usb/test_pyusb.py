"""The private parts of pyusb that usb_port.py stands on; fails where a later pyusb changes them."""

from __future__ import annotations

import ctypes
import threading
import tracemalloc
from array import array
from collections import Counter
from typing import Any

import pytest
import usb.backend.libusb1 as libusb1
import usb.core
from gnetseg_device.device import MockDevice
from gnetseg_device.networks import NullNetwork
from gnetseg_device.pyusb_backend import PyusbBackend

from gnetsegd.accelerators.usb_port import UsbFault, UsbPort, _direct_transfer, classify
from gnetsegd.frame import Frame, Mask, Memory
from gnetsegd.link.header import ROOM
from gnetsegd.message import unpack_mask

from ..device.host import bundle, expected
from .model import driver

pytestmark = pytest.mark.runtime
BIG = bundle(width=224, height=224, classes=2)


class FakeLibrary:
    """In libusb's place under the real backend: notes what it is given, moves what it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.transferred = 0
        self.result = 0
        self.fill = b""

    def libusb_bulk_transfer(self, handle: Any, endpoint: int, data: Any, length: int, *rest: Any) -> int:
        done, timeout_ms = rest
        address = ctypes.cast(data, ctypes.c_void_p).value
        self.calls.append((handle, endpoint, address, length, timeout_ms))
        if self.fill:
            ctypes.memmove(address, self.fill, len(self.fill))
        done._obj.value = self.transferred
        return self.result

    def libusb_init(self, _context: Any) -> int:
        return 0

    def libusb_exit(self, _context: Any) -> None:
        pass


class Handle:
    """As the backend's own handle: it hands ``handle`` on to the library."""

    handle = ctypes.c_void_p(0x5EED)


@pytest.fixture
def library() -> FakeLibrary:
    return FakeLibrary()


@pytest.fixture
def backend(library: FakeLibrary) -> Any:
    return libusb1._LibUSB(library)


def memory(size: int = 1024) -> tuple[bytearray, Memory]:
    buffer = bytearray(size)
    return buffer, Memory(buffer, 0, size)


def address_of(buffer: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


@pytest.mark.parametrize(("name", "endpoint"), [("bulk_write", 0x01), ("bulk_read", 0x81)])
def test_the_real_backend_hands_the_buffer_itself_to_libusb(
    name: str, endpoint: int, backend: Any, library: FakeLibrary
) -> None:
    buffer, where = memory()
    where.size = 700
    library.transferred = 700
    assert getattr(backend, name)(Handle(), endpoint, 0, where, 250) == 700
    assert library.calls == [(Handle.handle, endpoint, address_of(buffer), 700, 250)]


def test_what_libusb_writes_stands_in_the_buffer_without_a_copy(backend: Any, library: FakeLibrary) -> None:
    buffer, where = memory()
    library.fill, library.transferred = b"a mask", 6
    assert backend.bulk_read(Handle(), 0x81, 0, where, 250) == 6
    assert buffer[:7] == b"a mask\0"


@pytest.mark.parametrize("name", ["bulk_write", "bulk_read"])
def test_a_timeout_in_the_middle_is_a_short_count_and_one_before_it_an_error(
    name: str, backend: Any, library: FakeLibrary
) -> None:
    _, where = memory()
    library.result, library.transferred = libusb1.LIBUSB_ERROR_TIMEOUT, 512
    assert getattr(backend, name)(Handle(), 1, 0, where, 1) == 512
    library.transferred = 0
    with pytest.raises(usb.core.USBTimeoutError) as caught:
        getattr(backend, name)(Handle(), 1, 0, where, 1)
    assert classify(caught.value).kind == "timeout"


ERRORS = [
    (libusb1.LIBUSB_ERROR_NO_DEVICE, "gone"),
    (libusb1.LIBUSB_ERROR_PIPE, "stall"),
    (libusb1.LIBUSB_ERROR_NO_MEM, "memory"),
    (libusb1.LIBUSB_ERROR_ACCESS, "permission"),
    (libusb1.LIBUSB_ERROR_BUSY, "busy"),
    (libusb1.LIBUSB_ERROR_OVERFLOW, "transfer"),
    (libusb1.LIBUSB_ERROR_IO, "transfer"),
    (libusb1.LIBUSB_ERROR_NOT_SUPPORTED, "transfer"),
]


@pytest.mark.parametrize(("code", "kind"), ERRORS)
def test_each_error_of_libusb_gets_its_words(
    code: int, kind: str, backend: Any, library: FakeLibrary
) -> None:
    library.result = code
    with pytest.raises((usb.core.USBError, NotImplementedError)) as caught:
        backend.bulk_write(Handle(), 1, 0, memory()[1], 1)
    fault = classify(caught.value)
    assert isinstance(fault, UsbFault)
    assert fault.kind == kind
    assert len(str(fault)) > 20


class Context:
    """As pyusb's resource manager over the real libusb1 backend, with the fake library in it."""

    def __init__(self, library: FakeLibrary) -> None:
        self.handle = Handle()
        self.backend = self
        self.lib = {"libusb_bulk_transfer": library.libusb_bulk_transfer}


def test_the_direct_way_gives_libusb_the_same_as_pyusb_does(library: FakeLibrary) -> None:
    buffer, where = memory()
    where.size, library.transferred, library.fill = 700, 700, b"a mask"
    assert _direct_transfer(Context(library), 0x81)(where, 250) == 700
    ((handle, *rest),) = library.calls
    assert ctypes.cast(handle, ctypes.c_void_p).value == Handle.handle.value
    assert rest == [0x81, address_of(buffer), 700, 250]
    assert buffer[:7] == b"a mask\0"


def test_the_direct_way_gives_a_short_count_after_a_timeout_in_the_middle(library: FakeLibrary) -> None:
    _, where = memory()
    library.result, library.transferred = libusb1.LIBUSB_ERROR_TIMEOUT, 512
    assert _direct_transfer(Context(library), 1)(where, 1) == 512
    library.transferred = 0
    with pytest.raises(UsbFault) as caught:
        _direct_transfer(Context(library), 1)(where, 1)
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize(("code", "kind"), ERRORS)
def test_the_direct_way_has_the_same_words_for_each_error(code: int, kind: str, library: FakeLibrary) -> None:
    library.result = code
    with pytest.raises(UsbFault) as caught:
        _direct_transfer(Context(library), 1)(memory()[1], 1)
    assert caught.value.kind == kind


def test_the_real_library_has_what_the_direct_way_takes() -> None:
    real = libusb1.get_backend()
    assert real is not None, "libusb-1.0-0 is missing: make test installs it"
    function = real.lib["libusb_bulk_transfer"]
    assert function.argtypes is None, "a declared type would turn each pointer into another object"
    assert function.restype is ctypes.c_int


def test_after_a_reset_a_port_goes_on_with_the_handle_that_pyusb_has_then() -> None:
    device = MockDevice(model=BIG)
    seen = []
    bulk_write = device.backend.bulk_write

    def noted(handle: Any, *rest: Any) -> int:
        seen.append(handle)
        return int(bulk_write(handle, *rest))

    device.backend.bulk_write = noted
    (found,) = usb.core.find(True, backend=device.backend)
    port = UsbPort(found)
    port.claim()
    for _ in range(2):
        port.bulk_out(memory(64)[1], 100)
        assert seen[-1] is found._ctx.handle
        port.reset()
    assert seen[0] is not seen[1]
    port.close()
    assert found._ctx.handle is None
    assert not device.host.claims


class Strict(PyusbBackend):
    """Takes for a buffer what pyusb promises to its backends, and nothing else."""

    def __init__(self, device: MockDevice) -> None:
        super().__init__(device.host)
        self.taken: Counter[str] = Counter()

    def bulk_write(self, dev_handle: Any, ep: int, intf: int, data: Any, timeout: int) -> int:
        assert type(data) is array
        assert data.typecode == "B"
        self.taken["out"] += 1
        return super().bulk_write(dev_handle, ep, intf, array("B", data.tobytes()), timeout)

    def bulk_read(self, dev_handle: Any, ep: int, intf: int, buff: Any, timeout: int) -> int:
        assert type(buff) is array
        assert buff.typecode == "B"
        self.taken["in"] += 1
        return super().bulk_read(dev_handle, ep, intf, buff, timeout)


def test_a_foreign_backend_gets_the_buffers_that_pyusb_promises() -> None:
    device = MockDevice()
    backend = Strict(device)
    accelerator = driver(device, backend, bundle=BIG, mask_bits=8, answer_timeout_s=5)
    accelerator.open()
    frame = Frame(BIG.input, BIG.mask.size_bytes, ROOM)
    for number in range(5):
        frame.pixels[:] = number * 40
        assert accelerator.wait_for_credit(5)
        accelerator.submit(frame)
        mask = accelerator.collect(5)
        assert isinstance(mask, Mask)
        assert (unpack_mask(mask.payload, mask.info.mask) == expected(BIG, frame.pixels)).all()
    assert min(backend.taken["out"], backend.taken["in"]) >= 5
    accelerator.close()


def test_nothing_of_a_frames_size_is_allocated_for_a_frame() -> None:
    device = MockDevice(model=BIG, network=NullNetwork)
    accelerator = driver(device, mask_bits=8, bundle=BIG, answer_timeout_s=5)
    accelerator.open()
    frames = [Frame(BIG.input, BIG.mask.size_bytes, ROOM) for _ in range(3)]
    pixels = BIG.input.size_bytes

    def exchange(count: int) -> int:
        """The most that was allocated at once while a frame was sent or received, in bytes."""
        most = 0
        for number in range(count):
            frame = frames[number % 3]
            frame.pixels[:] = number & 255
            assert accelerator.wait_for_credit(5)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            accelerator.submit(frame)
            result = accelerator.collect(5)
            most = max(most, tracemalloc.get_traced_memory()[1] - before)
            assert isinstance(result, Mask)
        return most

    exchange(10)
    tracemalloc.start()
    try:
        exchange(5)
        peaks, kept = [], []
        # Threads that other tests have left allocate now and then; what a frame needs is needed each time.
        for _ in range(3):
            held = tracemalloc.get_traced_memory()[0]
            peaks.append(exchange(100))
            kept.append(tracemalloc.get_traced_memory()[0] - held)
        assert min(peaks) < pixels / 4
        assert min(kept) < pixels / 4
    finally:
        tracemalloc.stop()
    accelerator.close()


def test_out_and_in_are_in_the_library_at_the_same_time(backend: Any, library: FakeLibrary) -> None:
    """Two threads may be inside one backend: it keeps no lock of its own around a transfer."""
    meet = threading.Barrier(2, timeout=10)
    real = library.libusb_bulk_transfer

    def transfer(*arguments: Any) -> int:
        meet.wait()
        return real(*arguments)

    library.libusb_bulk_transfer = transfer  # type: ignore[method-assign]
    back = []
    thread = threading.Thread(
        target=lambda: back.append(backend.bulk_read(Handle(), 0x81, 0, memory()[1], 9))
    )
    thread.start()
    backend.bulk_write(Handle(), 0x01, 0, memory()[1], 9)
    thread.join(10)
    assert back == [0]

"""A device on a USB port: the engine behind a cable, endpoint 0, two bulk endpoints and faults.

All transports use this one. Its calls block like libusb's synchronous ones; one OUT, one IN and
one control transfer may run at the same time, each in a thread of its own.
"""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

from gnetsegd.link.constants import REQUEST_IN, REQUEST_OUT, Request
from gnetsegd.link.requests import CAPABILITIES_SIZE_1_0, IN_LENGTH

from .bulk_endpoints import InEndpoint, OutEndpoint
from .bus import Bus, Chip
from .descriptors import SPEED_FULL, SPEED_HIGH, Identity, standard_request
from .engine import Engine, Stall
from .faults import Injector
from .shared import Shared
from .transfer import Cancel, Place, Reason, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How long the kernel itself waits for endpoint 0 where its caller gives no time limit, in seconds.
KERNEL_CONTROL_S = 5.0
_SET_CONFIGURATION = (0x00, 9)
_CLEAR_ENDPOINT_FEATURE = (0x02, 1)


class Port:
    """One device and the port that it is in; plugged in from the start.

    ``bus_mbytes_per_s`` and ``compute_s`` emulate the pace of the bus and of the chip, 0 is none.
    ``addresses`` gives the device's USB address at each plugging-in.
    ``attachment`` is a number that changes with each plugging-in: every transfer names the one that
    it was opened for, and fails with NO_DEVICE after that one is gone.
    """

    def __init__(
        self,
        engine: Engine,
        identity: Identity | None = None,
        *,
        bus_mbytes_per_s: float = 0.0,
        compute_s: float = 0.0,
        faults: Injector | None = None,
        bus: int = 1,
        port: int = 1,
        addresses: Iterator[int] | None = None,
    ) -> None:
        self.engine = engine
        self.identity = identity or Identity()
        self.faults = faults or Injector()
        #: Called, under the lock, after each plugging and unplugging.
        self.on_change: Callable[[], None] = lambda: None
        self._shared = Shared(engine, Bus(bus_mbytes_per_s), Chip(compute_s), self.faults)
        self._shared.unplug = self._unplug
        self._out, self._in = OutEndpoint(self._shared), InEndpoint(self._shared)
        self._lock = self._shared.changed
        self._worker: threading.Thread | None = None
        self._addresses = addresses or itertools.count(1)
        self._place = Place(bus, port, next(self._addresses))
        self._back_at: float | None = None
        self._back_elsewhere = False

    # -- the cable

    def unplug(self, back_after_s: float | None = None, *, elsewhere: bool = False) -> None:
        """Pull the cable: transfers fail, the device loses its power.

        With ``back_after_s`` it comes back by itself, ``elsewhere`` on another port of another bus.
        """
        with self._lock:
            self._unplug(back_after_s, elsewhere)

    def plug(self, *, elsewhere: bool = False) -> None:
        """Put the cable (back) in; nothing happens if it is in."""
        with self._lock:
            if not self._shared.plugged:
                self._plug(elsewhere)

    @property
    def attachment(self) -> int:
        """The number of the present attachment, 0 while it is unplugged."""
        with self._lock:
            back = self._back_at is not None and time.monotonic() >= self._back_at
            if back and not self._shared.plugged:
                self._plug(self._back_elsewhere)
            return self._shared.attachment if self._shared.plugged else 0

    def has(self, attachment: int) -> bool:
        """Whether that attachment is still there; may be called from ``on_change``."""
        return self._shared.plugged and self._shared.attachment == attachment

    @property
    def place(self) -> Place:
        """Where it sits, or sat last."""
        return self._place

    def speed(self) -> int:
        """libusb's code of the link's speed."""
        return SPEED_FULL if self.faults.draw("speed") else SPEED_HIGH

    def _unplug(self, back_after_s: float | None, elsewhere: bool) -> None:
        self._back_at = None if back_after_s is None else time.monotonic() + back_after_s
        self._back_elsewhere = elsewhere
        if self._shared.plugged:
            self._shared.plugged = False
            self._shared.halted.clear()
            self.engine.power_cycle()
            self._restart()
            self.on_change()

    def _plug(self, elsewhere: bool) -> None:
        old = self._place
        bus, port = (old.bus + 1, old.port + 1) if elsewhere else (old.bus, old.port)
        self._place = Place(bus, port, next(self._addresses))
        self._shared.plugged = True
        self._shared.attachment += 1
        self._shared.defects.power_up()
        self._back_at = None
        self.on_change()

    def _restart(self) -> None:
        """After the engine threw everything away: so does the port."""
        self._in.restart()
        self._shared.defects.restart()
        self._shared.chip.reset()
        self._shared.round += 1
        self._lock.notify_all()

    # -- opening

    def open(self, attachment: int) -> None:
        """As far as the device has a say in it: NO_DEVICE or PERMISSION."""
        with self._lock:
            self._shared.check(attachment)
            if self.faults.draw("open"):
                raise TransferError(Reason.PERMISSION)

    def claim(self, attachment: int) -> None:
        """NO_DEVICE or BUSY."""
        with self._lock:
            self._shared.check(attachment)
            if self.faults.draw("claim"):
                raise TransferError(Reason.BUSY)

    # -- endpoint 0

    def control_in(
        self,
        attachment: int,
        request_type: int,
        request: int,
        value: int,
        length: int,
        timeout_s: float = 0.0,
    ) -> bytes:
        """A control IN transfer; raises STALL, NO_DEVICE, TIMEOUT.

        A device that does not answer lets ``timeout_s`` pass; 0 is for a caller that waits by itself.
        """
        with self._lock:
            self._begin_control(attachment, timeout_s)
            if request_type != REQUEST_IN:
                identity = self._shared.defects.identity(self.identity)
                standard = standard_request(identity, request_type, request, value)
                if standard is None:
                    raise TransferError(Reason.STALL)
                return standard[:length]
            try:
                data = self.engine.control_in(request, IN_LENGTH)
            except Stall:
                raise TransferError(Reason.STALL) from None
            if request == Request.CAPABILITIES:
                data = self._spoil_capabilities(data)
            return data[:length]  # last, since a fault may make it longer

    def control_out(
        self,
        attachment: int,
        request_type: int,
        request: int,
        value: int,
        index: int,
        data: bytes,
        timeout_s: float = 0.0,
    ) -> None:
        """A control OUT transfer; like ``control_in``."""
        with self._lock:
            self._begin_control(attachment, timeout_s)
            if request_type != REQUEST_OUT:
                if standard_request(self.identity, request_type, request, value) is None:
                    raise TransferError(Reason.STALL)
                if (request_type, request) == _CLEAR_ENDPOINT_FEATURE:
                    self._clear_halt(index & 0xFF)
                elif (request_type, request) == _SET_CONFIGURATION:
                    self._shared.halted.clear()
                return
            try:
                self.engine.control_out(request, data)
            except Stall:
                raise TransferError(Reason.STALL) from None
            self._restart()

    def clear_halt(self, attachment: int, endpoint: int) -> None:
        """End a STALL of a bulk endpoint."""
        with self._lock:
            self._begin_control(attachment, KERNEL_CONTROL_S)
            self._clear_halt(endpoint)

    def reset(self, attachment: int) -> None:
        """A reset of the port: no session, no halted endpoint; the attachment stays.

        NO_DEVICE if the device does not say afterwards what it is, as the kernel asks.
        """
        with self._lock:
            self._shared.check(attachment)
            if self._shared.defects.control():
                raise TransferError(Reason.NO_DEVICE)
            self._shared.halted.clear()
            self.engine.control_out(Request.SOFT_RESET, b"")
            self._restart()

    def _begin_control(self, attachment: int, timeout_s: float) -> None:
        """Every request on endpoint 0 comes by here; raises what ends it before the device looks at it."""
        shared = self._shared
        shared.check(attachment)
        does = shared.defects.control()
        if does == "stall":
            raise TransferError(Reason.STALL)
        if does == "mute":
            shared.sleep(attachment, None, time.monotonic() + timeout_s)
            raise TransferError(Reason.TIMEOUT)
        shared.offer()

    def _clear_halt(self, endpoint: int) -> None:
        self._shared.halted.discard(endpoint)

    def _spoil_capabilities(self, data: bytes) -> bytes:
        fault = self.faults.draw("capabilities")
        spoiled = bytearray(data)
        if fault == "not-ours":
            raise TransferError(Reason.STALL)
        if fault == "other-major":
            spoiled[4:6] = b"\2\0"
        elif fault == "older-minor":
            spoiled[5] = 0
            spoiled[6:8] = CAPABILITIES_SIZE_1_0.to_bytes(2, "little")
            del spoiled[CAPABILITIES_SIZE_1_0:]
        return self._shared.defects.capabilities(bytes(spoiled))

    # -- the bulk endpoints

    def bulk_out(
        self, attachment: int, data: memoryview, timeout_s: float, cancel: Cancel | None = None
    ) -> int:
        """See ``OutEndpoint.transfer``."""
        return self._out.transfer(attachment, data, timeout_s, cancel)

    def bulk_in(
        self, attachment: int, buffer: memoryview, timeout_s: float, cancel: Cancel | None = None
    ) -> int:
        """See ``InEndpoint.transfer``."""
        return self._in.transfer(attachment, buffer, timeout_s, cancel)

    def cancel(self, cancel: Cancel) -> None:
        """End the transfer that was given this ``cancel`` with CANCELLED, unless it ends before."""
        with self._lock:
            cancel.wanted = True
            self._lock.notify_all()

    # -- the chip

    def start_worker(self) -> None:
        """Compute in a thread of its own, not in the IN transfer's: for networks that take their time."""
        self._shared.working = True
        self._worker = threading.Thread(target=self._work, name="gnetseg-chip", daemon=True)
        self._worker.start()

    def stop_worker(self) -> None:
        """End that thread, if there is one; it ends after the frame that it has."""
        with self._lock:
            worker, self._worker = self._worker, None
            self._shared.working = False
            self._lock.notify_all()
        if worker:
            worker.join()

    def _work(self) -> None:
        with self._lock:
            while self._shared.working:
                if not self._shared.compute_one():
                    self._lock.wait()

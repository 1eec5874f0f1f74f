"""A device on a USB port: the engine behind endpoints, power, the bus's pace and injected faults.

All transports use this one. Its calls block like libusb's synchronous ones; one OUT, one IN and
one control transfer may run at the same time, each in a thread of its own. One lock guards the
engine; it is not held while the bus, the chip or a network takes its time.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gnetsegd.link.constants import PACKET, REQUEST_IN, REQUEST_OUT, Request, Type
from gnetsegd.link.requests import CAPABILITIES_SIZE_1_0

from .bus import Bus, Chip, wait_until
from .descriptors import ENDPOINT_IN, ENDPOINT_OUT, SPEED_FULL, SPEED_HIGH, Identity, standard_request
from .engine import Engine, Stall
from .faults import Injector, impossible_for, spoil
from .jobs import FrameJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How long an unplugged device stays away by itself, in seconds.
AWAY_S = 0.5
REPLUG_AWAY_S = 0.1
SLOW_FACTOR = 10.0
#: Waits for the chip that are longer than this can be cut short by an unplug or an ABORT.
_SHORT_S = 0.002


class Reason(Enum):
    """Why a transfer failed."""

    NO_DEVICE = "no device"
    TIMEOUT = "timeout"
    STALL = "stall"
    OVERFLOW = "overflow"
    NO_MEMORY = "out of memory"
    PERMISSION = "permission"
    BUSY = "busy"


class TransferError(Exception):
    """A transfer failed; ``count`` bytes had passed before."""

    def __init__(self, reason: Reason, count: int = 0) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.count = count


@dataclass(frozen=True, slots=True)
class Place:
    """Where on the host's buses a device sits."""

    bus: int
    port: int
    address: int


class _Outgoing:
    """An answer on its way out; ``owed`` if the engine still holds it and wants to hear ``sent``."""

    __slots__ = ("data", "done", "owed", "ready_at")

    def __init__(self, data: memoryview, ready_at: float, owed: bool) -> None:
        self.data = data
        self.ready_at = ready_at
        self.owed = owed
        self.done = 0


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
        self.on_change: Callable[[], None] = lambda: None
        self._bus = Bus(bus_mbytes_per_s)
        self._chip = Chip(compute_s)
        self._changed = threading.Condition()
        self._out_lock, self._in_lock = threading.Lock(), threading.Lock()
        self._outgoing: deque[_Outgoing] = deque()
        self._held: _Outgoing | None = None
        self._halted: set[int] = set()
        self._epoch_count = 0
        self._worker: threading.Thread | None = None
        self._attachment = 1
        self._addresses = addresses or itertools.count(1)
        self._place = Place(bus, port, next(self._addresses))
        self._plugged = True
        self._back_at: float | None = None
        self._back_elsewhere = False

    # -- the cable

    def unplug(self, back_after_s: float | None = None, *, elsewhere: bool = False) -> None:
        """Pull the cable: transfers fail, the device loses its power.

        With ``back_after_s`` it comes back by itself, ``elsewhere`` on another port of another bus.
        """
        with self._changed:
            self._unplug(back_after_s, elsewhere)

    def plug(self, *, elsewhere: bool = False) -> None:
        """Put the cable (back) in; nothing happens if it is in."""
        with self._changed:
            if not self._plugged:
                self._plug(elsewhere)

    @property
    def attachment(self) -> int:
        """The number of the present attachment, 0 while it is unplugged."""
        with self._changed:
            self._come_back()
            return self._attachment if self._plugged else 0

    @property
    def place(self) -> Place:
        """Where it sits, or sat last."""
        return self._place

    def speed(self) -> int:
        """libusb's code of the link's speed."""
        return SPEED_FULL if self.faults.draw("speed") else SPEED_HIGH

    def _unplug(self, back_after_s: float | None, elsewhere: bool = False) -> None:
        self._back_at = None if back_after_s is None else time.monotonic() + back_after_s
        self._back_elsewhere = elsewhere
        if self._plugged:
            self._plugged = False
            self.engine.power_cycle()
            self._restart()
            self.on_change()

    def _plug(self, elsewhere: bool) -> None:
        old = self._place
        bus, port = (old.bus + 1, old.port + 1) if elsewhere else (old.bus, old.port)
        self._place = Place(bus, port, next(self._addresses))
        self._plugged = True
        self._back_at = None
        self._attachment += 1
        self.on_change()

    def _come_back(self) -> None:
        if not self._plugged and self._back_at is not None and time.monotonic() >= self._back_at:
            self._plug(self._back_elsewhere)

    def _restart(self) -> None:
        """After the engine threw everything away: so does the port."""
        self._outgoing.clear()
        self._held = None
        self._chip.reset()
        self._epoch_count += 1
        self._changed.notify_all()

    def _check(self, attachment: int) -> None:
        if attachment != self._attachment or not self._plugged:
            raise TransferError(Reason.NO_DEVICE)

    # -- opening

    def open(self, attachment: int) -> None:
        """As far as the device has a say in it: NO_DEVICE or PERMISSION."""
        with self._changed:
            self._check(attachment)
            if self.faults.draw("open"):
                raise TransferError(Reason.PERMISSION)

    def claim(self, attachment: int) -> None:
        """NO_DEVICE or BUSY."""
        with self._changed:
            self._check(attachment)
            if self.faults.draw("claim"):
                raise TransferError(Reason.BUSY)

    # -- endpoint 0

    def control_in(self, attachment: int, request_type: int, request: int, value: int, length: int) -> bytes:
        """A control IN transfer; raises STALL, NO_DEVICE."""
        with self._changed:
            self._check(attachment)
            if request_type != REQUEST_IN:
                data = standard_request(self.identity, request_type, request, value)
                if data is None:
                    raise TransferError(Reason.STALL)
                return data[:length]
            try:
                data = self.engine.control_in(request, length)
            except Stall:
                raise TransferError(Reason.STALL) from None
            if request == Request.CAPABILITIES:
                return self._spoil_capabilities(data)
            return data

    def control_out(
        self, attachment: int, request_type: int, request: int, value: int, index: int, data: bytes
    ) -> None:
        """A control OUT transfer; raises STALL, NO_DEVICE."""
        with self._changed:
            self._check(attachment)
            if request_type == 0x02 and request == 1 and value == 0:  # CLEAR_FEATURE ENDPOINT_HALT
                self._halted.discard(index & 0xFF)
                return
            if request_type != REQUEST_OUT:
                if standard_request(self.identity, request_type, request, value) is None:
                    raise TransferError(Reason.STALL)
                return
            try:
                self.engine.control_out(request, data)
            except Stall:
                raise TransferError(Reason.STALL) from None
            self._restart()

    def clear_halt(self, attachment: int, endpoint: int) -> None:
        """End a STALL of a bulk endpoint."""
        with self._changed:
            self._check(attachment)
            self._halted.discard(endpoint)

    def reset(self, attachment: int) -> None:
        """A reset of the port: no session, no halted endpoint; the attachment stays."""
        with self._changed:
            self._check(attachment)
            self._halted.clear()
            self.engine.control_out(Request.SOFT_RESET, b"")
            self._restart()

    def _spoil_capabilities(self, data: bytes) -> bytes:
        fault = self.faults.draw("capabilities")
        spoiled = bytearray(data)
        if fault == "not-ours":
            raise TransferError(Reason.STALL)
        if fault == "other-major":
            spoiled[4:6] = b"\2\0"
        elif fault == "no-credit":
            spoiled[12] = 0
        elif fault == "older-minor":
            spoiled[5] = 0
            spoiled[6:8] = CAPABILITIES_SIZE_1_0.to_bytes(2, "little")
            del spoiled[CAPABILITIES_SIZE_1_0:]
        return bytes(spoiled)

    # -- bulk OUT

    def bulk_out(self, attachment: int, data: memoryview, timeout_s: float) -> int:
        """One OUT transfer; how many bytes passed. ``timeout_s`` 0 is for ever.

        Raises TransferError: NO_DEVICE, STALL, TIMEOUT (nothing passed), NO_MEMORY.
        """
        with self._out_lock:
            now = time.monotonic()
            deadline = now + timeout_s if timeout_s else float("inf")
            with self._changed:
                self._check(attachment)
                if ENDPOINT_OUT in self._halted:
                    raise TransferError(Reason.STALL)
                fault = self._draw_out(data)
                passing = data if not fault else self._spoil_out(fault, data)
                end = self._bus.reserve(now, len(passing))
                count = self._epoch_count
            if end > deadline:
                return self._out_of_time(attachment, passing, now, end, deadline)
            if end > now:
                wait_until(end)
            with self._changed:
                self._check(attachment)
                if fault:
                    self._finish_out(fault, attachment, passing, deadline)
                if self._epoch_count == count:
                    self.engine.receive(passing, end)
                    self._changed.notify_all()
                return len(passing)

    def _draw_out(self, data: memoryview) -> str:
        upload = len(data) > 4 and data[4] == Type.MODEL_CHUNK
        idle = not self.engine.in_flight and not upload
        return (
            (self.faults.draw("idle") if idle else "")
            or (self.faults.draw("upload") if upload else "")
            or self.faults.draw("out")
        )

    def _spoil_out(self, fault: str, data: memoryview) -> memoryview:
        """What of the data passes before the fault is noticed."""
        if fault == "unplug-idle":
            self._unplug(AWAY_S)
            raise TransferError(Reason.NO_DEVICE)
        if fault == "no-memory":
            raise TransferError(Reason.NO_MEMORY)
        if fault == "timeout-out":
            return data[:0]
        return data[: len(data) // 2 // PACKET * PACKET]

    def _finish_out(self, fault: str, attachment: int, passing: memoryview, deadline: float) -> None:
        if fault == "timeout-out":
            self._sleep(attachment, deadline)
            raise TransferError(Reason.TIMEOUT)
        if fault == "stall-out":
            self.engine.receive(passing)
            self._halted.add(ENDPOINT_OUT)
            raise TransferError(Reason.STALL, len(passing))
        if fault in ("unplug-out", "unplug-upload", "replug", "replug-elsewhere", "reboot-lost-model"):
            self.engine.receive(passing)
            if fault == "reboot-lost-model":
                self.engine.store.wipe()
            self._unplug(AWAY_S if fault.startswith("unplug") else REPLUG_AWAY_S, fault == "replug-elsewhere")
            raise TransferError(Reason.NO_DEVICE, len(passing))
        # A short write goes on as if all had passed.

    def _out_of_time(
        self, attachment: int, data: memoryview, begun: float, end: float, deadline: float
    ) -> int:
        """The host's time is over in the middle: whole packets have passed."""
        wait_until(deadline)
        share = (deadline - begun) / (end - begun)
        passed = int(len(data) * share) // PACKET * PACKET
        with self._changed:
            self._check(attachment)
            self.engine.receive(data[:passed], deadline)
        if not passed:
            raise TransferError(Reason.TIMEOUT)
        return passed

    # -- bulk IN

    def bulk_in(self, attachment: int, buffer: memoryview, timeout_s: float) -> int:
        """One IN transfer into ``buffer``; how many bytes came. ``timeout_s`` 0 is for ever.

        A message that is longer than ``buffer`` goes on in the next transfer, if the buffer is a
        multiple of ``PACKET``. Raises TransferError: NO_DEVICE, STALL, TIMEOUT, OVERFLOW.
        """
        with self._in_lock:
            posted = time.monotonic()
            deadline = posted + timeout_s if timeout_s else float("inf")
            with self._changed:
                while True:
                    self._check(attachment)
                    if ENDPOINT_IN in self._halted:
                        raise TransferError(Reason.STALL)
                    message = self._next(attachment, deadline)
                    if message is not None:
                        count = self._send(attachment, message, buffer, posted, deadline)
                        if count is not None:
                            return count
                        continue
                    left = deadline - time.monotonic()
                    if not self._changed.wait(None if left == float("inf") else left):
                        self._check(attachment)
                        raise TransferError(Reason.TIMEOUT)

    def _send(
        self, attachment: int, message: _Outgoing, buffer: memoryview, posted: float, deadline: float
    ) -> int | None:
        """Under the lock, which is given up while time passes. None if the message was thrown away."""
        left = len(message.data) - message.done
        size = min(left, len(buffer))
        if left > size and len(buffer) % PACKET:
            raise TransferError(Reason.OVERFLOW)
        fault = self.faults.draw("in") if not message.done else ""
        count = self._epoch_count
        end = self._bus.reserve(max(posted, message.ready_at), size)
        if fault == "timeout" or end > deadline:
            self._sleep(attachment, deadline)
            raise TransferError(Reason.TIMEOUT)
        if end > time.monotonic():
            self._changed.release()
            try:
                wait_until(end)
            finally:
                self._changed.acquire()
            self._check(attachment)
            if self._epoch_count != count:
                return None
        if fault:
            size = self._spoil_in(fault, message, size)
        buffer[:size] = message.data[message.done : message.done + size]
        message.done += size
        if fault == "unplug-in":
            self._unplug(AWAY_S)
            raise TransferError(Reason.NO_DEVICE, size)
        if message.done == len(message.data):
            self._outgoing.popleft()
            if message.owed:
                self.engine.sent()
        return size

    def _spoil_in(self, fault: str, message: _Outgoing, size: int) -> int:
        """How many bytes come."""
        if fault == "stall-in":
            self._halted.add(ENDPOINT_IN)
            raise TransferError(Reason.STALL)
        if fault == "zero-length-packet":
            return 0
        size //= 2
        if fault == "short-read":
            # What does not come now never comes.
            message.data = message.data[: message.done + size]
        return size

    def _next(self, attachment: int, deadline: float) -> _Outgoing | None:
        """The next message to send, computing frames meanwhile; None if there is none yet.

        Under the lock, which is given up while a network computes or the chip is waited for.
        """
        while True:
            # Again each time: the lock may have been given up since.
            self._check(attachment)
            if not self._outgoing:
                self._fetch()
            if self._outgoing:
                message = self._outgoing[0]
                long_wait = min(message.ready_at, deadline) - time.monotonic() - _SHORT_S
                if long_wait <= 0:
                    return message
                # To be woken by an unplug or an ABORT; the rest is waited for precisely.
                self._changed.wait(long_wait)
                continue
            if self._worker or not self._compute_one():
                return None

    def _fetch(self) -> None:
        """Take the engine's next answers, spoiled where a fault says so."""
        request = self.engine.answer()
        if request is None:
            return
        assert request.message is not None
        fault = ""
        if self.faults.armed:
            waiting = 0 if self._held else self.engine.in_flight
            fault = self.faults.draw("answer", impossible=impossible_for(request.message, waiting))
        if not fault and not self._held:
            self._outgoing.append(_Outgoing(request.message, request.tag, owed=True))
            return
        # From here on the bytes are copied: the engine may use the slot again.
        message = bytes(request.message)
        self.engine.sent()
        if fault == "reordered-sequence":
            self._held = _Outgoing(memoryview(message), request.tag, owed=False)
            self._fetch()
            return
        for data in spoil(fault, message, self.faults.random) if fault else [message]:
            self._outgoing.append(_Outgoing(memoryview(data), request.tag, owed=False))
        if self._held:
            self._outgoing.append(self._held)
            self._held = None
        if not self._outgoing:
            self._fetch()

    # -- the chip

    def start_worker(self) -> None:
        """Compute in a thread of its own, not in the IN transfer's: for networks that take their time."""
        self._worker = threading.Thread(target=self._work, name="gnetseg-chip", daemon=True)
        self._worker.start()

    def stop_worker(self) -> None:
        """End that thread, if there is one; it ends after the frame that it has."""
        worker = self._worker
        if worker:
            with self._changed:
                self._worker = None
                self._changed.notify_all()
            worker.join()

    def _work(self) -> None:
        with self._changed:
            while self._worker:
                if not self._compute_one():
                    self._changed.wait()

    def _compute_one(self) -> bool:
        """Run the next job, if there is one, without the lock meanwhile."""
        job = self.engine.take_job()
        if job is None:
            return False
        self._changed.release()
        try:
            job.run()
        finally:
            self._changed.acquire()
        self.engine.finish(job)
        if isinstance(job, FrameJob) and not job.request.aborted:
            factor = SLOW_FACTOR if self.faults.draw("compute") else 1.0
            job.request.tag = self._chip.reserve(job.request.tag, factor)
        self._changed.notify_all()
        return True

    def _sleep(self, attachment: int, deadline: float) -> None:
        """Until ``deadline``, or until the device is unplugged (NO_DEVICE) or told something new."""
        count = self._epoch_count
        while self._epoch_count == count:
            left = deadline - time.monotonic()
            if left <= 0 or not self._changed.wait(None if left == float("inf") else left):
                break
        self._check(attachment)

"""The two bulk endpoints: blocking transfers like libusb's, with the pace of the bus and the faults.

The lock is not held while time passes, so OUT, IN and endpoint 0 go on side by side.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from gnetsegd.link.constants import PACKET, Type

from .bus import wait_until
from .descriptors import ENDPOINT_IN, ENDPOINT_OUT
from .faults import impossible_for, spoil
from .shared import FOREVER, Shared
from .transfer import Cancel, Reason, TransferError

#: How long an unplugged device stays away by itself, in seconds.
AWAY_S = 0.5
REPLUG_AWAY_S = 0.1
FLAP_AWAY_S = 0.3
#: Waits for the chip that are longer than this can be cut short by an unplug or an ABORT.
_SHORT_S = 0.002
_PULLS = frozenset({"unplug-out", "unplug-upload", "replug", "replug-elsewhere", "reboot-lost-model"})


class OutEndpoint:
    """Bulk OUT: what passes goes to the engine."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._one_at_a_time = threading.Lock()

    def transfer(
        self, attachment: int, data: memoryview, timeout_s: float, cancel: Cancel | None = None
    ) -> int:
        """One transfer; how many bytes passed. ``timeout_s`` 0 is for ever.

        Raises TransferError: NO_DEVICE, STALL, TIMEOUT (nothing passed), NO_MEMORY, CANCELLED.
        """
        shared = self._shared
        with self._one_at_a_time:
            now = time.monotonic()
            deadline = now + timeout_s if timeout_s else FOREVER
            with shared.changed:
                shared.check(attachment, cancel)
                while shared.defects.hangs:
                    if not shared.wait(deadline):
                        raise TransferError(Reason.TIMEOUT)
                    shared.check(attachment, cancel)
                shared.offer()
                if ENDPOINT_OUT in shared.halted:
                    raise TransferError(Reason.STALL)
                fault = self._draw(data)
                passing = self._cut(fault, data) if fault else data
                end = shared.bus.reserve(now, len(passing))
                before = shared.round
            if end > deadline:
                return self._out_of_time(attachment, passing, now, end, deadline, before)
            if end > now:
                wait_until(end)
            with shared.changed:
                shared.check(attachment, cancel)
                if shared.round == before:
                    shared.engine.receive(passing, end)
                    shared.changed.notify_all()
                if fault:
                    self._finish(fault, attachment, len(passing), deadline, cancel)
                return len(passing)

    def _draw(self, data: memoryview) -> str:
        shared = self._shared
        if not shared.faults.armed:
            return ""
        upload = len(data) > 4 and data[4] == Type.MODEL_CHUNK
        place = "upload" if upload else "out" if shared.engine.in_flight else "idle"
        return shared.faults.draw(place) or ("" if place == "out" else shared.faults.draw("out"))

    def _cut(self, fault: str, data: memoryview) -> memoryview:
        """What of the data passes before the fault is noticed."""
        if fault == "unplug-idle":
            self._shared.unplug(AWAY_S, False)
            raise TransferError(Reason.NO_DEVICE)
        if fault == "no-memory":
            raise TransferError(Reason.NO_MEMORY)
        if fault == "timeout-out":
            return data[:0]
        return data[: len(data) // 2 // PACKET * PACKET]

    def _finish(
        self, fault: str, attachment: int, passed: int, deadline: float, cancel: Cancel | None
    ) -> None:
        shared = self._shared
        if fault == "timeout-out":
            shared.sleep(attachment, cancel, deadline)
            raise TransferError(Reason.TIMEOUT)
        if fault == "stall-out":
            shared.halted.add(ENDPOINT_OUT)
            raise TransferError(Reason.STALL, passed)
        if fault in _PULLS:
            if fault == "reboot-lost-model":
                shared.engine.store.wipe()
            away_s = AWAY_S if fault.startswith("unplug") else REPLUG_AWAY_S
            shared.unplug(away_s, fault == "replug-elsewhere")
            raise TransferError(Reason.NO_DEVICE, passed)
        # A short write goes on as if all had passed.

    def _out_of_time(
        self, attachment: int, data: memoryview, begun: float, end: float, deadline: float, before: int
    ) -> int:
        """The host's time is over in the middle: whole packets have passed."""
        wait_until(deadline)
        share = (deadline - begun) / (end - begun)
        passed = int(len(data) * share) // PACKET * PACKET
        shared = self._shared
        with shared.changed:
            shared.check(attachment)
            if shared.round == before:
                shared.engine.receive(data[:passed], deadline)
                shared.changed.notify_all()
        if not passed:
            raise TransferError(Reason.TIMEOUT)
        return passed


class _Outgoing:
    """An answer on its way out; ``owed`` if the engine still holds it and wants to hear ``sent``."""

    __slots__ = ("data", "done", "owed", "ready_at")

    def __init__(self, data: memoryview, ready_at: float, owed: bool) -> None:
        self.data = data
        self.ready_at = ready_at
        self.owed = owed
        self.done = 0


class InEndpoint:
    """Bulk IN: the engine's answers, one after another, spoiled where a fault says so."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._one_at_a_time = threading.Lock()
        self._outgoing: deque[_Outgoing] = deque()
        self._held: _Outgoing | None = None

    def restart(self) -> None:
        """Under the lock: the engine threw everything away, so nothing is on its way any more."""
        self._outgoing.clear()
        self._held = None

    def transfer(
        self, attachment: int, buffer: memoryview, timeout_s: float, cancel: Cancel | None = None
    ) -> int:
        """One transfer into ``buffer``; how many bytes came. ``timeout_s`` 0 is for ever.

        A message that is longer than ``buffer`` goes on in the next transfer, if the buffer is a
        multiple of ``PACKET``. Raises TransferError: NO_DEVICE, STALL, TIMEOUT, OVERFLOW, CANCELLED.
        """
        shared = self._shared
        with self._one_at_a_time:
            posted = time.monotonic()
            deadline = posted + timeout_s if timeout_s else FOREVER
            with shared.changed:
                while True:
                    message = self._next(attachment, cancel, deadline)
                    if ENDPOINT_IN in shared.halted:
                        raise TransferError(Reason.STALL)
                    if message:
                        count = self._send(message, attachment, buffer, posted, deadline, cancel)
                        if count is not None:
                            return count
                    elif not shared.wait(deadline):
                        shared.check(attachment, cancel)
                        raise TransferError(Reason.TIMEOUT)

    def _next(self, attachment: int, cancel: Cancel | None, deadline: float) -> _Outgoing | None:
        """The next message to send, computing frames meanwhile; None if there is none yet."""
        shared = self._shared
        while True:
            # Again each time: the lock may have been given up since.
            shared.check(attachment, cancel)
            if shared.defects.hangs and not self._outgoing:
                return None
            while not self._outgoing and self._fetch():
                pass  # an answer that never comes: the next one may be there
            if self._outgoing:
                message = self._outgoing[0]
                until = min(message.ready_at, deadline) - _SHORT_S
                if until <= time.monotonic() or ENDPOINT_IN in shared.halted:
                    return message
                shared.wait(until)
            elif shared.working or not (shared.compute_one() or shared.engine.answer()):
                return None

    def _send(
        self,
        message: _Outgoing,
        attachment: int,
        buffer: memoryview,
        posted: float,
        deadline: float,
        cancel: Cancel | None,
    ) -> int | None:
        """How many bytes came; None if the message was thrown away meanwhile."""
        shared = self._shared
        left = len(message.data) - message.done
        size = min(left, len(buffer))
        if left > size and len(buffer) % PACKET:
            raise TransferError(Reason.OVERFLOW)
        fault = "" if message.done else shared.faults.draw("in")
        before = shared.round
        if fault == "timeout" or message.ready_at > deadline:
            shared.sleep(attachment, cancel, deadline)
            raise TransferError(Reason.TIMEOUT)
        # First the chip, then the bus: a transfer that cannot begin yet must not keep the bus from others.
        self._pass_time(message.ready_at)
        shared.check(attachment, cancel)
        if shared.round != before:
            return None
        end = shared.bus.reserve(max(posted, message.ready_at), size)
        self._pass_time(min(end, deadline))
        shared.check(attachment, cancel)
        if shared.round != before:
            return None
        if end > deadline:
            raise TransferError(Reason.TIMEOUT)
        if fault:
            size = self._cut(fault, message, size)
        buffer[:size] = message.data[message.done : message.done + size]
        message.done += size
        if fault == "unplug-in":
            shared.unplug(AWAY_S, False)
            raise TransferError(Reason.NO_DEVICE, size)
        if message.done == len(message.data):
            self._outgoing.popleft()
            if message.owed:
                shared.engine.sent()
        return size

    def _pass_time(self, until: float) -> None:
        """Without the lock."""
        if until > time.monotonic():
            self._shared.changed.release()
            try:
                wait_until(until)
            finally:
                self._shared.changed.acquire()

    def _cut(self, fault: str, message: _Outgoing, size: int) -> int:
        """How many bytes come."""
        if fault == "stall-in":
            self._shared.halted.add(ENDPOINT_IN)
            raise TransferError(Reason.STALL)
        if fault == "zero-length-packet":
            return 0
        size //= 2
        if fault == "short-read":
            # What does not come now never comes.
            message.data = message.data[: message.done + size]
        return size

    def _fetch(self) -> bool:
        """Take the engine's next answer, if there is one; with a fault, what comes instead of it."""
        shared, defects = self._shared, self._shared.defects
        request = shared.engine.answer()
        if request is None:
            return False
        assert request.message is not None
        fault = ""
        if request.kind == Type.FRAME:
            if defects.flaps():
                shared.unplug(FLAP_AWAY_S, False)
                raise TransferError(Reason.NO_DEVICE)
            defects.count_frame()
        elif request.kind == Type.MODEL_COMMIT and (longer_s := defects.commit_s()):
            request.tag = time.monotonic() + longer_s
        if shared.faults.armed:
            waiting = 0 if self._held else shared.engine.in_flight
            fault = shared.faults.draw("answer", impossible=impossible_for(request.message, waiting))
        if not (fault or self._held or shared.faults.defective):
            self._outgoing.append(_Outgoing(request.message, request.tag, owed=True))
            return True
        # From here on the bytes are copied: the engine may use the slot again.
        message, ready_at = bytes(request.message), request.tag
        shared.engine.sent()
        if fault == "reordered-sequence":
            self._held = _Outgoing(memoryview(message), ready_at, owed=False)
            return True
        coming = spoil(fault, message, shared.faults.random) if fault else [message]
        for data in defects.answers(request.kind, coming):
            self._outgoing.append(_Outgoing(memoryview(data), ready_at, owed=False))
        if self._held:
            self._outgoing.append(self._held)
            self._held = None
        return True

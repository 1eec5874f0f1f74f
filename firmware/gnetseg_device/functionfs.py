"""A device port of this board: the kernel's FunctionFS carries the endpoints, ``Port`` is the device.

Three threads: one for endpoint 0, one each that moves the OUT and the IN transfers. None of them may
hang when the cable, the host or the gadget goes, which decides how they wait:

* endpoint 0 is polled and only read when something is there: a thread that waits *in* ``read`` of ep0
  keeps a lock of the function's, which unbinding takes as well;
* the bulk endpoints are opened with O_NONBLOCK. The kernel then refuses a transfer while no host has
  enabled the function (EAGAIN), where it would otherwise wait without end; a transfer that was accepted
  is under way until the host takes it or leaves, which ends it with ESHUTDOWN.

Some transfers of each endpoint are with the kernel ahead of the one that is just moved
(``functionfs_aio.py``), so that the port need not refuse the host while Python is busy.

The kernel gives OUT data of a request on endpoint 0 only together with its acknowledgement, so a
request with data cannot be refused by a STALL here, as it is by the other transports. The host notices
a refused HELLO or ABORT by the missing answer (docs/testing.md).
"""

from __future__ import annotations

import errno
import os
import select
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from gnetsegd.link.constants import REQUEST_IN, REQUEST_OUT

from . import functionfs_wire as wire
from .functionfs_aio import Operation, Queue
from .functionfs_wire import Event, Setup
from .transfer import Cancel, TransferError

if TYPE_CHECKING:
    from pathlib import Path

    from .port import Port

#: How long an endpoint that refuses is left alone before it is tried again, in seconds.
_RETRY_S = 0.01
#: The kernel allocates each transfer in one piece of memory: longer ones are cut. A multiple of any packet.
_PIECE = 1 << 16
#: The longest answer at once; a multiple of any packet, too.
_ANSWER = 1 << 20
#: How many transfers of an endpoint the kernel holds at most: as many as frames are in flight, and one.
AHEAD = 4


class FunctionFs:
    """Serves ``port`` through the FunctionFS that is mounted at ``folder``.

    Making it writes the descriptors: after that the gadget may be bound. ``port`` is unplugged here
    until a host has chosen the configuration. Raises OSError, and ``PermanentError`` on a machine
    whose asynchronous I/O is not known.
    """

    def __init__(self, port: Port, folder: Path) -> None:
        self._port = port
        self._stopping = threading.Event()
        self._enabled = threading.Event()
        # What the answers of one epoch are fetched with. It is cancelled and replaced under the lock that
        # each piece of an answer is handed to the kernel under: what belongs to an old epoch stays here.
        self._epoch = Cancel()
        self._sending = threading.Lock()
        # Whatever came after a request on endpoint 0 is moved after it, though by another thread: a
        # frame of the new epoch must not overtake its ABORT.
        self._in_order = threading.Lock()
        port.unplug()
        self._files: list[int] = []
        self._queues: list[Queue] = []
        try:
            self._ep0 = self._open(folder / "ep0")
            os.write(self._ep0, wire.pack_descriptors())
            os.write(self._ep0, wire.pack_strings())
            # In the order of the descriptors.
            self._out, self._in = self._open(folder / "ep1"), self._open(folder / "ep2")
            self._coming = self._queue(self._out, Operation.READ)
            self._going = self._queue(self._in, Operation.WRITE)
            self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except BaseException:
            self._close_files()
            raise
        self._files += [self._wake_read, self._wake_write]
        self._threads = [
            threading.Thread(target=work, name=f"ffs-{name}", daemon=True)
            for name, work in (("ep0", self._serve_ep0), ("out", self._serve_out), ("in", self._serve_in))
        ]

    def start(self) -> None:
        """Serve in threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing new. What is under way ends when the gadget is unbound, which comes next."""
        self._stopping.set()
        self._enabled.set()
        with self._sending:
            self._port.cancel(self._epoch)
        os.write(self._wake_write, b"x")

    def close(self) -> None:
        """After ``stop``, and after the gadget was unbound."""
        for thread in self._threads:
            thread.join()
        self._close_files()

    def _open(self, path: Path) -> int:
        self._files.append(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        return self._files[-1]

    def _queue(self, file: int, operation: Operation) -> Queue:
        self._queues.append(Queue(file, operation, AHEAD))
        return self._queues[-1]

    def _close_files(self) -> None:
        # The last first; each is closed though another one fails.
        with ExitStack() as closing:
            for file in self._files:
                closing.callback(os.close, file)
            for queue in self._queues:
                closing.callback(queue.close)
            self._queues.clear()
            self._files.clear()

    # -- endpoint 0

    def _serve_ep0(self) -> None:
        poll = select.poll()
        poll.register(self._ep0, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while not self._stopping.is_set():
            ready = dict(poll.poll())
            if self._ep0 not in ready:
                continue
            try:
                data = os.read(self._ep0, wire.EVENT_SIZE)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno == errno.EIDRM:  # a request that the host gave up
                    continue
                return
            self._handle(*wire.parse_event(data))

    def _handle(self, kind: int, setup: Setup) -> None:
        if kind == Event.ENABLE:
            # The kernel drops a DISABLE that was not read before this came.
            self._port.unplug()
            self._end_epoch()
            self._port.plug()
            self._enabled.set()
        elif kind in (Event.DISABLE, Event.UNBIND):
            self._enabled.clear()
            self._port.unplug()
            self._end_epoch()
        elif kind == Event.SETUP:
            # The host may have given the request up meanwhile, or gone.
            with suppress(OSError):
                self._request(setup)

    def _request(self, setup: Setup) -> None:
        port, is_in = self._port, bool(setup.request_type & 0x80)
        attachment = port.attachment
        try:
            if setup.request_type == REQUEST_IN:
                data = port.control_in(attachment, REQUEST_IN, setup.request, setup.value, setup.length)
                os.write(self._ep0, data)
                return
            if setup.request_type == REQUEST_OUT:
                with self._in_order:
                    data = os.read(self._ep0, setup.length) if setup.length else b""
                    port.control_out(attachment, REQUEST_OUT, setup.request, setup.value, setup.index, data)
                    # Each of them ends an epoch; before any frame of the new one can be answered.
                    self._end_epoch()
                    if not setup.length:
                        os.read(self._ep0, 0)
                return
        except TransferError:
            if setup.length and not is_in:
                return  # it was acknowledged with its data
        self._stall(is_in)

    def _end_epoch(self) -> None:
        """No answer of the old one goes out: neither one that is fetched nor one that the kernel has."""
        with self._sending:
            self._port.cancel(self._epoch)
            if not self._stopping.is_set():  # else nobody would cancel the new one
                self._epoch = Cancel()
            self._going.cancel()

    def _stall(self, is_in: bool) -> None:
        """Moving data the wrong way is how FunctionFS is told to STALL; it confirms with an error."""
        with suppress(OSError):
            if is_in:
                os.read(self._ep0, 0)
            else:
                os.write(self._ep0, b"")

    # -- the bulk endpoints

    def _serve_out(self) -> None:
        # A frame is one transfer that ends with a short packet; longer messages come in pieces.
        buffers = [memoryview(bytearray(_PIECE)) for _ in range(AHEAD)]
        posted = 0
        while self._wait():
            try:
                while not self._coming.full:
                    self._coming.submit(buffers[posted % AHEAD])
                    posted += 1
                data = self._coming.take()
                with self._in_order:
                    # Asked for now: the host may have left and come back while this was waiting.
                    self._port.bulk_out(self._port.attachment, data, 0)
            except (OSError, TransferError):
                self._stopping.wait(_RETRY_S)  # endpoint 0 will soon tell what happened

    def _serve_in(self) -> None:
        # One buffer more than may be under way: it is filled meanwhile.
        buffers = [memoryview(bytearray(_ANSWER)) for _ in range(AHEAD + 1)]
        number = 0
        while self._wait():
            epoch = self._epoch
            try:
                view = buffers[number % len(buffers)]
                count = self._port.bulk_in(self._port.attachment, view, 0, epoch)
                # Whole packets do not end a transfer: to the host this is one.
                for start in range(0, count, _PIECE):
                    if self._going.full:
                        with suppress(OSError):  # given up, or the host left: no concern of this one
                            self._going.take()
                    with self._sending:
                        if epoch.wanted:
                            break
                        self._going.submit(view[start : min(start + _PIECE, count)])
                    if start == 0:
                        number += 1  # from here on the buffer is the kernel's
            except (OSError, TransferError):
                if not epoch.wanted:
                    self._stopping.wait(_RETRY_S)

    def _wait(self) -> bool:
        """Until a host has enabled the function; False at the end."""
        self._enabled.wait()
        return not self._stopping.is_set()

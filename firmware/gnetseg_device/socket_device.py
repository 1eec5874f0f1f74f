"""A device at the end of a socket: what the USB/IP server and the usbredir peer share.

The thread that reads commands serves endpoint 0 itself; one thread each runs the OUT and the IN
transfers, in order.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .port import Port
    from .transfer import Cancel


class Cancellable(Protocol):
    """A transfer on its way."""

    @property
    def cancel(self) -> Cancel:
        """Withdraws it."""


T = TypeVar("T", bound=Cancellable)


class SocketDevice(ABC, Generic[T]):
    """``attachment`` of the device on ``port``, for the peer at ``connection``."""

    def __init__(self, connection: socket.socket, port: Port, attachment: int) -> None:
        self._connection = connection
        self._port = port
        self._attachment = attachment
        self._lock = threading.Lock()
        #: Transfers that have not been answered, by the peer's number.
        self._pending: dict[int, T] = {}
        self._queues: dict[bool, queue.SimpleQueue[T | None]] = {
            True: queue.SimpleQueue(),
            False: queue.SimpleQueue(),
        }

    def close(self) -> None:
        """Shut the connection; its own thread ends and cleans up."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close_if_gone(self) -> None:
        """After a change of the port, under its lock: close if the device has left."""
        if not self._port.has(self._attachment):
            self.close()

    @abstractmethod
    def _run(self, transfer: T) -> None:
        """Carry out ``transfer`` and answer it; OSError where the connection has ended."""

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """The two threads run; at the end every transfer is cancelled and they are waited for."""
        workers = [
            threading.Thread(target=self._work, args=(is_out,), daemon=True) for is_out in (True, False)
        ]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            for transfer in self._left():
                self._port.cancel(transfer.cancel)
            for waiting in self._queues.values():
                waiting.put(None)
            for worker in workers:
                worker.join()

    def _left(self) -> list[T]:
        """The transfers that nobody will answer any more."""
        with self._lock:
            return list(self._pending.values())

    def _queue(self, number: int, transfer: T, *, is_out: bool) -> None:
        with self._lock:
            self._pending[number] = transfer
        self._queues[is_out].put(transfer)

    def _work(self, is_out: bool) -> None:
        while transfer := self._queues[is_out].get():
            try:
                self._run(transfer)
            except OSError:
                return  # the reader notices as well, and ends everything
            except BaseException:
                self.close()  # else this endpoint would hang while the other one goes on
                raise

    def _bulk_out(self, data: bytes, cancel: Cancel) -> int:
        """Bytes taken; raises TransferError."""
        return self._port.bulk_out(self._attachment, memoryview(data), 0, cancel)

    def _bulk_in(self, length: int, cancel: Cancel) -> bytes:
        """At most ``length`` bytes; raises TransferError."""
        # A buffer per transfer: these transports are for tests, not for speed.
        buffer = memoryview(bytearray(length))
        return bytes(buffer[: self._port.bulk_in(self._attachment, buffer, 0, cancel)])

    def _send(self, data: bytes) -> None:
        with self._lock:
            self._connection.sendall(data)

    def _receive(self, size: int) -> bytes:
        return receive(self._connection, size)


def receive(connection: socket.socket, size: int) -> bytes:
    """Exactly ``size`` bytes; ``EOFError`` if the peer ends before."""
    buffer = bytearray(size)
    view, done = memoryview(buffer), 0
    while done < size:
        count = connection.recv_into(view[done:])
        if not count:
            raise EOFError
        done += count
    return bytes(buffer)

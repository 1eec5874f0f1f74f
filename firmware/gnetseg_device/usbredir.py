"""A usbredir peer: QEMU's guest sees the device on its USB controller.

::

    qemu-system-x86_64 ... -chardev socket,id=u,path=SOCKET,server=on,wait=off \\
        -device qemu-xhci -device usb-redir,chardev=u

A connection to that socket is the cable: connecting plugs the device in, closing pulls it. While it is
plugged, it is served as ``socket_device.py`` says.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import usbredir_wire as wire
from .socket_device import SocketDevice
from .transfer import Cancel, Reason, TransferError
from .usbredir_wire import Kind, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from .port import Port

#: How often a socket that is not there, or a device that is unplugged, is looked for again.
RETRY_S = 0.1

_STATUS = {
    Reason.STALL: Status.STALL,
    Reason.OVERFLOW: Status.BABBLE,
    Reason.CANCELLED: Status.CANCELLED,
    Reason.TIMEOUT: Status.TIMEOUT,
}


class UsbredirPeer:
    """Keeps ``port``'s device plugged into the QEMU that listens at ``path``, until ``close``.

    QEMU may come later, go, and come back.
    """

    def __init__(self, port: Port, path: str) -> None:
        self._port = port
        self._path = path
        self._closed = threading.Event()
        self._plugged: _Plugged | None = None
        port.on_change = self._on_change

    def serve(self) -> None:
        """Until ``close`` is called from another thread or a signal handler."""
        while not self._closed.is_set():
            attachment = self._port.attachment
            connection = self._connect() if attachment else None
            if connection is None:
                self._closed.wait(RETRY_S)
                continue
            with connection:
                self._plugged = plugged = _Plugged(connection, self._port, attachment)
                # Both may have happened while it was being made.
                if self._closed.is_set() or not self._port.has(attachment):
                    continue
                # The peer is gone or talks nonsense: the cable is out, and may be put in again.
                with contextlib.suppress(OSError, EOFError, ValueError):
                    plugged.run()
                self._plugged = None

    def close(self) -> None:
        """Pull the cable; ``serve`` returns."""
        self._closed.set()
        if self._plugged:
            self._plugged.close()

    def _connect(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            return None
        return connection

    def _on_change(self) -> None:
        # Called under the port's lock: the connection is only shut here, its own thread cleans up.
        if self._plugged:
            self._plugged.close_if_gone()


@dataclass(slots=True)
class _Transfer:
    number: int
    asked: wire.Bulk
    cancel: Cancel = field(default_factory=Cancel)


class _Plugged(SocketDevice[_Transfer]):
    """One connection, and the attachment of the device that it stands for."""

    def __init__(self, connection: socket.socket, port: Port, attachment: int) -> None:
        super().__init__(connection, port, attachment)
        self._handlers: dict[int, Callable[[int, bytes], None]] = {
            Kind.RESET: lambda _number, _body: self._reset(),
            Kind.SET_CONFIGURATION: self._set_configuration,
            Kind.GET_CONFIGURATION: lambda number, _body: self._send(
                self._codec.pack(Kind.CONFIGURATION_STATUS, number, bytes([Status.SUCCESS, 1]))
            ),
            Kind.SET_ALT_SETTING: self._alt_setting,
            Kind.GET_ALT_SETTING: self._alt_setting,
            Kind.CANCEL_DATA_PACKET: lambda number, _body: self._cancel(number),
            Kind.CONTROL_PACKET: self._control,
            Kind.BULK_PACKET: self._bulk,
        }

    def run(self) -> None:
        """Serve until the connection ends; raises OSError, EOFError or ValueError then."""
        self._send(wire.pack_hello())
        kind, length, _ = _HELLO_HEAD.parse_head(self._receive(_HELLO_HEAD.head_size))
        if kind != Kind.HELLO:
            raise ValueError("no usbredir HELLO")
        self._codec = wire.Codec(self._receive(length))
        # libusb's codes count from 1, usbredir's from 0.
        self._send(self._codec.connect(self._port.identity, self._port.speed() - 1))
        with self._working():
            while True:
                kind, length, number = self._codec.parse_head(self._receive(self._codec.head_size))
                body = self._receive(length)
                handler = self._handlers.get(kind)
                if handler:  # filters, streams, acknowledgements: nothing that asks for an answer
                    handler(number, body)

    def _reset(self) -> None:
        with contextlib.suppress(TransferError):  # gone: the connection ends as well
            self._port.reset(self._attachment)

    def _set_configuration(self, number: int, body: bytes) -> None:
        status = Status.SUCCESS
        try:
            self._port.control_out(self._attachment, 0x00, 9, body[0] if body else 0, 0, b"")
        except TransferError as error:
            status = _STATUS.get(error.reason, Status.IO_ERROR)
        self._send(self._codec.pack(Kind.CONFIGURATION_STATUS, number, bytes([status, 1])))

    def _alt_setting(self, number: int, body: bytes) -> None:
        """There is but one."""
        interface = body[:1] or b"\0"
        status = Status.SUCCESS if not any(body[1:2]) else Status.STALL
        self._send(self._codec.pack(Kind.ALT_SETTING_STATUS, number, bytes([status]) + interface + b"\0"))

    def _control(self, number: int, body: bytes) -> None:
        asked = self._codec.parse_control(body)
        status, data, count = Status.SUCCESS, b"", 0
        kind, request, value = asked.request_type, asked.request, asked.value
        try:
            if asked.is_out:
                self._port.control_out(self._attachment, kind, request, value, asked.index, asked.data)
                count = len(asked.data)
            else:
                data = self._port.control_in(self._attachment, kind, request, value, asked.length)
                count = len(data)
        except TransferError as error:
            if error.reason is Reason.TIMEOUT:
                return  # it does not answer: QEMU cancels the request when the guest has waited long enough
            status = _STATUS.get(error.reason, Status.IO_ERROR)
        self._send(self._codec.pack_control(number, asked, status, count, data))

    def _bulk(self, number: int, body: bytes) -> None:
        asked = self._codec.parse_bulk(body)
        if asked.length > wire.MAX_MESSAGE:
            raise ValueError(f"a transfer of {asked.length} bytes")
        self._queue(number, _Transfer(number, asked), is_out=asked.is_out)

    def _cancel(self, number: int) -> None:
        with self._lock:
            transfer = self._pending.get(number)
        # One that has ended meanwhile has been answered: QEMU knows that the two can cross.
        if transfer:
            self._port.cancel(transfer.cancel)

    def _run(self, transfer: _Transfer) -> None:
        asked, status, data = transfer.asked, Status.SUCCESS, b""
        try:
            if transfer.cancel.wanted:
                raise TransferError(Reason.CANCELLED)
            if asked.is_out:
                count = self._bulk_out(asked.data, transfer.cancel)
            else:
                data = self._bulk_in(asked.length, transfer.cancel)
                count = len(data)
        except TransferError as error:
            status, count = _STATUS.get(error.reason, Status.IO_ERROR), error.count if asked.is_out else 0
        with self._lock:
            self._pending.pop(transfer.number, None)
        self._send(self._codec.pack_bulk(transfer.number, asked, status, count, data))


#: Heads are short before the capabilities are known.
_HELLO_HEAD = wire.Codec(b"")

"""A USB/IP server: Linux's vhci-hcd attaches to it and sees a device on a bus of its own.

::

    modprobe vhci-hcd
    usbip attach -r 127.0.0.1 -b 1-1

An unplugged device closes its connection, which the kernel sees as a disconnect. USB/IP has no way
to plug in by itself: after a replug somebody has to attach again.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from typing import TYPE_CHECKING

from . import usbip_wire as wire
from .port import Port
from .socket_device import SocketDevice, receive
from .transfer import Cancel, Reason, TransferError

if TYPE_CHECKING:
    from collections.abc import Sequence

PORT = 3240
#: Longer URBs are not believed: libusb and the kernel send 16 KiB to 1 MiB.
MAX_URB = 4 << 20

_STATUS = {
    Reason.NO_DEVICE: -errno.ENODEV,
    Reason.STALL: -errno.EPIPE,
    Reason.OVERFLOW: -errno.EOVERFLOW,
    Reason.NO_MEMORY: -errno.ENOMEM,
    Reason.CANCELLED: -errno.ECONNRESET,
    # A URB without a time limit does not time out; a fault that pretends so is an I/O error.
    Reason.TIMEOUT: -errno.EPROTO,
}


class UsbipServer:
    """Serves ``ports`` on ``address`` until ``close``; (host, 0) takes any free port, see ``address``."""

    def __init__(self, ports: Sequence[Port], address: tuple[str, int] = ("127.0.0.1", PORT)) -> None:
        self._ports = list(ports)
        self._attached: dict[Port, _Attached] = {}
        self._lock = threading.Lock()
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        for port in self._ports:
            port.on_change = self._on_change

    def serve(self) -> None:
        """Accept connections until ``close`` is called from another thread or a signal handler."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._client, args=(connection,), daemon=True).start()

    def start(self) -> None:
        """``serve`` in a thread."""
        threading.Thread(target=self.serve, name="usbip", daemon=True).start()

    def close(self) -> None:
        """End all connections: the kernel sees every device leave."""
        # shutdown wakes accept() up, close alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for attached in list(self._attached.values()):
            attached.close()

    def _on_change(self) -> None:
        # Called under the port's lock: the connection is only shut here, its own thread cleans up.
        for attached in list(self._attached.values()):
            attached.close_if_gone()

    def _client(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _, operation, _ = wire.OPERATION.unpack(receive(connection, wire.OPERATION.size))
                if operation == wire.REQ_DEVLIST:
                    present = [(port.identity, port.place) for port in self._ports if port.attachment]
                    connection.sendall(wire.pack_devlist(present))
                elif operation == wire.REQ_IMPORT:
                    self._import(connection, receive(connection, wire.BUS_ID_SIZE).rstrip(b"\0"))
            except (OSError, EOFError, ValueError):
                pass  # the peer is gone, or is none of ours: nothing but this connection ends

    def _import(self, connection: socket.socket, name: bytes) -> None:
        with self._lock:
            for port in self._ports:
                attachment = port.attachment
                if attachment and wire.bus_id(port.place) == name and port not in self._attached:
                    attached = self._attached[port] = _Attached(connection, port, attachment)
                    break
            else:
                connection.sendall(wire.pack_refusal())
                return
        try:
            connection.sendall(wire.pack_import(port.identity, port.place))
            attached.run()
        finally:
            with self._lock:
                del self._attached[port]


class _Urb:
    __slots__ = ("cancel", "data", "submit")

    def __init__(self, submit: wire.Submit, data: bytes) -> None:
        self.submit = submit
        self.data = data
        self.cancel = Cancel()


class _Attached(SocketDevice[_Urb]):
    """One connection that has imported a device."""

    def run(self) -> None:
        """Serve URBs until the connection ends; raises OSError or EOFError then."""
        with self._working():
            while True:
                command = wire.parse_command(self._receive(wire.COMMAND.size))
                if isinstance(command, wire.Unlink):
                    self._unlink(command)
                else:
                    self._submit(command)

    def _left(self) -> list[_Urb]:
        with self._lock:
            left = list(self._pending.values())
            self._pending.clear()  # whoever takes an URB out answers it: nobody shall
        return left

    def _submit(self, submit: wire.Submit) -> None:
        if not 0 <= submit.length <= MAX_URB:
            raise ValueError(f"an URB of {submit.length} bytes")
        urb = _Urb(submit, self._receive(submit.length) if submit.is_out else b"")
        if submit.endpoint == 0:
            with self._lock:
                self._pending[submit.sequence] = urb
            self._run(urb)
        else:
            self._queue(submit.sequence, urb, is_out=submit.is_out)

    def _unlink(self, unlink: wire.Unlink) -> None:
        with self._lock:
            urb = self._pending.pop(unlink.target, None)
        if urb:
            self._port.cancel(urb.cancel)
        self._send(wire.pack_ret_unlink(unlink.sequence, -errno.ECONNRESET if urb else 0))

    def _run(self, urb: _Urb) -> None:
        submit, status, count, answer = urb.submit, 0, 0, b""
        try:
            if urb.cancel.wanted:
                return
            if submit.endpoint == 0:
                answer = self._control(urb)
                count = len(answer) if not submit.is_out else submit.length
            elif submit.is_out:
                count = self._bulk_out(urb.data, urb.cancel)
            else:
                answer = self._bulk_in(submit.length, urb.cancel)
                count = len(answer)
        except TransferError as error:
            if submit.endpoint == 0 and error.reason is Reason.TIMEOUT:
                return  # it does not answer: the kernel unlinks the URB when it has waited long enough
            status, count = _STATUS.get(error.reason, -errno.EIO), error.count if submit.is_out else 0
        with self._lock:
            if self._pending.pop(submit.sequence, None) is None:
                return  # unlinked meanwhile
        self._send(wire.pack_ret_submit(submit.sequence, status, count) + answer)

    def _control(self, urb: _Urb) -> bytes:
        kind, request, value, index, length = wire.SETUP.unpack(urb.submit.setup)
        if urb.submit.is_out:
            self._port.control_out(self._attachment, kind, request, value, index, urb.data)
            return b""
        return self._port.control_in(self._attachment, kind, request, value, min(length, urb.submit.length))

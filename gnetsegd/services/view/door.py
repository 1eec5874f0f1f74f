"""Connections are bounded: what comes beyond that, or says nothing, is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from aiohttp import web

#: At once; each viewer has one or two.
CONNECTIONS_MAX = 160
#: For the first request of a connection to have come whole.
REQUEST_S = 10.0


class Door:
    """Makes the protocol of each connection, and closes those that are too many or too slow."""

    def __init__(self, server: Callable[[], Any], connections_max: int = CONNECTIONS_MAX) -> None:
        self._server = server
        self._connections_max = connections_max
        self._open: WeakSet[_Counted] = WeakSet()
        self.refused = 0

    @property
    def connections(self) -> int:
        """That are open now."""
        return len(self._open)

    def __call__(self) -> asyncio.Protocol:
        if self.connections >= self._connections_max:
            self.refused += 1
            return _Closed()
        made = _Counted(self, self._server())
        # Now, as many are accepted before the first of them is told.
        self._open.add(made)
        return made

    def left(self, connection: _Counted) -> None:
        self._open.discard(connection)


class _Closed(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


class _Counted(asyncio.Protocol):
    """Hands all on to aiohttp's own protocol."""

    def __init__(self, door: Door, inner: Any) -> None:
        self._door = door
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(REQUEST_S, transport.abort)
        self._inner.connection_made(transport)

    def heard(self) -> None:
        """A request has come whole."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.left(self)
        self.heard()
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        kept: bool | None = self._inner.eof_received()
        return kept

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


async def _tell_door(request: web.Request, handler: Any) -> web.StreamResponse:
    """Tell the door that a request has come."""
    transport = request.transport
    protocol = transport.get_protocol() if isinstance(transport, asyncio.Transport) else None
    if isinstance(protocol, _Counted):
        protocol.heard()
    response: web.StreamResponse = await handler(request)
    return response


#: To be given to ``web.Application``.
tell_door: Any = web.middleware(_tell_door)

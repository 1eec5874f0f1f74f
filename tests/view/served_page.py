"""The page, served by this process, and a small HTTP client for it."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from gnetsegd.services.view import run

if TYPE_CHECKING:
    from pathlib import Path

    from gnetsegd.services.view.door import Door


class Page:
    """The page, served in a thread of this process until it is closed."""

    def __init__(self, endpoints: tuple[str, ...], folder: Path, token: str = "", viewers: int = 64) -> None:
        self.folder = folder
        self.token = token
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.door: Door
        options = run.Options(endpoints, self.port, bool(token), False, viewers, folder)
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        up: Future[None] = Future()

        async def serve() -> None:
            async with run.served(options, [self._socket], token) as self.door:
                up.set_result(None)
                await self._ended.wait()

        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(serve()), daemon=True)
        self._thread.start()
        up.result(10)

    def ask(
        self, path: str, method: str = "GET", body: Any = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """(status, body, headers) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(
                method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
            )
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): text for name, text in answer.getheaders()}
        finally:
            connection.close()

    def stream(self, path: str, **headers: str) -> Any:
        """An answer that goes on, to be read bit by bit and closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

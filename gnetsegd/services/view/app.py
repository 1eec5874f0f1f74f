"""The page's addresses, as an aiohttp application.

``?camera=NAME`` says which camera; without it, the first.

=================  =====================================================================================
``/``              the page
``/cameras``       JSON: the names of the cameras
``/live``          WebSocket for the page: see ``live.packed``
``/events``        server-sent events: JSON of masks (at most 10 a second), or of why there is none
``/picture.mjpg``  motion JPEG of the camera's pictures; words in their place where there is none
``/overlay.mjpg``  the same with the person over it
``/snapshot.jpg``  one picture; ``?overlay=1`` with the person
``/mask.png``      one mask, white where a person is
``/zones``         GET, PUT: the zones of ``services.zones``
``/login``         POST of the token, where the page is shared
=================  =====================================================================================
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import WSMsgType, web

from ...errors import ConfigError
from ...text import clean
from .. import zones
from . import live, pictures
from .body import read_json
from .door import tell_door
from .feed import Feed, Shown, TooManyViewersError

if TYPE_CHECKING:
    from .cameras import Cameras
    from .guard import Guard

STATIC = Path(__file__).parent / "static"
#: Of a body: 32 zones of 256 corners fit.
BODY_MAX_BYTES = zones.MAX_FILE_BYTES
#: A single picture is waited for so long.
WAIT_S = 5.0
#: Without anything new, a viewer hears that there is nothing so often.
STILL_S = 2.0
#: A viewer that takes nothing for so long is gone.
WRITE_S = 10.0
EVENTS_APART_S = 0.1
#: A motion JPEG of words needs no more pictures than that.
WORDS_APART_S = 1.0
_BOUNDARY = "gnetsegd"

Result = TypeVar("Result")


def make_app(cameras: Cameras, guard: Guard) -> web.Application:
    """The application; ``cameras`` are stopped with it."""
    app = web.Application(middlewares=[tell_door, guard.middleware()], client_max_size=BODY_MAX_BYTES)
    page = Page(cameras)
    app.router.add_get("/", page.index)
    app.router.add_static("/static", STATIC)
    app.router.add_get("/cameras", page.names)
    app.router.add_get("/live", page.live)
    app.router.add_get("/events", page.events)
    app.router.add_get("/picture.mjpg", page.picture_stream)
    app.router.add_get("/overlay.mjpg", page.overlay_stream)
    app.router.add_get("/snapshot.jpg", page.snapshot)
    app.router.add_get("/mask.png", page.mask)
    app.router.add_get("/zones", page.get_zones)
    app.router.add_put("/zones", page.put_zones)
    app.router.add_post("/login", guard.log_in)

    async def stop(_app: web.Application) -> None:
        cameras.stop()
        await page.close()

    app.on_shutdown.append(stop)
    return app


class Page:
    """The handlers."""

    def __init__(self, cameras: Cameras) -> None:
        self._cameras = cameras
        self._sockets: set[web.WebSocketResponse] = set()
        #: The newest overlay of each feed, made once for all who look: (of which, bytes).
        self._overlays: dict[str, tuple[Shown, asyncio.Future[bytes]]] = {}

    async def close(self) -> None:
        for socket in set(self._sockets):
            await socket.close()

    async def _feed(self, request: web.Request) -> Feed:
        feeds, name = await self._cameras.look(), request.query.get("camera")
        if name is None:
            return next(iter(feeds.values()))
        if name not in feeds:
            raise web.HTTPNotFound(text=f"there is no camera {clean(name)}; there are {', '.join(feeds)}\n")
        return feeds[name]

    async def index(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def names(self, _request: web.Request) -> web.Response:
        return web.json_response(list(await self._cameras.look()))

    # -- streams ----------------------------------------------------------------------------------

    async def live(self, request: web.Request) -> web.StreamResponse:
        feed = await self._feed(request)
        socket = web.WebSocketResponse(max_msg_size=64, timeout=WRITE_S, heartbeat=WRITE_S)
        async with _seat(feed):
            await socket.prepare(request)
            self._sockets.add(socket)
            try:
                await self._talk(socket, feed)
            except (TimeoutError, ConnectionError):
                pass
            finally:
                self._sockets.discard(socket)
        return socket

    @staticmethod
    async def _talk(socket: web.WebSocketResponse, feed: Feed) -> None:
        """One message for each "next" of the page: so a slow one gets fewer, and always the newest."""
        seen: Shown | None = None
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            shown = await feed.next_after(seen, STILL_S)
            seen = shown or seen
            packed = live.packed(feed, shown or feed.newest, still=shown is None)
            await asyncio.wait_for(socket.send_bytes(packed), WRITE_S)

    async def events(self, request: web.Request) -> web.StreamResponse:
        feed = await self._feed(request)
        async with _seat(feed):
            response = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream",
                    "X-Accel-Buffering": "no",
                    "Cache-Control": "no-store",
                }
            )
            await response.prepare(request)
            with suppress(ConnectionError):  # the viewer has gone
                async for shown, still in _newest(feed, EVENTS_APART_S):
                    body = json.dumps(live.described(feed, shown, still))
                    await _write(request, response, f"data: {body}\n\n".encode())
        return response

    async def picture_stream(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, self._picture)

    async def overlay_stream(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, self._overlay)

    async def _stream(
        self, request: web.Request, make: Callable[[Feed, Shown], Awaitable[bytes]]
    ) -> web.StreamResponse:
        feed = await self._feed(request)
        async with _seat(feed):
            response = web.StreamResponse(
                headers={
                    "Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}",
                    "Cache-Control": "no-store",
                }
            )
            await response.prepare(request)
            with suppress(ConnectionError):
                async for shown, _ in _newest(feed, 0.0):
                    data = await make(feed, shown)
                    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    await _write(request, response, head.encode() + data + b"\r\n")
                    if shown.mask is None:
                        await asyncio.sleep(WORDS_APART_S)
        return response

    async def _picture(self, _feed: Feed, shown: Shown) -> bytes:
        if shown.mask is None:
            assert shown.no_data is not None
            return await _in_thread(pictures.words, shown.no_data.reason)
        if shown.mask.jpeg is None:
            return await _in_thread(pictures.words, live.NO_PICTURES)
        return bytes(shown.mask.jpeg)

    async def _overlay(self, feed: Feed, shown: Shown) -> bytes:
        if shown.mask is None:
            return await self._picture(feed, shown)
        of, future = self._overlays.get(feed.name, (None, None))
        if future is None or of is not shown:
            future = asyncio.ensure_future(_in_thread(pictures.overlay, shown))
            self._overlays[feed.name] = (shown, future)
        # One viewer's leaving must not take the picture from the others.
        return await asyncio.shield(future)

    # -- single things ----------------------------------------------------------------------------

    async def snapshot(self, request: web.Request) -> web.Response:
        make = self._overlay if request.query.get("overlay") == "1" else self._picture
        feed = await self._feed(request)
        async with _seat(feed):
            shown = await _first(feed)
            if make == self._picture and shown.mask is not None and shown.mask.jpeg is None:
                raise web.HTTPServiceUnavailable(text=live.NO_PICTURES + "\n")
            return web.Response(body=await make(feed, shown), content_type="image/jpeg")

    async def mask(self, request: web.Request) -> web.Response:
        feed = await self._feed(request)
        async with _seat(feed):
            shown = await _first(feed)
            return web.Response(body=await _in_thread(pictures.mask_png, shown), content_type="image/png")

    async def get_zones(self, request: web.Request) -> web.Response:
        feed = await self._feed(request)
        feed.zones.look()
        body = {"version": zones.VERSION, "zones": [area.as_json() for area in feed.zones.areas]}
        return web.json_response(body | {"trouble": feed.zones.trouble})

    async def put_zones(self, request: web.Request) -> web.Response:
        feed = await self._feed(request)
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="zones are application/json\n")
        try:
            areas = zones.parse(await read_json(request))
            zones.refuse_taken_name(areas)
            await _in_thread(zones.write, self._cameras.zones_file(feed.name), areas)
        except ConfigError as error:
            raise web.HTTPBadRequest(text=f"{clean(str(error))}\n") from None
        except OSError as error:
            raise web.HTTPInsufficientStorage(
                text=f"the zones cannot be written ({error.strerror}); let the page's user write there\n"
            ) from None
        except ValueError as error:
            raise web.HTTPInsufficientStorage(
                text=f"the zones' file {clean(str(error))}; move it\n"
            ) from None
        feed.zones.look()
        return await self.get_zones(request)


async def _in_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


class _seat:  # noqa: N801 - used as a function
    """A viewer's place at a feed; 503 where there is none."""

    def __init__(self, feed: Feed) -> None:
        self._watched = feed.watched()

    async def __aenter__(self) -> None:
        try:
            await self._watched.__aenter__()
        except TooManyViewersError:
            raise web.HTTPServiceUnavailable(
                text="as many look already as may; close a page, or raise --viewers\n",
                headers={"Retry-After": "5"},
            ) from None

    async def __aexit__(self, *error: Any) -> None:
        await self._watched.__aexit__(*error)


async def _newest(feed: Feed, apart_s: float) -> AsyncIterator[tuple[Shown, bool]]:
    """The newest again and again, at least each ``STILL_S``; whether it is still the one before."""
    seen: Shown | None = None
    while not feed.stopped:
        began = time.monotonic()
        shown = await feed.next_after(seen, STILL_S)
        yield shown or feed.newest, shown is None
        seen = shown or seen
        left_s = apart_s - (time.monotonic() - began)
        if left_s > 0:
            await asyncio.sleep(left_s)


async def _write(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Write and wait until there is room again; a viewer that takes nothing is cut."""
    try:
        await asyncio.wait_for(response.write(data), WRITE_S)
    except TimeoutError:
        if isinstance(request.transport, asyncio.Transport):
            request.transport.abort()
        raise ConnectionResetError("the viewer takes nothing") from None


async def _first(feed: Feed) -> Shown:
    """The first mask; 503 with the reason where none comes."""
    deadline = time.monotonic() + WAIT_S
    shown: Shown | None = None
    while True:
        found = await feed.next_after(shown, max(0.0, deadline - time.monotonic())) if shown else feed.newest
        if found is not None and found.mask is not None:
            return found
        shown = found or shown
        if found is None or time.monotonic() >= deadline:
            reason = (
                shown.no_data.reason if shown is not None and shown.no_data is not None else "no mask came"
            )
            raise web.HTTPServiceUnavailable(text=f"{reason}\n", headers={"Retry-After": "2"})

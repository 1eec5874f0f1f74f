"""What a request brings along: JSON, in time and within bounds, whatever it really is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ...text import clean

#: For a body to have come whole.
BODY_S = 10.0


async def read_json(request: web.Request) -> Any:
    """The body's JSON. Raises 400 for what is none, 408 for what is not there in time, 413 for too much."""
    try:
        return json.loads(await asyncio.wait_for(request.read(), BODY_S))
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except RecursionError:
        raise web.HTTPBadRequest(text="the body is nested too deep\n") from None
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"the body is no JSON: {clean(str(error))}\n") from None
    except (web.RequestPayloadError, HttpProcessingError):  # packed or cut into chunks as it should not be
        raise web.HTTPBadRequest(text="the body cannot be read\n") from None

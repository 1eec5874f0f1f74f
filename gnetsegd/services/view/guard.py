"""Who may look: the Host header, a token where the page is shared, and what browsers may do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .body import read_json

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

COOKIE = "gnetsegd"
COOKIE_MAX_AGE_S = 400 * 86400
TOKEN_BYTES = 16
#: Wrong tokens of one address before it has to wait, and for how long, in s.
WRONG_MAX = 10
WRONG_FORGET_S = 60.0
#: Addresses that are remembered.
ADDRESSES_MAX = 256

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def load_token(path: Path, new: bool = False) -> str:
    """The token in a file that only its owner can read; made where there is none. ``OSError``."""
    if not new:
        try:
            token = path.read_text("ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            token = ""
        if len(token) >= TOKEN_BYTES:
            return token
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    path.write_text(token + "\n", "ascii")
    return token


class Guard:
    """A middleware. ``token`` empty: this machine alone can reach the page, and whoever does may look."""

    def __init__(self, token: str, names: tuple[str, ...] = ()) -> None:
        self._token = token.encode()
        self._cookie = hmac.new(self._token, b"cookie", hashlib.sha256).hexdigest().encode()
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        #: (wrong tokens, when the last came) by address.
        self._wrong: dict[str, tuple[int, float]] = {}

    @property
    def needs_token(self) -> bool:
        return bool(self._token)

    def middleware(self) -> Any:
        """To be given to ``web.Application``."""

        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                self._check(request)
                response = await handler(request)
            except web.HTTPException as error:
                error.headers.update(HEADERS)
                raise
            if not response.prepared:
                for name, value in HEADERS.items():
                    response.headers.setdefault(name, value)
            return response

        return web.middleware(guarded)

    def _check(self, request: web.Request) -> None:
        # A page of another name that leads here (DNS rebinding) is none of ours.
        if not self.is_ours(request.headers.get("Host", "")):
            raise web.HTTPMisdirectedRequest(
                text="this page has another name; open it by the one it was given\n"
            )
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
            raise web.HTTPForbidden(text="another site's page may not do that\n")
        if request.headers.get("Sec-Fetch-Site") == "cross-site" and request.path != "/":
            raise web.HTTPForbidden(text="another site's page may not do that\n")
        if self.needs_token and not _is_public(request.path) and not self.is_known(request):
            raise web.HTTPUnauthorized(
                text="a token is needed: open the address that gnetsegctl view --share has printed\n",
                headers={"WWW-Authenticate": 'Basic realm="gnetsegd"'} if _wants_basic(request) else {},
            )

    def is_ours(self, host: str) -> bool:
        """Does this Host header name us? An address does: no other site's name can be one."""
        name = host.lower().rstrip(".")
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        if name in self._names:
            return True
        try:
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def is_known(self, request: web.Request) -> bool:
        """By its cookie, or by the token as a bearer's or as the password of any user."""
        cookie = request.cookies.get(COOKIE, "")
        if cookie and hmac.compare_digest(cookie.encode("utf-8", "surrogateescape"), self._cookie):
            return True
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except ValueError:  # no Base64, or no text in it
                return False
        return bool(given) and self.try_token(given, request.remote or "")

    def try_token(self, given: str, address: str) -> bool:
        """Is this the token? Raises 429 for an address that has guessed too often."""
        now = time.monotonic()
        count, last = self._wrong.get(address, (0, 0.0))
        if now - last > WRONG_FORGET_S:
            count = 0
        if count >= WRONG_MAX:
            raise web.HTTPTooManyRequests(
                text=f"too many wrong tokens; try again in {WRONG_FORGET_S:g} s\n",
                headers={"Retry-After": f"{WRONG_FORGET_S:.0f}"},
            )
        if hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token):
            self._wrong.pop(address, None)
            return True
        self._wrong.pop(address, None)
        self._wrong[address] = (count + 1, now)
        while len(self._wrong) > ADDRESSES_MAX:
            del self._wrong[next(iter(self._wrong))]
        return False

    async def log_in(self, request: web.Request) -> web.Response:
        """The page sends the token that stood behind the # of its address, which no log has."""
        try:
            given = (await read_json(request))["token"]
        except (KeyError, TypeError, web.HTTPBadRequest):
            given = ""
        if not isinstance(given, str) or not self.try_token(given, request.remote or ""):
            raise web.HTTPForbidden(text="that is not the token\n")
        response = web.json_response({})
        response.set_cookie(
            COOKIE,
            self._cookie.decode(),
            max_age=COOKIE_MAX_AGE_S,
            httponly=True,
            samesite="Strict",
            path="/",
        )
        return response


def _is_public(path: str) -> bool:
    """The page itself holds no secret; what it shows does."""
    return path in ("/", "/login") or path.startswith("/static/")


def _wants_basic(request: web.Request) -> bool:
    """A browser's page logs in by itself; programs that take a picture know a user and a password."""
    return not request.headers.get("Sec-Fetch-Mode") and request.path.endswith((".mjpg", ".jpg", ".png"))


def names_of_this_machine() -> tuple[str, ...]:
    """Under which this machine is known in its network."""
    name = socket.gethostname().partition(".")[0]
    return (name, f"{name}.local", socket.getfqdn())


def addresses_of_this_machine() -> list[str]:
    """The one that it has in its network, as far as can be told without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a datagram socket: nothing is sent
        except OSError:
            return []
        return [str(probe.getsockname()[0])]

"""HTTP for network cameras, by Python's own client: FFmpeg gets bytes, and opens nothing itself.

So each redirection is looked at, certificates are checked, and a server that sends without an end and gives
no picture is left.
"""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from ..errors import AccessRefused, GnetsegError, TransientError
from ..text import clean
from . import network_login
from .network_address import HTTP, Address
from .network_certificate import context, not_good

#: A server may send so much before the next picture must have come of it.
UNUSED_MAX_BYTES = 24 << 20


class Http:
    """Opens addresses of one camera: itself, and what its playlists name."""

    def __init__(self, address: Address, verify: bool, ca_file: str, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._unused = 0
        #: When what is read now must have come, by time.monotonic().
        self._deadline_s = 0.0
        #: Why the last body ended, where that was not its end.
        self.error: GnetsegError | None = None
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if address.user:
            root = f"{address.scheme}://{address.host}/"
            passwords.add_password(None, root, address.user, address.password)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),  # a camera stands in one's own network
            urllib.request.HTTPSHandler(context=context(verify, ca_file)),
            *network_login.handlers(address.shown, passwords),
            _OnlyHttp(),
        )

    def used(self, timeout_s: float) -> None:
        """A picture has come of what was sent so far; the next must come within ``timeout_s``."""
        self._unused = 0
        self._deadline_s = time.monotonic() + timeout_s

    def open(self, url: str, flags: Any = None, options: Any = None) -> Body:
        """For ``av.open``'s ``io_open``, too. ``TransientError`` says what went wrong."""
        del flags, options
        try:
            # Only what _parts() and _OnlyHttp let through comes here.
            if urlsplit(url).scheme not in HTTP:
                raise TransientError(
                    f"{self._address.shown}: names something that is not HTTP; it is not opened"
                )
            request = urllib.request.Request(url, headers={"User-Agent": "gnetsegd", "Accept": "*/*"})
            return Body(self, self._opener.open(request, timeout=self._timeout_s))
        except GnetsegError as error:
            self.error = error
            raise
        except (OSError, HTTPException, ValueError) as error:
            self.error = _told(self._address.shown, error)
            raise self.error from None

    def read(self, response: Any, size: int) -> bytes:
        """The next bytes of a body; empty at its end, also where it is ended for a reason (``error``)."""
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0 or self._unused > UNUSED_MAX_BYTES:
            self.error = TransientError(
                f"{self._address.shown}: sends, but no picture comes of it; is it a camera's stream?"
            )
            return b""
        try:
            data: bytes = response.read1(min(size, 1 << 16))
        except (OSError, HTTPException, ValueError) as error:
            self.error = _told(self._address.shown, error)
            return b""
        self._unused += len(data)
        return data


class Body:
    """One answer, as PyAV reads a file: it cannot be wound back."""

    def __init__(self, http: Http, response: Any) -> None:
        self._http, self._response = http, response
        self.kind = response.headers.get_content_type()

    def read(self, size: int) -> bytes:
        return self._http.read(self._response, size)

    def close(self) -> None:
        self._response.close()


class _OnlyHttp(urllib.request.HTTPRedirectHandler):
    """Nothing but HTTP behind a redirection."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in HTTP:
            raise urllib.error.HTTPError(newurl, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _told(shown: str, error: Exception) -> GnetsegError:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return refused(shown, error.code)
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return not_good(shown, reason)
    words = clean(str(getattr(reason, "strerror", None) or reason)) or type(reason).__name__
    return TransientError(f"{shown}: cannot be reached ({words})")


def refused(shown: str, code: int) -> GnetsegError:
    """The error for an answer of this HTTP (or RTSP) status."""
    if code in (401, 403, 407):
        return AccessRefused(f"{shown}: user or password is wrong ({code}); mend them in camera.network")
    if code == 404:
        return TransientError(
            f"{shown}: the camera has nothing under this path (404); mend camera.network.url"
        )
    if 300 <= code < 400:
        return TransientError(f"{shown}: leads to what is not HTTP, or in a ring ({code}); it is not opened")
    return TransientError(f"{shown}: the camera answers with status {code}")

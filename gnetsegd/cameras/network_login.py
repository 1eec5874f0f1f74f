"""Logging in to network cameras over HTTP: Basic, and Digest with MD5 or SHA-256.

Cameras offer several ways at once, a header each; urllib looks at the first and knows no SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import re
import urllib.error
import urllib.request
from http.client import HTTPMessage
from typing import Any

from ..errors import AccessRefused, TransientError
from ..text import clean

_HEADER = "WWW-Authenticate"
_ALGORITHM = re.compile(r'\balgorithm\s*=\s*"?([A-Za-z0-9-]+)', re.IGNORECASE)
_HASHES = {"MD5": hashlib.md5, "SHA": hashlib.sha1, "SHA-256": hashlib.sha256}


def handlers(shown: str, passwords: Any) -> tuple[urllib.request.BaseHandler, ...]:
    """For ``urllib.request.build_opener``. ``shown`` is the camera's address, for sentences."""
    return _Digest(shown, passwords), _Basic(passwords)


def _offers(headers: Any) -> list[str]:
    return [str(offer).strip() for offer in headers.get_all(_HEADER, [])]


def _kind(offer: str) -> str:
    return offer.partition(" ")[0].lower()


def _can(offer: str) -> bool:
    found = _ALGORITHM.search(offer)
    return _kind(offer) == "digest" and (found is None or found[1].upper() in _HASHES)


def _only(offer: str) -> HTTPMessage:
    message = HTTPMessage()
    message[_HEADER] = offer
    return message


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """Tries a password once; the library would do so six times, and some cameras then lock everybody out."""

    def __init__(self, shown: str, passwords: Any) -> None:
        super().__init__(passwords)
        self._shown = shown

    def http_error_401(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        offers = _offers(headers)
        known = [offer for offer in offers if _can(offer)]
        if known:
            try:
                return super().http_error_401(req, fp, code, msg, _only(known[0]))
            except (IndexError, KeyError, ValueError):
                raise TransientError(f"{self._shown}: asks for a login in words that are none") from None
        if offers and "basic" not in map(_kind, offers):
            raise AccessRefused(
                f"{self._shown}: asks for a login of a kind that is not known here ({clean(offers[0], 60)}); "
                "set it to Basic, or to Digest with MD5 or SHA-256"
            )
        return None

    def retry_http_digest_auth(self, req: Any, auth: str) -> Any:
        if req.has_header(self.auth_header):
            raise urllib.error.HTTPError(req.full_url, 401, "it was refused", req.headers, io.BytesIO())
        return super().retry_http_digest_auth(req, auth)

    def get_algorithm_impls(self, algorithm: str) -> Any:
        made = _HASHES[algorithm.upper()]

        def digest(text: str) -> str:
            return made(text.encode()).hexdigest()

        return digest, lambda secret, data: digest(f"{secret}:{data}")


class _Basic(urllib.request.HTTPBasicAuthHandler):
    """Looks at offers of its own kind alone; the library takes others for an error."""

    def http_error_401(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        offers = [offer for offer in _offers(headers) if _kind(offer) == "basic"]
        return super().http_error_401(req, fp, code, msg, _only(offers[0])) if offers else None

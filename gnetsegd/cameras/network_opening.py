"""How a network camera is opened: which protocols FFmpeg may use, which format it must be, why it failed."""

from __future__ import annotations

from typing import Any, Protocol

from ..errors import GnetsegError, PermanentError, TransientError
from ..text import clean
from . import OPEN_EXTRA_S, network_certificate, pyav
from .network_address import HTTP, PROTOCOLS, Address
from .network_http import Http, refused
from .network_stream import Opened, told

#: A camera may send a key frame so rarely, in s; until then nothing can be shown.
KEY_WAIT_S = 12.0
#: FFmpeg looks at so much before it says what a stream is.
_PROBE_BYTES = 1 << 20
_PROBE_US = 500_000
#: Where Debian and its like keep the certificates of those who sign.
_SYSTEM_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
_PLAYLISTS = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl")
_PAGES = ("text/html", "application/xhtml+xml")


class Wanted(Protocol):
    """Of ``[camera.network]`` what is read here."""

    @property
    def transport(self) -> str: ...
    @property
    def verify(self) -> bool: ...
    @property
    def ca_file(self) -> str: ...


class Opening:
    """Opens the container, in the stream's thread."""

    def __init__(self, address: Address, options: Wanted, timeout_s: float) -> None:
        self._address, self._options, self._timeout_s = address, options, timeout_s
        self._shown = clean(address.shown)
        self._http: Http | None = None

    def __call__(self) -> Opened:
        if self._address.scheme in HTTP:
            return self._open_http()
        whitelist, form = PROTOCOLS[self._address.scheme]
        options = _limits() | {"protocol_whitelist": whitelist, "timeout": str(int(self._timeout_s * 1e6))}
        match self._address.scheme:
            case "rtsp":
                options["rtsp_transport"] = self._options.transport
            case "rtsps":
                options["rtsp_transport"] = "tcp"
            case "rtmp" | "rtmps":
                options["rtmp_live"] = "live"
                del options["timeout"]  # there it means to wait for a caller
            case "udp" | "rtp":
                options |= {"overrun_nonfatal": "1", "fifo_size": str((8 << 20) // 188)}
        if self._address.scheme in ("rtsps", "rtmps") and self._options.verify:
            network_certificate.check(
                self._address.plain, self._shown, self._options.ca_file, self._timeout_s
            )
            options |= {"tls_verify": "1", "ca_file": self._options.ca_file or _SYSTEM_CA_FILE}
        limits = (self._timeout_s + OPEN_EXTRA_S, self._timeout_s)
        container = pyav.load().open(self._address.secret, format=form, options=options, timeout=limits)
        return Opened(container, False, lambda: None)

    def _open_http(self) -> Opened:
        address, options, timeout_s = self._address, self._options, self._timeout_s
        self._http = http = Http(address, options.verify, options.ca_file, timeout_s)
        http.used(timeout_s + OPEN_EXTRA_S)
        first = http.open(address.plain)
        form = None
        if first.kind == "multipart/x-mixed-replace":
            form = "mpjpeg"
        elif first.kind in _PLAYLISTS or address.plain.partition("?")[0].endswith(".m3u8"):
            form = "hls"
        elif first.kind in _PAGES:
            first.close()
            raise TransientError(
                f"{self._shown}: answers with a web page in place of video; a proxy, a login, a wrong path?"
            )
        ffmpeg = _limits()
        if form == "hls":
            ffmpeg |= {
                "http_persistent": "0",
                "http_multiple": "0",
                "live_start_index": "-2",
                "max_reload": "30",
            }
        waiting = [first]

        def io_open(url: str, flags: int, given: Any) -> Any:
            return waiting.pop() if waiting else http.open(url, flags, given)

        container = pyav.load().open(address.plain, format=form, options=ffmpeg, io_open=io_open)
        return Opened(container, form != "mpjpeg", lambda: http.used(self._silence_s(form)))

    def _silence_s(self, form: str | None) -> float:
        # A segment of HLS is some seconds long.
        return KEY_WAIT_S if form == "hls" else self._timeout_s

    def failure(self, error: Exception) -> GnetsegError:
        """Why it could not be opened, or ended: ``error`` is FFmpeg's, or came through it."""
        if self._http is not None and self._http.error is not None:
            return self._http.error
        av = pyav.load()
        known = av.error
        for kind, status in (
            (known.HTTPUnauthorizedError, 401),
            (known.HTTPForbiddenError, 403),
            (known.HTTPNotFoundError, 404),
        ):
            if isinstance(error, kind):
                return refused(self._shown, status)
        if isinstance(error, known.ProtocolNotFoundError):
            return PermanentError(
                f"{self._shown}: the FFmpeg that is installed here does not speak {self._address.scheme}; "
                "Debian's does (apt install python3-av)"
            )
        if isinstance(error, known.ExitError):
            return TransientError(f"{self._shown}: no answer in time; is it on, is it reached?")
        return told(self._shown, error)


def _limits() -> dict[str, str]:
    return {"probesize": str(_PROBE_BYTES), "analyzeduration": str(_PROBE_US), "max_streams": "16"}

"""Network cameras: RTSP, HTTP (motion JPEG, HLS), RTMP, MPEG-TS and RTP over UDP, SRT; by PyAV."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ..config import option
from ..errors import CameraStalled, NotYet, PermanentError, TransientError
from ..text import clean
from . import OPEN_EXTRA_S, CameraInfo, CaptureRequest, pyav
from .full_picture import FullPicture, whole_sensor
from .geometry import Fit, View
from .losses import DAMAGED, Losses
from .network_address import Address, read_address
from .network_decoder import Decoder, Found
from .network_opening import KEY_WAIT_S, Opening
from .network_stream import About, Stream, told
from .scale import Scaler

if TYPE_CHECKING:
    from ..frame import Frame

log = logging.getLogger(__name__)


@attrs.frozen
class NetworkOptions:
    """``[camera.network]``"""

    url: str = option("", "the camera's address: rtsp, rtsps, http, https, rtmp, rtmps, udp, rtp or srt")
    user: str = option("", "who logs in; empty is nobody, or who stands in the address")
    password_file: str = option("", "a file that holds the password on one line")
    password_credential: str = option("", "the systemd credential that is the password (LoadCredential=)")
    transport: str = option(
        "tcp", "of rtsp: tcp loses nothing, udp waits for nothing", choices=("tcp", "udp")
    )
    max_fps: float = option(
        0.0, "at most so many pictures a second are given; 0 is all", unit="frames/s", minimum=0, maximum=1000
    )
    decode: str = option(
        "all", "key-frames: only those, which costs least, often one a second", choices=("all", "key-frames")
    )
    decoder: str = option(
        "auto", "auto tries the Pi's hardware decoder of H.264 first", choices=("auto", "software")
    )
    decoder_threads: int = option(
        1, "threads of the decoder; more take cores from the network", unit="threads", minimum=1, maximum=16
    )
    verify: bool = option(True, "of https, rtsps and rtmps: refuse a certificate that is not good")
    ca_file: str = option("", "certificates of those who may sign; empty is the system's")


class NetworkCamera:
    """A stream. ``sequence`` counts its pictures, with those that are lost, since it was opened.

    ``sensor_timestamp_ns`` is when the camera says that it took the picture (RTCP), where that can be true,
    else when it arrived. ``lost`` counts what was damaged, made from such, or passed over by a slow decoder.
    """

    Options: ClassVar[type[Any]] = NetworkOptions
    #: A key frame may be so far away. Nothing blocks meanwhile: FFmpeg runs in a thread of its own.
    request_limit_s: ClassVar[float] = KEY_WAIT_S
    #: The connection that was closed last: it may still wait for its limit, and there is never more than one.
    _closing: ClassVar[dict[str, Stream]] = {}

    def __init__(self, options: NetworkOptions | None = None) -> None:
        """``PermanentError`` where PyAV is not installed."""
        self._options = options if options is not None else NetworkOptions()
        self._av = pyav.load()
        self._request: CaptureRequest | None = None
        self._stream: Stream | None = None
        self._about: About | None = None
        self._views: pyav.Views | None = None
        self._decoder: Decoder | None = None
        self._scaler: Scaler | None = None
        self._waiting: Found | None = None  # read by ``open``, not yet delivered
        self._shown = ""
        self._losses = Losses(log)
        self.lost = self._losses.counts
        self.info: CameraInfo | None = None
        self._fit: Fit | None = None  # what ``info`` tells
        self.wants_picture = False
        self._last: Any = None  # the picture of the last frame, where it is wanted

    def open(self, request: CaptureRequest) -> CameraInfo:
        """``ConfigError``: an address or password that can be none. ``AccessRefused``: they are wrong.
        ``PermanentError``: 69 what FFmpeg cannot read here. ``TransientError``, ``CameraStalled``: all else.
        """
        self.close()
        options = self._options
        address = read_address(options.url, options.user, options.password_file, options.password_credential)
        self._shown = shown = clean(address.shown)
        last = self._closing.get(address.secret)
        if last is not None and not last.ended(request.timeout_s):
            raise TransientError(f"{shown}: the connection before is still being closed; it has a limit")
        opening = Opening(address, options, request.timeout_s)
        self._stream = stream = Stream(shown, opening, opening.failure)
        self._closing[address.secret] = stream
        stream.start()
        try:
            about = stream.wait_about(request.timeout_s + OPEN_EXTRA_S)
            self._refuse_what_is_not_seen(address, about)
            self._request, self._about = request, about
            self._views = pyav.Views(about.stream, is_live=True)
            self._scaler = Scaler(request.spec, request.geometry)
            self._decoder = Decoder(shown, stream, about, options, self._losses, request.timeout_s)
            self._waiting = first = self._first()
            self._fit = self._scaler.fit(first.image, self._view(first.image))
        except self._av.FFmpegError as error:
            self.close()
            raise told(shown, error) from None
        except BaseException:
            self.close()
            raise
        self.info = CameraInfo(self._rate(about), self._fit.geometry, self._described(first.image))
        return self.info

    def capture(self, frame: Frame) -> None:
        request, decoder, scaler = self._request, self._decoder, self._scaler
        if request is None or decoder is None or scaler is None:
            raise TransientError("network: the camera is not open")
        deadline_s = time.monotonic() + request.timeout_s
        while True:
            waiting, self._waiting = self._waiting, None
            found = waiting or decoder.next(deadline_s)
            try:
                scaler.scale(found.image, frame.pixels, self._view(found.image))
                break
            except self._av.FFmpegError as error:
                words = f"{self._shown}: a picture cannot be converted ({clean(str(error))})"
                self._losses.add(DAMAGED, words)
        self._tell_geometry(scaler.fit(found.image, self._view(found.image)), found.image)
        self._last = found.image if self.wants_picture else None
        frame.sequence, frame.sensor_timestamp_ns = found.sequence, found.stamp_ns

    def picture(self) -> FullPicture | None:
        """The camera's own picture of the last frame, if ``wants_picture`` was set."""
        last, self._last = self._last, None
        if last is None or self.info is None:
            return None
        return FullPicture(last, whole_sensor(self.info.geometry), self._view(last))

    def close(self) -> None:
        """Never raises, and waits for nothing: the connection ends by its own limit."""
        stream, self._stream = self._stream, None
        self._request = self._decoder = self._scaler = self._waiting = self._last = None
        if stream is not None:
            stream.stop()

    def _first(self) -> Found:
        assert self._decoder is not None
        limit_s = time.monotonic() + KEY_WAIT_S
        while True:
            try:
                return self._decoder.next(limit_s)
            except NotYet as error:
                if time.monotonic() >= limit_s:
                    raise CameraStalled(str(error)) from None

    def _refuse_what_is_not_seen(self, address: Address, about: About) -> None:
        by_udp = address.scheme == "rtp" or (address.scheme == "rtsp" and self._options.transport == "udp")
        if by_udp and about.codec == "hevc":
            raise PermanentError(
                f"{self._shown}: sends H.265 over UDP, where nobody notices that packets are lost; set "
                'camera.network.transport = "tcp", or H.264 at the camera'
            )

    def _view(self, image: Any) -> View:
        assert self._request is not None
        assert self._views is not None
        own = self._views.of(image)
        return View(own.turn.then(self._request.turn), own.pixel_aspect)

    def _tell_geometry(self, fitted: Fit, image: Any) -> None:
        assert self.info is not None
        if fitted is self._fit:
            return
        self._fit = fitted
        if fitted.geometry != self.info.geometry:
            self.info = self.info._replace(geometry=fitted.geometry, description=self._described(image))

    def _rate(self, about: About) -> float:
        if self._options.decode == "key-frames":
            return 0.0
        return min(about.fps, self._options.max_fps) if self._options.max_fps else about.fps

    def _described(self, image: Any) -> str:
        assert self._about is not None
        assert self._decoder is not None
        how = self._decoder.hardware_name or "software"
        return f"{self._shown} {self._about.codec} {image.width}x{image.height}, decoded by {how}"

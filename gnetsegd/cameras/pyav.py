"""The one place where PyAV (FFmpeg) is imported: only by cameras that need it, and only when opened."""

from __future__ import annotations

import gc
from importlib import import_module
from itertools import pairwise
from typing import Any, NamedTuple

from ..errors import PermanentError
from ..text import clean
from .geometry import View
from .turn import UPRIGHT, Turn, from_display_matrix, nearest_quarter


def load(for_what: str = "this camera") -> Any:
    """The module ``av``; ``PermanentError`` that says how to install it."""
    try:
        av: Any = import_module("av")
    except Exception as error:  # with a numpy or FFmpeg that it was not made for: not ImportError alone
        raise PermanentError(
            f"PyAV is needed for {for_what} and cannot be imported "
            f"({clean(str(error)) or type(error).__name__}): "
            "apt install python3-av, or pip install av"
        ) from None
    # Old versions pass FFmpeg's chatter to logging from foreign threads; errors are raised anyway.
    if av.logging.get_level() is not None:
        av.logging.set_level(av.logging.PANIC)
    return av


#: A picture of more pixels is refused before it is decoded.
MAX_PIXELS = 64 << 20
#: A picture that is damaged is an error.
STRICT = {"err_detect": "crccheck+explode", "max_pixels": str(MAX_PIXELS)}
#: The same where the decoder is only asked to mark it (``is_corrupt``).
MARKED = {"max_pixels": str(MAX_PIXELS)}
#: Decoders that take for damage, if they are strict, what is only unknown to them; these mark well.
CAN_MARK = ("h263", "h264", "mpeg1video", "mpeg2video", "mpeg4")
#: And one that fails where a picture is not whole anyway.
_FAILS_ANYWAY = ("tiff",)


def options_of(codec: str) -> dict[str, str]:
    """For a decoder of this name: what is damaged is to be an error."""
    return MARKED if codec in _FAILS_ANYWAY else STRICT


#: A higher rate is none: it is the clock of a container, or of a picture beside music.
MAX_FPS = 1000.0
#: Pixels further from square than so are a mistake.
_MAX_PIXEL_ASPECT = 16.0
#: The times of so many pictures are looked at for a rate.
_TIMES_MAX = 48
#: A view is looked up again at the first key frame after so many pictures.
_VIEW_AGE_MAX = 8
_ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC
_PICTURE_CODECS = ("bmp", "gif", "mjpeg", "png", "webp")


def video_stream(container: Any) -> Any:
    """The first stream of moving pictures, None where there is none: a cover picture is none."""
    return next((stream for stream in container.streams.video if not _is_attached(stream)), None)


def _is_attached(stream: Any) -> bool:
    disposition = getattr(stream, "disposition", None)
    if disposition is not None:
        return bool(int(getattr(disposition, "value", disposition)) & _ATTACHED_PICTURE)
    # Old PyAV does not tell: a picture without a rate, on a clock that no film has.
    has_rate = bool(stream.average_rate)
    codec = stream.codec_context  # None where FFmpeg has no decoder
    name = codec.name if codec is not None else ""
    return not has_rate and name in _PICTURE_CODECS and frame_rate(stream) == 0


def frame_rate(stream: Any) -> float:
    """Frames per second by the file; 0 where it tells none that can be."""
    for rate in (stream.average_rate, stream.base_rate):
        if rate and 0 < rate <= MAX_FPS:
            return float(rate)
    return 0.0


def too_large(context: Any) -> str:
    """In words, that the pictures of this stream are larger than is read; empty where they are not."""
    width, height = int(context.width or 0), int(context.height or 0)
    if width * height <= MAX_PIXELS:
        return ""
    return f"its pictures of {width}x{height} have more than {MAX_PIXELS >> 20} million pixels"


class Seen(NamedTuple):
    """What ``view_of`` reads of a stream, once that itself is out of reach."""

    sample_aspect_ratio: Any
    side_data: Any


def view_of(image: Any, stream: Any) -> View:
    """How this ``av.VideoFrame`` is meant to be seen, by its own data and its stream's."""
    aspect = stream.sample_aspect_ratio
    if not aspect and not isinstance(stream, Seen):
        aspect = stream.codec_context.sample_aspect_ratio
    square = not aspect or not 1 / _MAX_PIXEL_ASPECT <= aspect <= _MAX_PIXEL_ASPECT
    return View(_turn_of(image, stream), 1.0 if square else float(aspect))


class Views:
    """How the pictures of one stream are meant to be seen, in order; looked up where it may change.

    In PyAV a picture whose side data was read refers to itself, so that its memory is freed by the garbage
    collector alone, and late: dozens of megabytes would wait. So it is read of few, and cleared away at once.
    """

    def __init__(self, stream: Any, is_live: bool = False) -> None:
        """``is_live``: it comes from a camera, which does not turn itself: the first picture tells."""
        self._stream, self._is_live = stream, is_live
        self._view: View | None = None
        self._size = (0, 0)
        self._since = 0  # pictures

    def of(self, image: Any) -> View:
        """Of this ``av.VideoFrame``; as often as is wanted, until the next one."""
        size, self._since = (image.width, image.height), self._since + 1
        # It changes with a key frame; where each picture is one, a few may pass.
        may_differ = image.key_frame and self._since > _VIEW_AGE_MAX and not self._is_live
        if self._view is None or size != self._size or may_differ:
            gc.collect(1)  # of two generations, for the last one may have outlived the first
            self._view, self._size, self._since = view_of(image, self._stream), size, 0
        return self._view


def _turn_of(image: Any, stream: Any) -> Turn:
    try:
        for data in image.side_data:
            if getattr(data.type, "name", "") == "DISPLAYMATRIX":
                return from_display_matrix(bytes(data))
    except ValueError:  # a kind of data that is newer than this PyAV hides all others
        return Turn(nearest_quarter(-float(getattr(image, "rotation", 0))))
    # With the PyAV of Debian bookworm the stream alone has it, in degrees against the clock.
    degrees = (getattr(stream, "side_data", None) or {}).get("DISPLAYMATRIX")
    return Turn(nearest_quarter(-float(degrees))) if degrees is not None else UPRIGHT


def seen_rate(container: Any, stream: Any) -> float:
    """Pictures per second by the times of the first ones, not decoded; 0 where these tell none."""
    times = []
    try:
        for packet in container.demux(stream):
            if packet.pts is not None and packet.size:
                times.append(float(packet.pts * packet.time_base))
            if len(times) == _TIMES_MAX:
                break
    except (load().FFmpegError, ValueError):
        pass  # where it is damaged, what was read is enough
    times.sort()
    steps = sorted(later - earlier for earlier, later in pairwise(times) if later > earlier)
    rate = 1 / steps[len(steps) // 2] if steps else 0.0
    return rate if rate <= MAX_FPS else 0.0

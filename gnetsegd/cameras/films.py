"""The whole pictures of a film that may be damaged, by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import pyav
from .whole import Whole, words_of

#: So many places in a row that cannot be read end a film.
_ERRORS_MAX = 64


class Film:
    """One pass over one video stream; ``images`` is iterated once."""

    def __init__(self, container: Any, stream: Any, threads: int, options: dict[str, str]) -> None:
        self._av = pyav.load()
        self._container = container
        self._stream = stream
        stream.codec_context.options = options
        stream.codec_context.thread_count = threads
        self._whole = Whole(stream.codec_context, in_transport=container.format.name == "mpegts")
        self._words = ""
        #: In words, why the end of the film is not its end; empty where it is. Known after the last image.
        self.end_is_missing = ""

    def images(self) -> Iterator[Any]:
        """Each whole ``av.VideoFrame`` in the order of showing; (kind, words, pictures) for what is lost;
        None now and then, while there is none.
        """
        whole, last = self._whole, False
        for packet in self._packets():
            if packet is None:
                yield whole.unreadable(self._words)
                continue
            last = not packet.size
            yield from whole.feed(packet, packet.is_keyframe)
        if not last:
            yield from whole.rest()
        yield from whole.swallowed()
        if whole.waits_for_key:
            self.end_is_missing = whole.words
        elif not whole.images:
            self.end_is_missing = "no picture in it can be decoded"

    def _packets(self) -> Iterator[Any]:
        """Each packet, the empty one at the end too; None for a place that cannot be read."""
        errors = 0
        packets = self._container.demux(self._stream)
        while errors < _ERRORS_MAX:
            try:
                packet = next(packets, None)
            except (self._av.FFmpegError, ValueError) as error:
                errors += 1
                self._words = words_of(error)
                packets = self._container.demux(self._stream)  # goes on where it is
                yield None
                continue
            if packet is None:
                return
            if packet.size:
                errors = 0
            yield packet

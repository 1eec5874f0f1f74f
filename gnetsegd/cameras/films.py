"""The whole pictures of a film that may be damaged, by PyAV.

Most pictures of a film are made from others. So where one is damaged, those up to the next key frame are
lost as well, however good they look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from ..text import clean
from . import losses, pyav
from .holes import has_hole, unit_length_bytes

#: So many places in a row that cannot be read end a film.
_ERRORS_MAX = 64
#: A decoder holds back fewer pictures than these.
_HELD_MAX = 64

Loss = tuple[str, str, int]


class Film:
    """One pass over one video stream; ``images`` is iterated once."""

    def __init__(self, container: Any, stream: Any, threads: int, options: dict[str, str]) -> None:
        self._av = pyav.load()
        self._container = container
        self._stream = stream
        self._delayed = threads > 1  # such a decoder tells of damage late
        self._codec = stream.codec_context.name
        self._unit_length_bytes = unit_length_bytes(self._codec, stream.codec_context.extradata)
        self._in_transport = container.format.name == "mpegts"
        #: The packet before was called corrupt, and its time.
        self._told_before, self._dts_before = False, 0
        stream.codec_context.options = options
        stream.codec_context.thread_count = threads
        #: After an image that is damaged, until the next key frame comes out.
        self._suspect = False
        #: Packets are passed over until the next key frame.
        self._waits_for_key = False
        #: The time of the key frame that ended the last damage: what is shown before it needs what is lost.
        self._key_pts: int | None = None
        self._leads = False  # no later picture than that one has been seen
        #: The times of pictures that failed: a decoder may give them all the same.
        self._failed: deque[int | None] = deque(maxlen=_HELD_MAX)
        self._words = ""
        self._images = 0
        #: Packets so far, those before the key frame that ended the last damage, pictures that were counted.
        self._packets_read = 0
        self._before_key = 0
        self._lost = 0
        #: In words, why the end of the film is not its end; empty where it is. Known after the last image.
        self.end_is_missing = ""

    def images(self) -> Iterator[Any]:
        """Each whole ``av.VideoFrame`` in the order of showing; (kind, words, pictures) for what is lost;
        None now and then, while there is none.
        """
        last = False
        for packet in self._packets():
            if packet is None:
                self._packets_read += 1
                yield self._lose(losses.UNREADABLE, self._words)
                continue
            last = not packet.size
            loss = None if last else self._passed_over(packet)
            self._packets_read += not last
            if loss is not None:
                yield loss
                continue
            try:
                images = packet.decode()
            except self._av.FFmpegError as error:
                self._failed.append(packet.pts)
                self._suspect = self._suspect or self._delayed
                yield self._lose(losses.DAMAGED, _words(error))
                continue
            yield from self._whole(images)
            if not images:
                yield None
        if not last:
            yield from self._whole(self._held())
        if self._words:
            yield from self._swallowed(self._packets_read)
        if self._waits_for_key:
            self.end_is_missing = self._words
        elif not self._images:
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
                self._words = _words(error)
                packets = self._container.demux(self._stream)  # goes on where it is
                yield None
                continue
            if packet is None:
                return
            if packet.size:
                errors = 0
            yield packet

    def _held(self) -> list[Any]:
        """What the decoder still holds when the end cannot be read."""
        try:
            return list(self._stream.codec_context.decode(None))
        except self._av.FFmpegError:
            return []

    def _passed_over(self, packet: Any) -> Loss | None:
        """What is lost with this packet, if it cannot give a whole picture."""
        is_cut = self._is_cut(packet)
        if self._waits_for_key:
            if not packet.is_keyframe:
                return self._dependent()
            self._waits_for_key, self._key_pts = False, packet.pts
            self._leads, self._before_key = True, self._packets_read
        elif self._leads and packet.pts is not None and self._key_pts is not None:
            if packet.pts < self._key_pts:
                return self._dependent()
            self._leads = False
        if is_cut:
            return self._lose(losses.CUT, "it is cut off")
        if has_hole(self._codec, bytes(packet), self._unit_length_bytes):
            return self._lose(losses.DAMAGED, "there are zeros in a picture")
        return None

    def _is_cut(self, packet: Any) -> bool:
        """Does the container say that bytes of this packet are missing?

        MPEG-TS says so, too, where only its counting has a jump, as where recordings were joined: a decoder
        that finds out itself knows better. For the others it may mean the next packet, which its parser was
        given by then; but not where time begins anew.
        """
        if not self._in_transport:
            return bool(packet.is_corrupt)
        if self._codec in pyav.CAN_MARK:
            return False
        told_before, self._told_before = self._told_before, bool(packet.is_corrupt)
        dts_before, self._dts_before = self._dts_before, packet.dts or 0
        return self._told_before or (told_before and self._dts_before > dts_before)

    def _whole(self, images: list[Any]) -> Iterator[Any]:
        for image in images:
            if image.pts is not None and image.pts in self._failed:
                self._failed.remove(image.pts)  # what is left of it; it was counted
                continue
            if image.key_frame:
                self._suspect = False
            if image.is_corrupt:
                self._suspect = True
                yield self._lose(losses.DAMAGED, "a picture is damaged")
            elif self._suspect:
                yield self._dependent()
            else:
                if image.pts is not None and image.pts == self._key_pts:
                    self._key_pts, self._leads = None, False
                    yield from self._swallowed(self._before_key)
                self._images += 1
                yield image

    def _swallowed(self, packets: int) -> Iterator[Loss]:
        """Of so many packets: the pictures that a decoder kept for itself when it met damage."""
        missing = packets - self._images - self._lost
        if missing > 0:
            yield self._dependent(missing)

    def _dependent(self, pictures: int = 1) -> Loss:
        self._lost += pictures
        return losses.DEPENDENT, "made from pictures that are lost", pictures

    def _lose(self, kind: str, words: str) -> Loss:
        self._words = words
        self._waits_for_key = True
        self._lost += 1
        return kind, f"pictures are lost ({words})", 1


def _words(error: Exception) -> str:
    return clean(str(getattr(error, "strerror", None) or error)) or type(error).__name__

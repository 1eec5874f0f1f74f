"""A decoder of moving pictures of which only whole ones come out.

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

#: A decoder holds back fewer pictures than these.
_HELD_MAX = 64

Loss = tuple[str, str, int]


class Whole:
    """Give it the packets of one stream, in order.

    ``decoder`` is an ``av.CodecContext`` with the options ``pyav.STRICT`` or ``pyav.MARKED``. What comes out:
    each whole ``av.VideoFrame`` in the order of showing; (kind, words, pictures) for what is lost; None now
    and then, while there is none. ``is_live``: the stream has begun before its first packet.
    """

    def __init__(self, decoder: Any, *, in_transport: bool = False, is_live: bool = False) -> None:
        self._av = pyav.load()
        self._decoder = decoder
        self._codec = decoder.name
        self._unit_length_bytes = unit_length_bytes(self._codec, decoder.extradata)
        self._delayed = decoder.thread_count > 1  # such a decoder tells of damage late
        self._in_transport = in_transport
        #: The packet before was called corrupt, and its time.
        self._told_before, self._dts_before = False, 0
        #: After an image that is damaged, until the next key frame comes out.
        self._suspect = False
        #: Packets are passed over until the next key frame; nothing has been lost before the first one.
        self.waits_for_key = is_live
        self._begins = is_live
        #: The time of the key frame that ended the last damage: what is shown before it needs what is lost.
        self._key_pts: int | None = None
        self._leads = False  # no later picture than that one has been seen
        #: The times of pictures that failed: a decoder may give them all the same.
        self._failed: deque[int | None] = deque(maxlen=_HELD_MAX)
        #: What was wrong last.
        self.words = ""
        self.images = 0
        #: Packets so far, those before the key frame that ended the last damage, pictures that were counted.
        self._packets_read = 0
        self._before_key = 0
        self._lost = 0

    def feed(self, packet: Any, is_key: bool) -> Iterator[Any]:
        """What comes out when this packet goes in; an empty one stands for the end."""
        last = not packet.size
        is_cut = not last and self._is_cut(packet)
        if not last and self._begins:
            if not is_key:
                yield None
                return
            self._begins = False
        loss = None if last else self._passed_over(packet, is_key, is_cut)
        self._packets_read += not last
        if loss is not None:
            yield loss
            return
        try:
            images = self._decoder.decode(packet)
        except self._av.FFmpegError as error:
            self._failed.append(packet.pts)
            self._suspect = self._suspect or self._delayed
            yield self._lose(losses.DAMAGED, words_of(error))
            return
        yield from self._whole(images)
        if not images:
            yield None

    def unreadable(self, words: str) -> Loss:
        """A place that cannot be read, in place of a packet."""
        self._packets_read += 1
        self.words = words
        return self._lose(losses.UNREADABLE, words)

    def missed(self) -> None:
        """Packets were lost on their way and are counted elsewhere."""
        self.waits_for_key = True

    def rest(self) -> Iterator[Any]:
        """What the decoder still holds, where the end cannot be read."""
        try:
            images = self._decoder.decode(None)
        except self._av.FFmpegError:
            images = []
        yield from self._whole(images)

    def swallowed(self) -> Iterator[Loss]:
        """At the end: the pictures that a decoder kept for itself when it met damage."""
        if self.words:
            yield from self._missing(self._packets_read)

    def _passed_over(self, packet: Any, is_key: bool, is_cut: bool) -> Loss | None:
        """What is lost with this packet, if it cannot give a whole picture."""
        if self.waits_for_key:
            if not is_key:
                return self._dependent()
            self.waits_for_key, self._key_pts = False, packet.pts
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
                    yield from self._missing(self._before_key)
                self.images += 1
                yield image

    def _missing(self, packets: int) -> Iterator[Loss]:
        """Of so many packets: the pictures that never came out and were not counted."""
        missing = packets - self.images - self._lost
        if missing > 0:
            yield self._dependent(missing)

    def _dependent(self, pictures: int = 1) -> Loss:
        self._lost += pictures
        return losses.DEPENDENT, "made from pictures that are lost", pictures

    def _lose(self, kind: str, words: str) -> Loss:
        self.words = words
        self.waits_for_key = True
        self._lost += 1
        return kind, f"pictures are lost ({words})", 1


def words_of(error: Exception) -> str:
    """What FFmpeg says, on one line."""
    return clean(str(getattr(error, "strerror", None) or error)) or type(error).__name__

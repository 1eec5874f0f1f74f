"""Bulk OUT as a stream: finds the messages in it and puts their payloads where the engine wants them."""

from __future__ import annotations

from typing import Protocol
from zlib import crc32

from gnetsegd.link.constants import CRC_SIZE, FLAG_CRC, PACKET
from gnetsegd.link.errors import LinkError
from gnetsegd.link.header import HEADER_SIZE, Header, read_header, trailer_size


class Lost(Exception):
    """The place in the stream is lost: whatever follows cannot be understood."""


class Receiver(Protocol):
    """What the parser tells of each message."""

    def begin(self, header: Header) -> memoryview | None:
        """A header has come. Where the payload shall go (None: throw it away); may raise ``Lost``."""

    def complete(self, intact: bool, tag: float) -> None:
        """All of the message has come; ``intact`` is False if its payload's CRC is wrong."""


class Parser:
    """One stream. ``receiver`` hears of headers and of whole messages."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._head = bytearray(HEADER_SIZE)
        self._crc = bytearray(CRC_SIZE)
        self._epoch = 0
        self.restart(0)

    def restart(self, epoch: int) -> None:
        """Forget a half-received message, and wait for a header of ``epoch`` that begins a packet."""
        self._epoch = epoch
        self._hunting = True
        self._target: memoryview | None = None
        self._head_size = 0
        self._left = 0

    def feed(self, data: memoryview, tag: float) -> None:
        """More bytes; the first one of each call is the first one of a packet.

        Raises ``Lost`` for a header that cannot be trusted; call ``restart`` before the next feed.
        """
        position, end = 0, len(data)
        while position < end:
            if self._hunting:
                position = self._hunt(data)
            elif self._left:
                position = self._take_body(data, position, tag)
            else:
                position = self._take_header(data, position, tag)

    def _hunt(self, data: memoryview) -> int:
        """The position of the first header of the epoch at the beginning of a packet, or the end.

        What may be the first of two pieces of it is kept in ``_head``, and the position is then in its rest.
        """
        kept, self._head_size = self._head_size, 0
        rest = HEADER_SIZE - kept
        if kept and len(data) >= rest:
            self._head[kept:] = data[:rest]
            if self._is_due(memoryview(self._head), 0):
                self._hunting, self._head_size = False, kept
                return 0
        for start in range(0, len(data), PACKET):
            piece = data[start : start + HEADER_SIZE]
            if len(piece) < HEADER_SIZE:
                self._head_size = len(piece)
                self._head[: len(piece)] = piece
            elif self._is_due(data, start):
                self._hunting = False
                return start
        return len(data)

    def _is_due(self, data: memoryview, start: int) -> bool:
        """Is there a good header of the epoch?"""
        try:
            return Header(*read_header(data, start)).epoch == self._epoch
        except LinkError:
            return False

    def _take_header(self, data: memoryview, position: int, tag: float) -> int:
        try:
            if not self._head_size and len(data) - position >= HEADER_SIZE:
                fields = read_header(data, position)
                position += HEADER_SIZE
            else:  # in pieces: rare, so it may cost a copy
                taken = min(HEADER_SIZE - self._head_size, len(data) - position)
                self._head[self._head_size : self._head_size + taken] = data[position : position + taken]
                self._head_size += taken
                position += taken
                if self._head_size < HEADER_SIZE:
                    return position
                self._head_size = 0
                fields = read_header(memoryview(self._head))
        except LinkError as error:
            raise Lost(str(error)) from None
        header = Header(*fields)
        self._target = self._receiver.begin(header)
        self._flags, self._length = header.flags, header.length
        # What a longer header of a later minor version has behind our fields is skipped.
        self._payload_at = header.header_length - HEADER_SIZE
        self._taken = 0
        self._left = self._payload_at + header.length
        self._left += trailer_size(header.length, header.flags, header.header_length)
        if not self._left:
            self._receiver.complete(True, tag)
        return position

    def _take_body(self, data: memoryview, position: int, tag: float) -> int:
        """Header extension, payload, CRC and pad, as far as they have come."""
        taken = min(self._left, len(data) - position)
        piece = data[position : position + taken]
        if self._target is not None:
            at = self._taken - self._payload_at
            _copy_overlap(piece, at, self._target, self._length)
            if self._flags & FLAG_CRC:
                _copy_overlap(piece, at - self._length, memoryview(self._crc), CRC_SIZE)
        self._taken += taken
        self._left -= taken
        if not self._left:
            self._receiver.complete(self._is_intact(), tag)
        return position + taken

    def _is_intact(self) -> bool:
        if self._target is None or not self._flags & FLAG_CRC:
            return True
        return crc32(self._target[: self._length]) == int.from_bytes(self._crc, "little")


def _copy_overlap(piece: memoryview, at: int, target: memoryview, size: int) -> None:
    """Copy the part of ``piece`` that lies in ``target[:size]``, if its first byte belongs to ``at``."""
    first, last = max(at, 0), min(at + len(piece), size)
    if first < last:
        target[first:last] = piece[first - at : last - at]

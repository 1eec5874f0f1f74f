"""Which pictures of an H.264 stream are missing, by the numbers that it gives them.

Over UDP whole pictures get lost. FFmpeg then copies the one before in silence, and what is made from it looks
whole. But each picture that others are made from has a number, one more than that before it.
"""

from __future__ import annotations

import re

#: Start codes, and what follows them up to the next one.
_UNIT = re.compile(rb"\x00\x00\x01")
#: Units of a packet that are looked at.
_UNITS_MAX = 256
#: Of a unit so many bytes are read: a header has a few dozen.
_HEADER_MAX_BYTES = 64
_SLICE, _SLICE_OF_KEY, _PARAMETERS = 1, 5, 7
#: Profiles whose parameters have more fields.
_HIGH = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


class Order:
    """Give it each packet of a stream (with start codes) in the order of decoding."""

    def __init__(self, extradata: bytes | None = None) -> None:
        self._number_bits = 0
        self._separate_planes = False
        self._last: int | None = None
        if extradata:
            self.has_gap(extradata)

    def has_gap(self, packet: bytes) -> bool:
        """Are pictures missing between the packet before and this one? False where it cannot be told."""
        try:
            return self._look(packet)
        except (IndexError, ValueError):  # cut off, or none of this standard: the decoder finds out
            return False

    def _look(self, packet: bytes) -> bool:
        starts = [found.end() for _, found in zip(range(_UNITS_MAX), _UNIT.finditer(packet), strict=False)]
        for start in starts:
            unit = packet[start : start + _HEADER_MAX_BYTES]
            kind, is_reference = unit[0] & 31, bool(unit[0] & 0x60)
            if kind == _PARAMETERS:
                self._read_parameters(_Bits(unit[1:]))
            elif kind == _SLICE_OF_KEY:
                self._last = 0
                return False
            elif kind == _SLICE:
                return self._is_after_gap(_Bits(unit[1:]), is_reference)
        return False

    def _read_parameters(self, bits: _Bits) -> None:
        self._number_bits = 0
        profile = bits.take(8)
        bits.take(16)
        bits.exp_golomb()
        self._separate_planes = False
        if profile in _HIGH:
            if bits.exp_golomb() == 3:
                self._separate_planes = bool(bits.take(1))
            bits.exp_golomb()
            bits.exp_golomb()
            bits.take(1)
            if bits.take(1):
                raise ValueError("scaling lists are not read")
        number_bits = bits.exp_golomb() + 4
        order = bits.exp_golomb()
        if order == 0:
            bits.exp_golomb()
        elif order == 1:
            raise ValueError("another way of counting, which no camera uses")
        bits.exp_golomb()
        may_have_gaps = bits.take(1)
        self._number_bits = 0 if may_have_gaps or number_bits > 16 else number_bits

    def _is_after_gap(self, bits: _Bits, is_reference: bool) -> bool:
        if not self._number_bits:
            return False
        bits.exp_golomb()
        bits.exp_golomb()
        bits.exp_golomb()
        if self._separate_planes:
            bits.take(2)
        number = bits.take(self._number_bits)
        last, self._last = self._last, number if is_reference else self._last
        if last is None:
            return False
        following = (last + 1) % (1 << self._number_bits)
        # The second field of a picture has its first one's number.
        return number not in (last, following)


class _Bits:
    """The bits of a unit, without the bytes that only keep start codes out; ``IndexError`` at its end."""

    def __init__(self, unit: bytes) -> None:
        plain = unit.replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(plain, "big"), 8 * len(plain)

    def take(self, count: int) -> int:
        if count > self._left:
            raise IndexError("no more bits")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("no such number")
        return (1 << zeros) - 1 + self.take(zeros)

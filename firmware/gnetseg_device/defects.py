"""What a broken device does all the time: the faults whose place is ``DEFECT``.

One object for each port. It follows what the device has done since its power came and since the last
HELLO or ABORT, and says what becomes of an answer, of endpoint 0, and of what is offered. The engine
works as it always does; everything here happens between it and the cable. Called under the port's lock.
"""

from __future__ import annotations

import dataclasses
from zlib import crc32

from gnetsegd.link import constants as c
from gnetsegd.link.constants import Code, Type
from gnetsegd.link.errors import LinkError
from gnetsegd.link.header import (
    HEADER_SIZE,
    MODULUS,
    Header,
    check_payload,
    pack_message,
    read_header,
    trailer_size,
)

from .descriptors import Identity
from .engine import Engine, Limits
from .faults import Injector, rebuild, spoil, turned

LATER_MINOR = 7
LATER_CAPABILITIES_SIZE = 192
#: An answer that version 1.1 does not know, and what a later version may say in it.
UNKNOWN_ANSWER = 0xA0
_TELEMETRY = b"temperature 61 C"
#: Every so many-th frame is answered with an ERROR, so that its text is seen.
FOUL_EVERY = 10
#: For a log, a terminal, systemd's notify socket, and a decoder of UTF-8. ASCII, so that it fits everywhere.
FOUL_WORDS = "\nWATCHDOG_USEC=0\x1b[2J\x07\r\x00x\x7f"
_FOUL_ERROR = f"hot{FOUL_WORDS}\nSTATUS=running\nSTOPPING=1\n\x9b31m\u202e".encode() + b"\xff\xfe"


class Defects:
    """See the module. ``engine`` is asked, and never told."""

    def __init__(self, faults: Injector, engine: Engine) -> None:
        self._faults = faults
        self._engine = engine
        self._made_with = engine.limits
        self._epochs = (0, 0)  # the one before, the present one
        self._frames = 0
        self._frames_since_power = 0

    # -- what it follows

    def restart(self) -> None:
        """After HELLO, ABORT or a reset: the next frame is a proof."""
        self._frames = 0
        if self._engine.epoch != self._epochs[1]:
            self._epochs = (self._epochs[1], self._engine.epoch)

    def power_up(self) -> None:
        """It was plugged in."""
        self._frames_since_power = 0

    def count_frame(self) -> None:
        """The answer to a FRAME is about to leave."""
        self._frames += 1
        self._frames_since_power += 1

    def _worn_out(self, name: str) -> bool:
        limit = self._faults.defect(name)
        return limit is not None and self._frames_since_power >= limit

    # -- what it does

    def offered(self) -> Limits:
        """What the device offers now: less than it was made with, never more."""
        limits, faults = self._made_with, self._faults
        if not faults.armed:
            return limits
        if faults.stands("no-credit"):
            limits = dataclasses.replace(limits, slots=0)
        if faults.defect("zero-chunk") is not None:
            limits = dataclasses.replace(limits, max_chunk=0)
        if faults.defect("foul-text") is not None:
            limits = dataclasses.replace(limits, firmware=FOUL_WORDS)
        return limits

    def capabilities(self, data: bytes) -> bytes:
        """CAPABILITIES as they are told."""
        for name in ("zero-chunk", "foul-text"):
            self._faults.strikes(name)  # they are in ``offered``; here it is seen
        if not self._faults.strikes("later-minor"):
            return data
        spoiled = bytearray(data.ljust(LATER_CAPABILITIES_SIZE, b"\xa5"))
        spoiled[5] = LATER_MINOR
        spoiled[6:8] = LATER_CAPABILITIES_SIZE.to_bytes(2, "little")
        return bytes(spoiled)

    def identity(self, identity: Identity) -> Identity:
        """Who it says that it is."""
        if self._faults.defect("foul-text") is None:
            return identity
        return dataclasses.replace(identity, serial=identity.serial + FOUL_WORDS)

    @property
    def hangs(self) -> bool:
        """Whether the bulk endpoints neither take nor give anything."""
        if not self._faults.defective:
            return False
        return self._worn_out("mute-control") or self._worn_out("stall-control")

    def control(self) -> str:
        """What endpoint 0 does with this request: "mute", "stall", or "" for answering it."""
        for name, word in (("mute-control", "mute"), ("stall-control", "stall")):
            if self._worn_out(name) and self._faults.strikes(name):
                return word
        return ""

    def flaps(self) -> bool:
        """Whether it is gone instead of answering this frame."""
        return self._worn_out("flap-after") and self._faults.strikes("flap-after")

    def commit_s(self) -> float:
        """How much longer the answer to MODEL_COMMIT takes, in s."""
        limit = self._faults.defect("slow-flash")
        return limit if limit is not None and self._faults.strikes("slow-flash") else 0.0

    def answers(self, kind: int, messages: list[bytes]) -> list[bytes]:
        """What comes instead of ``messages``, which are the answer to a request of type ``kind``."""
        if kind == Type.FRAME:
            messages = [changed for message in messages for changed in self._frame_answers(message)]
        return [changed for message in messages for changed in self._later(self._foul(message))]

    def _frame_answers(self, message: bytes) -> list[bytes]:
        strikes, few = self._faults.strikes, self._faults.defect("few-then-hang")
        header = _header(message)
        if header is None:
            return [message]
        if self._frames > 1:
            if strikes("proof-only") or (
                few is not None and self._frames > 1 + few and strikes("few-then-hang")
            ):
                return []
            if header.type == Type.RESULT and strikes("error-all"):
                return spoil("error-reply", message, self._faults.random)
            if strikes("lost-all"):
                return [self._lost(header)]
            if strikes("stale-all"):
                return [self._of_the_epoch_before(header, message)]
        if header.type != Type.RESULT:
            return [message]
        if self._frames % FOUL_EVERY == 0 and self._faults.defect("foul-text") is not None:
            return spoil("error-reply", message, self._faults.random)
        late = []
        if self._frames == 2 and strikes("late-answer"):
            late = [self._of_the_epoch_before(header, message)]
        return [*late, self._bad_padding(self._bad_labels(message))]

    @staticmethod
    def _lost(header: Header) -> bytes:
        return pack_message(
            Type.ERROR, header.epoch, 0, b"the device lost its place",
            flags=header.flags & c.FLAG_CRC | c.FLAG_LOST, code=Code.BAD_HEADER,
        )  # fmt: skip

    def _of_the_epoch_before(self, header: Header, message: bytes) -> bytes:
        epoch = self._epochs[0] or (header.epoch - 1) % MODULUS
        return rebuild(header._replace(epoch=epoch), turned(message))

    def _bad_labels(self, message: bytes) -> bytes:
        """One pixel has the largest label that the bits hold, if that is no class."""
        header = Header(*read_header(memoryview(message)))
        model = self._engine.store.active
        largest = (1 << header.format) - 1
        if model is None or model.record.mask.classes > largest or not self._faults.strikes("bad-labels"):
            return message
        payload = bytearray(message[HEADER_SIZE : HEADER_SIZE + header.length])
        row = len(payload) // header.height
        place = self._faults.random.randrange(header.height) * row  # the first of a row is never padding
        payload[place] |= largest << 8 - header.format
        return rebuild(header, bytes(payload))

    def _bad_padding(self, message: bytes) -> bytes:
        header = Header(*read_header(memoryview(message)))
        row = header.length // header.height
        unused = row * 8 - header.width * header.format
        if not unused or not self._faults.strikes("bad-padding"):
            return message
        payload = bytearray(message[HEADER_SIZE : HEADER_SIZE + header.length])
        for last in range(row - 1, len(payload), row):
            payload[last] |= (1 << unused) - 1
        return rebuild(header, bytes(payload))

    def _foul(self, message: bytes) -> bytes:
        header = _header(message)
        if header is None or header.type != Type.ERROR or not self._faults.strikes("foul-text"):
            return message
        return rebuild(header, _FOUL_ERROR)

    def _later(self, message: bytes) -> list[bytes]:
        header = _header(message)
        if header is None or not self._faults.strikes("later-minor"):
            return [message]
        unknown = pack_message(UNKNOWN_ANSWER, header.epoch, 0, _TELEMETRY)
        return [lengthen(unknown), lengthen(message)]


def _header(message: bytes) -> Header | None:
    """That of a whole and good message; None for one that another fault has spoiled."""
    view = memoryview(message)
    try:
        header = Header(*read_header(view))
    except LinkError:
        return None
    whole = len(message) == HEADER_SIZE + header.length + trailer_size(header.length, header.flags)
    return header if whole and check_payload(view, HEADER_SIZE, header.length, header.flags) else None


def lengthen(message: bytes, size: int = c.MAX_HEADER_SIZE) -> bytes:
    """The message with a header of ``size`` bytes, as a later minor version may send it."""
    header = Header(*read_header(memoryview(message)))
    head = message[:3] + bytes([size]) + message[4:28]
    crc_size = c.CRC_SIZE if header.flags & c.FLAG_CRC else 0
    body = message[HEADER_SIZE : HEADER_SIZE + header.length + crc_size]
    pad = bytes(trailer_size(header.length, header.flags, size) - crc_size)
    return head + crc32(head).to_bytes(4, "little") + b"\xa5" * (size - HEADER_SIZE) + body + pad

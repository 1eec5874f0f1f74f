"""Writes the transcripts beside it, see README.md. Run it after a change, and read the difference:

    python tests/vectors/link/transcripts/generate.py

The expected answers are put together here from docs/protocol.md; no device is asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link import constants as c
from gnetsegd.link.constants import Code, Type
from gnetsegd.link.header import pack_message
from gnetsegd.link.model_upload import ModelRecord, pack_chunk, pack_progress
from gnetsegd.link.requests import Hello, pack_epoch

HERE = Path(__file__).parent
EPOCH = 0x7A10C0DE
NEXT = EPOCH + 1
WIDTH, HEIGHT = 8, 4
PICTURES = [bytes((7 * place + 31 * number) % 256 for place in range(WIDTH * HEIGHT)) for number in range(8)]


class Model:
    """A model of the test network, its record, and the masks that it gives."""

    def __init__(
        self, content: bytes, classes: int = 2, width: int = WIDTH, height: int = HEIGHT, pixel: str = "Y"
    ) -> None:
        self.content = content
        self.sha256 = hashlib.sha256(content).digest()
        self.classes, self.width, self.height = classes, width, height
        spec, mask = FrameSpec(width, height, pixel), MaskFormat(width, height, 8, classes)
        self.record = ModelRecord(self.sha256, len(content), spec, mask).pack()
        self.id = int.from_bytes(self.sha256[:4], "little")

    def labels(self, picture: bytes) -> bytes:
        key = crc32(self.content) & 0xFF
        return bytes((y + key) % 256 * self.classes // 256 for y in picture)

    def packed(self, picture: bytes, bits: int) -> bytes:
        """The mask of ``picture``, row by row, the leftmost pixel in the most significant bits."""
        labels, rows = self.labels(picture), bytearray()
        for start in range(0, len(labels), self.width):
            row = 0
            for label in labels[start : start + self.width]:
                row = row << bits | label
            unused = -self.width * bits % 8
            rows += (row << unused).to_bytes((self.width * bits + 7) // 8, "big")
        return bytes(rows)


A = Model(b"the network A")
B = Model(b"the network B, which is another one")
BAD = Model(b"bad: does not load")
FIVE = Model(b"five classes", classes=5)
WIDE = Model(b"a picture of 480 pixels", classes=200, width=24, height=20)
COLOUR = Model(b"a network of pictures in colour", pixel="RGB")


class Script:
    """The lines of one scenario."""

    def __init__(self, model: Model | None = A, **offered: Any) -> None:
        self.epoch, self.sequence, self.bits, self.flags = EPOCH, 1, 8, 0
        self.model = model
        setup: dict[str, Any] = {
            "slots": 2, "max_payload": 4096, "max_model": 4096, "max_chunk": 16,
            "mask_bits": [1, 2, 4, 8], "pixel_formats": [0, 1, 2, 3], "features": 3,
        }  # fmt: skip
        setup |= offered
        setup["model"] = (
            None if model is None else {"record": model.record.hex(), "content": model.content.hex()}
        )
        self.lines: list[dict[str, Any]] = [{"setup": setup}]

    def add(self, comment: str = "", **line: Any) -> None:
        self.lines.append(line | ({"comment": comment} if comment else {}))

    # -- endpoint 0

    def request(self, name: str, data: bytes = b"", comment: str = "", *, stall: bool = False) -> None:
        self.add(comment, request=name, data=data.hex())
        if stall:
            self.add(stall=True)

    def hello(self, bits: int = 8, features: int = 0, epoch: int = EPOCH, comment: str = "") -> None:
        self.request("HELLO", Hello(epoch, bits, features).pack(), comment)
        self.epoch, self.sequence, self.bits = epoch, 1, bits
        self.flags = c.FLAG_CRC if features & c.Feature.PAYLOAD_CRC else 0

    def abort(self, epoch: int = NEXT, comment: str = "") -> None:
        self.request("ABORT", pack_epoch(epoch), comment)
        self.epoch, self.sequence = epoch, 1

    def status(self, comment: str = "", **fields: int) -> None:
        self.add(comment, status=fields)

    # -- bulk

    def host(self, data: bytes, comment: str = "") -> None:
        self.add(comment, host=data.hex())

    def ask(self, kind: int, payload: bytes, flags: int = c.FLAG_CRC, **fields: int) -> bytes:
        """A message of the next sequence, not yet sent."""
        message = pack_message(kind, self.epoch, self.sequence, payload, flags=flags, **fields)
        self.sequence += 1
        return message

    def frame(
        self, number: int = 0, model: Model | None = None, picture: bytes = b"", **fields: int
    ) -> bytes:
        """A FRAME of the next sequence, not yet sent."""
        model = model or self.model or A
        given = {"width": model.width, "height": model.height, "model_id": model.id, "flags": self.flags}
        return self.ask(Type.FRAME, picture or PICTURES[number], **(given | fields))

    def result(
        self, number: int, sequence: int, model: Model | None = None, picture: bytes = b"", comment: str = ""
    ) -> None:
        model = model or self.model or A
        mask = model.packed(picture or PICTURES[number], self.bits)
        self.device(
            pack_message(
                Type.RESULT, self.epoch, sequence, mask, flags=self.flags, pixel=self.bits,
                width=model.width, height=model.height, model_id=model.id,
            ), comment
        )  # fmt: skip

    def good(self, number: int = 0, comment: str = "") -> None:
        """A frame, and its mask."""
        sequence = self.sequence
        self.host(self.frame(number), comment)
        self.result(number, sequence)

    def device(self, data: bytes, comment: str = "") -> None:
        self.add(comment, device=data.hex())

    def progress(self, wanted: int, model: Model = B, comment: str = "") -> None:
        payload = pack_progress(wanted, len(model.content))
        message = pack_message(Type.MODEL_PROGRESS, self.epoch, self.sequence - 1, payload, flags=c.FLAG_CRC)
        self.device(message, comment)

    def error(self, code: Code, flags: int | None = None, *, sequence: int = -1, comment: str = "") -> None:
        """``sequence`` -1 is that of the last message."""
        fields = {
            "code": int(code),
            "flags": self.flags if flags is None else flags,
            "epoch": self.epoch,
            "sequence": self.sequence - 1 if sequence < 0 else sequence,
        }
        self.add(comment or code.name, error=fields)

    def lost(self, code: Code) -> None:
        self.error(code, self.flags | c.FLAG_LOST, sequence=0, comment=f"{code.name}, lost")

    def silence(self, comment: str = "") -> None:
        self.add(comment, silence=True)

    # -- models

    def begin(self, model: Model = B, comment: str = "") -> None:
        self.host(self.ask(Type.MODEL_BEGIN, model.record), comment)

    def chunk(self, start: int, size: int = 16, model: Model = B, comment: str = "") -> None:
        self.host(self.ask(Type.MODEL_CHUNK, pack_chunk(start, model.content[start : start + size])), comment)

    def upload(self, model: Model = B, start: int = 0) -> None:
        """BEGIN, and each CHUNK from ``start``."""
        self.begin(model)
        self.progress(start, model)
        for place in range(start, len(model.content), 16):
            self.chunk(place, model=model)
            self.progress(min(place + 16, len(model.content)), model)

    def commit(self, model: Model = B, comment: str = "") -> None:
        self.host(self.ask(Type.MODEL_COMMIT, model.sha256), comment)

    def ready(self, model: Model = B) -> None:
        message = pack_message(
            Type.MODEL_READY, self.epoch, self.sequence - 1, model.record, flags=c.FLAG_CRC
        )
        self.device(message)
        self.model = model


SCENARIOS: dict[str, Callable[[], Script]] = {}


def scenario(make: Callable[[], Script]) -> Callable[[], Script]:
    SCENARIOS[make.__name__.replace("_", "-")] = make
    return make


@scenario
def hello() -> Script:
    s = Script()
    s.status(state=0, epoch=0, next_sequence=1, model_id=A.id, sessions=0, slots=2)
    s.host(s.frame(), "without a session everything is thrown away")
    s.silence()
    s.hello()
    s.status(state=1, epoch=EPOCH, next_sequence=1, in_flight=0, sessions=1, frames=0)
    s.add(capabilities={"slots": 2, "features": 3, "state": 1, "model": A.record.hex()})
    s.good()
    s.request("HELLO", Hello(NEXT, minor=9).pack() + bytes(4), "of a later minor version: longer, and taken")
    s.epoch, s.sequence = NEXT, 1
    s.status("the model stays", state=1, epoch=NEXT, next_sequence=1, sessions=2, model_id=A.id)
    s.good(1)
    return s


@scenario
def hello_refused() -> Script:
    s = Script(features=1, mask_bits=[8])
    good = Hello(EPOCH).pack()
    for data, why in (
        (Hello(EPOCH, features=2).pack(), "a feature that was not offered"),
        (Hello(EPOCH, features=4).pack(), "a feature that has no name yet"),
        (Hello(EPOCH, features=1 << 31).pack(), "the highest bit"),
        (Hello(EPOCH, mask_bits=1).pack(), "an encoding that was not offered"),
        (Hello(EPOCH, mask_bits=3).pack(), "an encoding that there is not"),
        (Hello(EPOCH, major=2).pack(), "another major version"),
        (Hello(0).pack(), "epoch 0"),
        (b"GSLX" + good[4:], "another magic"),
        (good[:15], "too short"),
    ):
        s.request("HELLO", data, why, stall=True)
        s.status(state=0, epoch=0, sessions=0)
    s.hello(features=1)
    s.good()
    s.request("HELLO", Hello(0).pack(), "a refused one in session changes nothing", stall=True)
    s.good(1)
    return s


@scenario
def features() -> Script:
    s = Script(features=0)
    s.hello(comment="no features")
    s.begin(comment="MODEL_UPLOAD was not offered")
    s.error(Code.UNSUPPORTED, c.FLAG_CRC)
    s.good()
    return s


@scenario
def frame() -> Script:
    s = Script()
    s.hello()
    s.good(0)
    s.host(s.frame(1))
    s.host(s.frame(2), "two in flight: answered in order")
    s.result(1, 2)
    s.result(2, 3)
    s.status(frames=3, results=3, errors=0, in_flight=0, next_sequence=4, last_error=0)
    return s


@scenario
def frame_with_crc() -> Script:
    s = Script()
    s.hello(features=c.Feature.PAYLOAD_CRC)
    s.good(0)
    s.good(1)
    return s


@scenario
def pad() -> Script:
    s = Script(WIDE)
    s.hello(comment="32 + 480 bytes are 512: four bytes of 0 follow, in both directions")
    picture = bytes(place % 251 for place in range(480))
    for _ in range(2):
        sequence = s.sequence
        s.host(s.frame(picture=picture))
        s.result(0, sequence, picture=picture)
    s.hello(features=c.Feature.PAYLOAD_CRC, epoch=NEXT, comment="with the CRC it is 516, and no pad")
    s.host(s.frame(picture=picture))
    s.result(0, 1, picture=picture)
    return s


@scenario
def encodings() -> Script:
    s = Script(Model(b"rows of 7 pixels", classes=2, width=7))
    picture = PICTURES[0][: 7 * HEIGHT]
    for epoch, bits in enumerate((8, 4, 2, 1), EPOCH):
        s.hello(bits, epoch=epoch, comment=f"{bits} bits a pixel; unused bits at the end of a row are 0")
        s.host(s.frame(picture=picture))
        s.result(0, 1, picture=picture)
    return s


@scenario
def encoding_too_small() -> Script:
    s = Script(FIVE)
    s.hello(2, comment="five classes do not fit in 2 bits")
    s.host(s.frame())
    s.error(Code.BAD_ENCODING)
    s.hello(4, epoch=NEXT)
    s.good()
    return s


@scenario
def credit() -> Script:
    s = Script()
    s.hello()
    for number in range(3):
        s.host(s.frame(number), "" if number < 2 else "the third, of two slots")
    s.status(in_flight=3, next_sequence=4)
    s.result(0, 1)
    s.result(1, 2)
    s.error(Code.NO_CREDIT, comment="NO_CREDIT: it has used up its sequence, and had its place in the order")
    s.host(s.frame(3), "so this is 4")
    s.result(3, 4)
    s.host(s.frame(4))
    s.host(s.frame(5))
    s.begin(comment="a MODEL_* needs a credit, too")
    s.result(4, 5)
    s.result(5, 6)
    s.error(Code.NO_CREDIT, c.FLAG_CRC)
    s.host(s.frame(6))
    s.host(s.frame(7))
    s.host(s.ask(0x55, b"?", 0), "and so does what is unknown: the credit is judged first")
    s.result(6, 8)
    s.result(7, 9)
    s.error(Code.NO_CREDIT)
    s.status(frames=7, results=7, errors=3, in_flight=0)
    return s


@scenario
def far_more() -> Script:
    s = Script()
    s.hello()
    for number in range(8):
        s.host(s.frame(number))
    s.status("four times the slots, unanswered: still in session", state=1, in_flight=8)
    s.host(s.frame())
    s.status("one more loses the epoch", state=2)
    s.result(0, 1)
    s.result(1, 2)
    for sequence in range(3, 9):
        s.error(Code.NO_CREDIT, sequence=sequence)
    s.lost(Code.NO_CREDIT)
    s.abort()
    s.good()
    return s


@scenario
def sequence() -> Script:
    s = Script()
    for epoch, wrong in enumerate((1, 3, 0, 0xFFFFFFFF), EPOCH):
        s.hello(epoch=epoch)
        s.good()
        s.sequence = wrong
        s.host(s.frame(1), f"sequence {wrong}, where 2 is due")
        s.lost(Code.BAD_SEQUENCE)
        s.status(state=2, in_flight=0)
    s.sequence = 2
    s.host(s.frame(2), "lost: everything is thrown away")
    s.silence()
    s.abort(9)
    s.good(3)
    return s


@scenario
def abort() -> Script:
    s = Script()
    s.request("ABORT", pack_epoch(NEXT), "without a session", stall=True)
    s.hello()
    s.good()
    s.host(s.frame(1))
    s.host(s.frame(2)[:40], "half a message")
    s.abort(comment="throws away the frame in flight and the half message")
    s.silence()
    s.status(state=1, epoch=NEXT, in_flight=0, next_sequence=1)
    s.good(3)
    s.request("ABORT", pack_epoch(NEXT), "the present epoch", stall=True)
    s.request("ABORT", pack_epoch(0), "epoch 0", stall=True)
    s.request("ABORT", b"123", "too short", stall=True)
    s.good(4, "a refused ABORT changes nothing")
    return s


@scenario
def lost_and_abort() -> Script:
    s = Script()
    s.hello()
    s.host(s.frame(0))
    s.host(b"no header, but 32 bytes of noise" + bytes(100))
    s.result(0, 1, comment="what was in flight is answered before")
    s.lost(Code.BAD_HEADER)
    s.status(state=2, last_error=Code.BAD_HEADER)
    s.host(s.frame(1), "thrown away")
    s.silence()
    s.abort()
    s.status(state=1, epoch=NEXT)
    s.good(2)
    s.host(bytes(32))
    s.lost(Code.BAD_HEADER)
    s.hello(epoch=77, comment="HELLO ends it as well")
    s.good(3)
    return s


@scenario
def epoch() -> Script:
    s = Script()
    s.hello()
    s.good(0)
    s.epoch = EPOCH - 1
    s.sequence = 2
    stale = s.frame(1)
    s.epoch, s.sequence = EPOCH, 2
    s.host(stale, "of another epoch: thrown away by its length, without an answer")
    s.silence()
    s.status(stale=1, next_sequence=2)
    s.host(stale + s.frame(2), "in front of a good one in the same transfer")
    s.result(2, 2)
    s.status(stale=2, errors=0)
    return s


@scenario
def after_abort() -> Script:
    s = Script()
    s.hello()
    s.good(0)
    tail = s.frame(1)
    s.abort()
    s.host(tail[20:], "the tail of a message that was cut, still in a buffer")
    s.silence()
    s.good(2, "the first header of the epoch at the beginning of a packet")
    s.abort(9)
    s.host(bytes(512) + s.frame(3), "at the beginning of the second packet of a transfer")
    s.result(3, 1)
    return s


@scenario
def bad_header() -> Script:
    s = Script()
    for epoch, place in enumerate((0, 2, 3, 8, 28), EPOCH):
        s.hello(epoch=epoch)
        broken = bytearray(s.frame(0))
        broken[place] ^= 0x40
        s.host(bytes(broken), f"byte {place} is wrong; the first after HELLO is thrown away in silence")
        s.silence()
        s.sequence = 1
        s.good(1)
        broken = bytearray(s.frame(2))
        broken[place] ^= 0x40
        s.host(bytes(broken), "the second is answered")
        s.lost(Code.BAD_HEADER)
    s.abort(9, "and likewise after ABORT")
    broken = bytearray(s.frame(0))
    broken[31] ^= 1
    s.host(bytes(broken))
    s.silence()
    s.sequence = 1
    s.good(3)
    return s


@scenario
def header_length() -> Script:
    s = Script()
    s.hello()
    for size in (36, 64):
        message = s.frame(0)
        head = message[:3] + bytes([size]) + message[4:28]
        longer = head + crc32(head).to_bytes(4, "little") + b"\xa5" * (size - 32) + message[32:]
        s.host(longer, f"a header of {size} bytes, of a later minor version: what is beyond 32 is skipped")
        s.result(0, s.sequence - 1)
    message = s.frame(0)
    head = message[:3] + b"\x26" + message[4:28]
    s.host(head + crc32(head).to_bytes(4, "little") + bytes(6) + message[32:], "38 is no multiple of 4")
    s.lost(Code.BAD_HEADER)
    return s


@scenario
def header_in_two_pieces() -> Script:
    s = Script()
    s.hello()
    for number, cut in enumerate((13, 1, 31)):
        sequence, message = s.sequence, s.frame(number)
        s.host(message[:cut], "the first of the epoch" if not number else "in the stream")
        s.silence()
        s.host(message[cut:])
        s.result(number, sequence)
    message = bytearray(s.frame(3))
    message[12] ^= 1
    s.host(bytes(message[:10]), "a bad one in two pieces")
    s.host(bytes(message[10:]))
    s.lost(Code.BAD_HEADER)
    s.abort()
    message = bytearray(s.frame(3))
    s.host(bytes(message[:20]), "half a header, and then ABORT")
    s.abort(9)
    s.good(4)
    return s


@scenario
def transfers() -> Script:
    s = Script()
    s.hello()
    s.host(s.frame(0) + s.frame(1), "two messages in one transfer")
    s.result(0, 1)
    s.result(1, 2)
    message = s.frame(2)
    s.host(message[:32], "one in three")
    s.host(message[32:50])
    s.silence()
    s.host(message[50:])
    s.result(2, 3)
    return s


@scenario
def too_long() -> Script:
    s = Script(max_payload=64)
    s.hello()
    s.good()
    s.host(s.frame(1, picture=bytes(65))[:32], "65 bytes are announced, 64 are allowed; nothing is allocated")
    s.lost(Code.TOO_LONG)
    s.abort()
    s.host(s.frame(1, picture=bytes(64)), "64 are too many for the model, and keep the place")
    s.error(Code.BAD_FORMAT)
    s.good(2)
    return s


@scenario
def crc() -> Script:
    s = Script()
    s.hello(features=c.Feature.PAYLOAD_CRC)
    for place in (40, 64):
        broken = bytearray(s.frame(0))
        broken[place] ^= 1
        s.host(bytes(broken), "a wrong payload" if place == 40 else "a wrong CRC")
        s.error(Code.BAD_PAYLOAD)
    s.status(bad_payloads=2, frames=0, state=1)
    s.host(s.frame(0, flags=0), "none where one is due")
    s.error(Code.BAD_PAYLOAD)
    s.good(1)
    s.hello(epoch=NEXT, comment="PAYLOAD_CRC is not in force")
    s.host(s.frame(0, flags=c.FLAG_CRC), "one that was not agreed")
    s.error(Code.BAD_PAYLOAD)
    s.host(s.ask(Type.MODEL_BEGIN, B.record, 0), "MODEL_* has the CRC always")
    s.error(Code.BAD_PAYLOAD, c.FLAG_CRC)
    s.good(1)
    return s


@scenario
def format_() -> Script:
    s = Script()
    s.hello()
    for fields, why in (
        ({"pixel": 3}, "another pixel format"),
        ({"width": 7}, "another width"),
        ({"height": 5}, "another height"),
    ):
        s.host(s.frame(0, **fields), why)
        s.error(Code.BAD_FORMAT)
    s.host(s.frame(0, picture=bytes(31)), "a byte too few")
    s.error(Code.BAD_FORMAT)
    s.good(1)
    return s


@scenario
def unknown_type() -> Script:
    s = Script()
    s.hello()
    s.host(s.frame(0))
    s.host(s.ask(0x55, b"what is this?", 0), "skipped by its length, answered in its turn")
    s.result(0, 1)
    s.error(Code.UNSUPPORTED)
    s.host(s.ask(Type.RESULT, b"", 0), "an answer's type is no request")
    s.error(Code.UNSUPPORTED)
    s.good(1)
    return s


@scenario
def no_model() -> Script:
    s = Script(None)
    s.add(capabilities={"model": bytes(64).hex()})
    s.hello()
    s.host(s.frame(0))
    s.error(Code.NO_MODEL)
    s.status(model_id=0, state=1)
    s.upload(A)
    s.commit(A)
    s.ready(A)
    s.status(model_id=A.id)
    s.good(0)
    return s


@scenario
def wrong_model() -> Script:
    s = Script()
    s.hello()
    s.host(s.frame(0, model=B))
    s.error(Code.WRONG_MODEL)
    s.good(0)
    s.upload()
    s.good(1, "until MODEL_READY the old model answers")
    s.commit()
    s.ready()
    s.host(s.frame(2, model=A), "the old model's")
    s.error(Code.WRONG_MODEL)
    s.good(3)
    return s


@scenario
def upload_whole() -> Script:
    s = Script()
    s.hello()
    s.upload()
    s.status(upload_offset=len(B.content), upload_size=len(B.content), model_id=A.id)
    s.commit()
    s.ready()
    s.status(upload_offset=0, upload_size=0, model_id=B.id)
    s.add(capabilities={"model": B.record.hex()})
    s.good()
    return s


@scenario
def upload_resumed() -> Script:
    s = Script()
    s.hello()
    s.begin()
    s.progress(0)
    s.chunk(0)
    s.progress(16)
    s.abort(comment="an unfinished upload stays")
    s.begin()
    s.progress(16)
    s.chunk(16)
    s.progress(32)
    s.hello(epoch=9, comment="over HELLO, too")
    s.upload(start=32)
    s.commit()
    s.ready()
    s.good()
    return s


@scenario
def upload_replaced() -> Script:
    s = Script(None)
    s.hello()
    s.begin(B)
    s.progress(0, B)
    s.chunk(0)
    s.progress(16, B)
    s.upload(A)
    s.chunk(0, model=B, comment="the first upload is gone; this is past the end of the second")
    s.error(Code.BAD_OFFSET, c.FLAG_CRC)
    s.commit(B)
    s.error(Code.NO_UPLOAD, c.FLAG_CRC)
    s.commit(A)
    s.ready(A)
    s.good()
    return s


@scenario
def bad_hash() -> Script:
    s = Script()
    s.hello()
    s.begin()
    s.progress(0)
    for start in range(0, len(B.content), 16):
        size = min(16, len(B.content) - start)
        s.host(s.ask(Type.MODEL_CHUNK, pack_chunk(start, bytes(size))), "not its bytes" if not start else "")
        s.progress(start + size)
    s.commit()
    s.error(Code.BAD_HASH, c.FLAG_CRC)
    s.status("the upload is thrown away, the old model stays", upload_size=0, model_id=A.id)
    s.good()
    s.commit()
    s.error(Code.NO_UPLOAD, c.FLAG_CRC)
    return s


@scenario
def bad_offset() -> Script:
    s = Script()
    s.hello()
    s.begin()
    s.progress(0)
    s.chunk(16)
    s.error(Code.BAD_OFFSET, c.FLAG_CRC)
    s.status(upload_offset=0, upload_size=len(B.content))
    s.begin(comment="begin again at step 1")
    s.progress(0)
    s.chunk(0)
    s.progress(16)
    s.chunk(0, comment="once more")
    s.error(Code.BAD_OFFSET, c.FLAG_CRC)
    s.status(upload_offset=16)
    return s


@scenario
def commit_refused() -> Script:
    s = Script()
    s.hello()
    s.commit(comment="without BEGIN: answered at once")
    s.error(Code.NO_UPLOAD, c.FLAG_CRC)
    s.chunk(0, comment="likewise")
    s.error(Code.NO_UPLOAD, c.FLAG_CRC)
    s.begin()
    s.progress(0)
    s.commit(comment="before the last byte")
    s.error(Code.NO_UPLOAD, c.FLAG_CRC)
    s.status("the upload goes on", upload_size=len(B.content))
    s.upload(BAD)
    s.commit(BAD)
    s.error(Code.MODEL_REFUSED, c.FLAG_CRC)
    s.status("the upload is thrown away, the old model stays", upload_size=0, model_id=A.id)
    s.good()
    return s


@scenario
def model_refused() -> Script:
    s = Script(max_model=32, pixel_formats=[0])
    s.hello()
    s.begin(B, "35 bytes, where 32 is the most")
    s.error(Code.MODEL_TOO_LARGE, c.FLAG_CRC)
    s.begin(COLOUR, "pictures in colour, which were not offered")
    s.error(Code.MODEL_REFUSED, c.FLAG_CRC)
    s.host(s.ask(Type.MODEL_BEGIN, bytes(64)), "no record")
    s.error(Code.MODEL_REFUSED, c.FLAG_CRC)
    s.status(upload_size=0, model_id=A.id)
    s.good()
    return s


@scenario
def wrong_length() -> Script:
    s = Script()
    s.hello()
    for kind, payload, why in (
        (Type.MODEL_BEGIN, B.record[:63], "MODEL_BEGIN of 63 bytes"),
        (Type.MODEL_BEGIN, B.record + b"\0", "of 65"),
        (Type.MODEL_COMMIT, bytes(31), "MODEL_COMMIT of 31 bytes"),
        (Type.MODEL_COMMIT, bytes(33), "of 33"),
        (Type.MODEL_CHUNK, bytes(3), "MODEL_CHUNK without its offset"),
        (Type.MODEL_CHUNK, bytes(21), "with a byte more than was offered"),
    ):
        s.host(s.ask(kind, payload), why)
        s.error(Code.BAD_FORMAT, c.FLAG_CRC)
    s.status(state=1, upload_size=0)
    s.good()
    return s


@scenario
def kept_model() -> Script:
    s = Script()
    s.hello()
    s.upload()
    s.commit()
    s.ready()
    s.begin(A, "a device SHOULD keep what was committed: nothing has to be sent again")
    s.progress(len(A.content), A)
    s.commit(A)
    s.ready(A)
    s.good()
    return s


@scenario
def soft_reset() -> Script:
    s = Script()
    s.hello()
    s.good(0)
    s.begin()
    s.progress(0)
    s.chunk(0)
    s.progress(16)
    s.host(s.frame(1))
    s.request("SOFT_RESET", b"1", "it has no data", stall=True)
    s.result(1, 4)
    s.host(s.frame(2))
    s.request("SOFT_RESET", b"", "no session, counters 0; the model and an unfinished upload stay")
    s.silence()
    s.status(
        state=0, epoch=0, frames=0, results=0, errors=0, sessions=0, in_flight=0, model_id=A.id,
        upload_offset=16, upload_size=len(B.content),
    )  # fmt: skip
    s.request("ABORT", pack_epoch(NEXT), "without a session", stall=True)
    s.hello(epoch=NEXT)
    s.good(3)
    s.request("RESERVED", b"", "a request that is not known (number 0x7f)", stall=True)
    return s


@scenario
def killed_host() -> Script:
    s = Script()
    s.hello()
    s.host(s.frame(0))
    s.host(s.frame(1)[:40], "half a message; then the host is killed, and another one comes")
    s.hello(1, epoch=0x1234)
    s.status(state=1, epoch=0x1234, in_flight=0, next_sequence=1, sessions=2)
    s.silence()
    s.good(2)
    return s


def transcripts() -> dict[str, str]:
    """Every transcript by its name: its lines."""
    return {
        name.rstrip("-"): "".join(json.dumps(line) + "\n" for line in make().lines)
        for name, make in SCENARIOS.items()
    }


if __name__ == "__main__":
    for name, text in transcripts().items():
        (HERE / f"{name}.jsonl").write_text(text, "ascii")

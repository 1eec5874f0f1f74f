"""A session with the device under test: requests, messages, answers, each held against the page.

Whatever a device sends is checked here once; a case says what it wants to see beyond that.
"""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link import constants as c
from gnetsegd.link.constants import Code, Feature, Request, Type
from gnetsegd.link.errors import IncompatibleDevice, LinkError
from gnetsegd.link.header import (
    Header,
    check_payload,
    in_buffer_size,
    message_size,
    pack_message,
    read_header,
)
from gnetsegd.link.model_upload import ModelRecord
from gnetsegd.link.requests import (
    Capabilities,
    Hello,
    Status,
    pack_epoch,
    parse_capabilities,
    parse_status,
)
from gnetsegd.message import unpack_mask
from gnetsegd.text import clean

from .verdict import Broken, OutOfTime, Skip, Stalled, demand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gnetsegd.model import ModelBundle

    from .wire import Times, Wire

#: Room beyond the longest answer, so that one that is too long is seen as that.
SLACK = 4096
#: How many answers that it does not know, or of old epochs, a host lets pass for one that is owed.
PATIENCE = 64
#: A type that no version of the page gives to a request.
UNKNOWN_REQUEST = 0x6E
#: Frames in a row: more than any fault of the mock device needs to show.
MANY = 40


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole and good answer of the present epoch."""

    header: Header
    payload: bytes

    @property
    def text(self) -> str:
        return clean(self.payload.decode("utf-8", "replace"))

    def describe(self) -> str:
        """For sentences: what it is."""
        header = self.header
        if header.type == Type.ERROR:
            lost = ", lost" if header.flags & c.FLAG_LOST else ""
            return f"ERROR {c.code_name(header.code)}{lost} ({self.text})"
        try:
            return Type(header.type).name
        except ValueError:
            return f"type {header.type:#04x}"


class Bench:
    """The device under test and what is known of it. ``bundle`` is a model that it may be given.

    ``destructive``: cases that change what the device keeps may run.
    """

    def __init__(
        self,
        wire: Wire,
        times: Times,
        *,
        bundle: ModelBundle | None = None,
        destructive: bool = False,
        seed: int | None = None,
    ) -> None:
        self.wire, self.times, self.bundle, self.destructive = wire, times, bundle, destructive
        self.random = random.Random(seed)
        #: The active model when CAPABILITIES was read last: how long an answer may be hangs on it.
        self._record: ModelRecord | None = None
        self._formats: tuple[int, ...] = ()
        self.epoch, self.sequence = 0, 1
        self.bits, self.features = 8, 0
        self._used: set[int] = {0}

    # -- endpoint 0

    def ask(self, request: int, length: int = 512) -> bytes:
        return self.wire.ask(request, self.times.request_s, length)

    def tell(self, request: int, data: bytes = b"") -> None:
        self.wire.tell(request, data, self.times.request_s)

    def capabilities(self) -> Capabilities:
        try:
            told = parse_capabilities(self.ask(Request.CAPABILITIES))
        except (LinkError, IncompatibleDevice) as error:
            raise Broken(str(error)) from None
        self._record, self._formats = told.model, told.pixel_formats
        return told

    def status(self) -> Status:
        try:
            return parse_status(self.ask(Request.GET_STATUS))
        except LinkError as error:
            raise Broken(str(error)) from None

    def model(self) -> ModelRecord:
        """The active model's record; ``Skip`` if there is none."""
        record = self.capabilities().model
        if record is None:
            raise Skip("the device has no model; give it one with --model BUNDLE --destructive")
        return record

    def new_epoch(self) -> int:
        """One that was never used."""
        epoch = 0
        while epoch in self._used:
            epoch = self.random.getrandbits(32)
        self._used.add(epoch)
        return epoch

    def hello(self, bits: int = 0, features: int = 0) -> None:
        """Open a session; ``bits`` 0 is the most that are offered, which hold the most labels."""
        bits = bits or max(self.capabilities().mask_bits, default=8)
        epoch = self.new_epoch()
        self.tell(Request.HELLO, Hello(epoch, bits, features).pack())
        self.epoch, self.sequence, self.bits, self.features = epoch, 1, bits, features

    def abort(self) -> None:
        epoch = self.new_epoch()
        self.tell(Request.ABORT, pack_epoch(epoch))
        self.epoch, self.sequence = epoch, 1

    def refuses(self, request: int, data: bytes, what: str) -> None:
        """``Broken`` unless it STALLs the request, or takes it and then acts as if it had not come."""
        before = _session(self.status())
        with contextlib.suppress(Stalled):
            self.tell(request, data)
        after = _session(self.status())
        demand(
            before == after,
            f"{what} has changed the session: (state, epoch, next sequence, in flight, sessions) were "
            f"{before}, they are {after}",
        )

    # -- what is sent

    def send(self, *messages: bytes) -> None:
        """Each in one transfer."""
        for message in messages:
            self.wire.send(message, self.times.answer_s)

    def next_sequence(self) -> int:
        sequence, self.sequence = self.sequence, (self.sequence + 1) % (1 << 32)
        return sequence

    def message(self, kind: int, payload: bytes = b"", **fields: int) -> bytes:
        """A message of the next sequence; MODEL_* have a CRC unless ``flags`` says otherwise."""
        model = Type.MODEL_BEGIN <= kind <= Type.MODEL_COMMIT
        fields.setdefault("flags", c.FLAG_CRC if model or self.features & Feature.PAYLOAD_CRC else 0)
        return pack_message(kind, fields.pop("epoch", self.epoch), self.next_sequence(), payload, **fields)

    def spec(self, record: ModelRecord) -> FrameSpec:
        """In which form FRAMEs go out: the network's own, or YUV420 where only that is offered for it."""
        own = record.input
        if c.PIXEL_FORMAT_CODES[own.pixel_format] in self._formats or own.pixel_format != "YUV444":
            return own
        return replace(own, pixel_format="YUV420")

    def picture(self, spec: FrameSpec) -> bytes:
        return self.random.randbytes(spec.size_bytes)

    def frame(
        self, record: ModelRecord, pixels: bytes | None = None, pixel: str = "", **fields: int
    ) -> bytes:
        """A FRAME as ``record`` asks for, with a random picture if none is given; ``fields`` change it."""
        spec = self.spec(record)
        if pixels is None:
            pixels = self.picture(spec)
        header = {
            "pixel": c.PIXEL_FORMAT_CODES[pixel or spec.pixel_format],
            "width": spec.width,
            "height": spec.height,
            "model_id": record.model_id,
        }
        return self.message(Type.FRAME, pixels, **(header | fields))

    # -- what comes

    def raw(self, limit_s: float | None = None) -> bytes:
        """One transfer from bulk IN, as it is."""
        record = self._record
        longest = max(record.mask.size_bytes if record else 0, c.MAX_SHORT_ANSWER)
        return self.wire.receive(
            in_buffer_size(longest) + SLACK, self.times.answer_s if limit_s is None else limit_s
        )

    def transfers(self, limit_s: float | None = None) -> Iterator[bytes]:
        """Transfers of bulk IN for one answer that is owed; ``Broken`` after ``PATIENCE``, or the limit."""
        end = time.monotonic() + (self.times.answer_s if limit_s is None else limit_s)
        for number in range(PATIENCE):
            left = end - time.monotonic()
            if number and left <= 0:
                raise OutOfTime(f"{number} answers came that belong to nothing, and none that is owed")
            yield self.raw(left)
        raise Broken(f"{PATIENCE} answers in a row belong to nothing")

    def answer(self, limit_s: float | None = None, *, may_be_old: bool = True) -> Answer:
        """The next answer of the present epoch, whole and good.

        What is of another epoch is thrown away if it ``may_be_old``, what is of an unknown type always; the
        time limit runs on meanwhile.
        """
        for transfer in self.transfers(limit_s):
            answer = whole(transfer)
            header = answer.header
            if header.epoch != self.epoch:
                demand(
                    may_be_old,
                    f"{answer.describe()} of epoch {header.epoch:#x} came where epoch {self.epoch:#x} is in "
                    "force and nothing old can be in a buffer any more",
                )
                continue
            demand(header.type >= c.FIRST_ANSWER, f"a request came back: type {header.type:#04x}")
            if header.type in ANSWERS:
                return answer
            demand(
                header.length <= c.MAX_SHORT_ANSWER,
                f"an answer of the unknown type {header.type:#04x} has {header.length} bytes of payload",
            )
        raise AssertionError("transfers never end")

    def silence(self, after: str) -> None:
        """``Broken`` if any answer of the present epoch comes."""
        try:
            answer = self.answer(self.times.silence_s)
        except OutOfTime:
            return
        raise Broken(f"{answer.describe()} came after {after}; nothing is owed there")

    def expect(self, kind: Type, sequence: int, limit_s: float | None = None) -> Answer:
        """The next answer, which has to be of that type, for that request."""
        answer = self.answer(limit_s)
        header = answer.header
        demand(
            header.type == kind,
            f"request {sequence} is answered with {answer.describe()} instead of {kind.name}",
        )
        demand(
            header.sequence == sequence,
            f"the answer has sequence {header.sequence}; request {sequence} is the oldest without one",
        )
        return answer

    def expect_error(self, code: Code, sequence: int, limit_s: float | None = None) -> Answer:
        """The next answer, which has to be this ERROR, not lost."""
        answer = self.expect(Type.ERROR, sequence, limit_s)
        demand(
            answer.header.code == code and not answer.header.flags & c.FLAG_LOST,
            f"request {sequence} is answered with {answer.describe()} instead of ERROR {code.name}",
        )
        return answer

    def expect_lost(self, code: Code) -> Answer:
        """The next answer, which has to be this ERROR with the lost flag and sequence 0."""
        answer = self.answer()
        header = answer.header
        demand(
            header.type == Type.ERROR and header.code == code and bool(header.flags & c.FLAG_LOST),
            f"{answer.describe()} came instead of ERROR {code.name} with the lost flag",
        )
        demand(header.sequence == 0, f"the lost ERROR has sequence {header.sequence} instead of 0")
        return answer

    def labels(self, record: ModelRecord, sequence: int) -> NDArray[np.uint8]:
        """Labels of the next answer, which has to be the RESULT of that FRAME, right in every field."""
        answer = self.expect(Type.RESULT, sequence)
        mask = MaskFormat(record.mask.width, record.mask.height, self.bits, record.mask.classes)
        header = answer.header
        for name, is_, due in (
            ("format", header.format, self.bits), ("code", header.code, 0),
            ("width", header.width, mask.width), ("height", header.height, mask.height),
            ("model id", header.model_id, record.model_id),
            ("CRC flag", header.flags & c.FLAG_CRC, int(bool(self.features & Feature.PAYLOAD_CRC))),
            ("lost flag", header.flags & c.FLAG_LOST, 0),
        ):  # fmt: skip
            demand(is_ == due, f"the RESULT's {name} is {is_:#x} instead of {due:#x}")
        demand(
            header.length == mask.size_bytes,
            f"the RESULT has {header.length} bytes of payload; its mask has {mask.size_bytes}",
        )
        labels = unpack_mask(answer.payload, mask)
        largest = int(labels.max())
        demand(largest < mask.classes, f"the mask has the label {largest}, the model {mask.classes} classes")
        unused = mask.stride * 8 - mask.width * mask.bits
        if unused:
            rows = np.frombuffer(answer.payload, np.uint8).reshape(mask.height, mask.stride)
            demand(
                not (rows[:, -1] & np.uint8((1 << unused) - 1)).any(),
                f"the {unused} unused bits at the end of a row are not 0",
            )
        return labels

    # -- whole movements

    def serve(self, record: ModelRecord, count: int = 1) -> None:
        """So many frames, one after another, each answered by its RESULT."""
        for _ in range(count):
            sequence = self.sequence
            self.send(self.frame(record))
            self.labels(record, sequence)

    def session(self, bits: int = 0, features: int = 0) -> ModelRecord:
        """HELLO; the record of the active model. ``Skip`` without one."""
        record = self.model()
        self.hello(bits or fitting_bits(self.capabilities(), record), features)
        return record

    def session_if_any(self) -> ModelRecord | None:
        """``session``, or HELLO alone where there is no model, or none that fits: then None."""
        try:
            return self.session()
        except Skip:
            self.hello()
            return None

    def lost_by(self, data: bytes, code: Code) -> None:
        """In a session that has had a good message: ``data`` loses the epoch, ABORT ends that."""
        record = self.session()
        self.serve(record)
        self.send(data)
        self.expect_lost(code)
        self.abort()
        self.serve(record)


#: Types of answers that are known here.
ANSWERS = frozenset({Type.RESULT, Type.MODEL_PROGRESS, Type.MODEL_READY, Type.ERROR})


def fitting_bits(told: Capabilities, record: ModelRecord) -> int:
    """The most bits a pixel offered that hold the model's labels; ``Skip`` if none does."""
    fits = [bits for bits in told.mask_bits if record.mask.classes <= 1 << bits]
    if not fits:
        raise Skip(f"no encoding offered holds the model's {record.mask.classes} labels")
    return max(fits)


def whole(transfer: bytes) -> Answer:
    """The message that one IN transfer has to be; ``Broken`` with a sentence if it is none."""
    demand(bool(transfer), "a zero-length packet came on bulk IN")
    view = memoryview(transfer)
    try:
        header = Header(*read_header(view))
    except LinkError as error:
        raise Broken(f"an answer of {len(transfer)} bytes: {error}") from None
    demand(
        header.length <= c.MAX_PAYLOAD,
        f"the answer's header claims {header.length} bytes of payload, more than any may have",
    )
    size = message_size(header.length, header.flags, header.header_length)
    demand(
        len(transfer) == size,
        f"the transfer has {len(transfer)} bytes, the message in it {size}: header, payload, CRC and pad",
    )
    start, end = header.header_length, header.header_length + header.length
    demand(check_payload(view, start, header.length, header.flags), "the CRC of an answer's payload is wrong")
    crc = c.CRC_SIZE if header.flags & c.FLAG_CRC else 0
    demand(not any(view[end + crc :]), "the pad of an answer is not 0")
    demand(
        header.type == Type.RESULT or header.length <= c.MAX_SHORT_ANSWER,
        f"an answer of type {header.type:#04x} has {header.length} bytes of payload; "
        f"{c.MAX_SHORT_ANSWER} are allowed",
    )
    return Answer(header, bytes(view[start:end]))


def _session(status: Status) -> tuple[int, ...]:
    return status.state, status.epoch, status.next_sequence, status.in_flight, status.sessions

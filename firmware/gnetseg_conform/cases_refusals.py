"""What the page demands for requests that break it: which ERROR, and what is lost by it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from gnetsegd.link import constants as c
from gnetsegd.link.constants import Code, Feature, Request, Type
from gnetsegd.link.header import HEADER_SIZE

from .bench import UNKNOWN_REQUEST
from .registry import case
from .verdict import Skip, demand

if TYPE_CHECKING:
    from .bench import Bench

_ERRORS = "Errors"
#: What the page calls far more than was granted, in slots.
_FAR_MORE = 4
#: So many answers may be with the device's USB stack already, which it then takes for received: it grants as
#: many requests more than it said. No host that keeps to its credit can see that.
_AHEAD = 8


@case(_ERRORS, "magic, version, header length or header CRC is wrong")
def bad_header(bench: Bench) -> None:
    """A bad header is answered with BAD_HEADER, lost; all input is thrown away until ABORT."""
    bench.session()
    good = bench.message(UNKNOWN_REQUEST)
    # Magic, version, header length, CRC.
    for place, value in ((0, 0x58), (2, 2), (3, 28), (3, 30), (3, 34), (3, 68), (28, None)):
        head = bytearray(good)
        head[place] = head[place] ^ 1 if value is None else value
        if value is not None:
            head[28:] = crc32(head[:28]).to_bytes(4, "little")
        bench.lost_by(bytes(head), Code.BAD_HEADER)


@case(_ERRORS, "payload length is over the device's limit; nothing was allocated")
def too_long(bench: Bench) -> None:
    """A payload over the device's limit is answered with TOO_LONG, lost, before its bytes come."""
    limit = bench.capabilities().max_payload
    for length in (limit + 1, 0xFFFFFFFF):
        record = bench.session()
        bench.serve(record)
        head = bytearray(bench.frame(record)[:32])
        head[16:20] = length.to_bytes(4, "little")
        head[28:] = crc32(head[:28]).to_bytes(4, "little")
        bench.send(bytes(head))
        bench.expect_lost(Code.TOO_LONG)
        bench.abort()
        bench.serve(record)


@case(_ERRORS, "not the sequence that was due")
def bad_sequence(bench: Bench) -> None:
    """A sequence that was not due is answered with BAD_SEQUENCE, lost."""
    record = bench.session()
    for sequence, unknown in ((1, False), (3, False), (3, True)):
        bench.session()
        bench.serve(record)
        bench.sequence = sequence
        bench.send(bench.message(UNKNOWN_REQUEST) if unknown else bench.frame(record))
        bench.expect_lost(Code.BAD_SEQUENCE)
        bench.abort()
        bench.serve(record)


@case(_ERRORS, "it throws away all input until ABORT, HELLO or SOFT_RESET")
def lost_until_abort(bench: Bench) -> None:
    """After a lost ERROR the state is 2, and nothing is answered until ABORT, HELLO or SOFT_RESET."""
    record = bench.session()
    bench.serve(record)
    bench.send(bytes(32))
    bench.expect_lost(Code.BAD_HEADER)
    demand(bench.status().state == c.State.LOST, "GET_STATUS does not say state 2 (lost)")
    bench.send(bench.frame(record))
    bench.silence("a lost ERROR")
    bench.abort()
    bench.serve(record)
    for reset in (False, True):
        bench.send(bytes(32))
        bench.expect_lost(Code.BAD_HEADER)
        if reset:
            bench.tell(Request.SOFT_RESET)
        bench.session()
        bench.serve(record)


@case(_ERRORS, "the payload's CRC is wrong, or there is none where one is due")
def bad_payload(bench: Bench) -> None:
    """A wrong CRC, none where one was agreed, or one that was not, is answered with BAD_PAYLOAD."""
    if not bench.capabilities().features & Feature.PAYLOAD_CRC:
        raise Skip("PAYLOAD_CRC is not offered")
    record = bench.session(features=int(Feature.PAYLOAD_CRC))
    bad = bench.status().bad_payloads
    spoiled = bytearray(bench.frame(record))
    spoiled[HEADER_SIZE] ^= 1
    bench.send(bytes(spoiled))
    bench.expect_error(Code.BAD_PAYLOAD, 1)
    bench.send(bench.frame(record, flags=0))
    bench.expect_error(Code.BAD_PAYLOAD, 2)
    bench.serve(record)
    counted = bench.status().bad_payloads - bad
    demand(counted == 1, f"GET_STATUS counts {counted} payloads with a wrong CRC instead of 1")
    record = bench.session()
    bench.send(bench.frame(record, flags=c.FLAG_CRC))
    bench.expect_error(Code.BAD_PAYLOAD, 1)
    bench.serve(record)


@case("Sequence and credits", "uses up its sequence number, also one that is refused")
def no_credit(bench: Bench) -> None:
    """Requests beyond the credit are answered with NO_CREDIT in their turn; then the credits are back."""
    record = bench.session()
    slots = bench.capabilities().slots
    count = min(slots + _AHEAD + 1, _FAR_MORE * slots)
    bench.send(*(bench.frame(record) for _ in range(count)))
    for sequence in range(1, slots + 1):
        bench.labels(record, sequence)
    refused = 0
    for sequence in range(slots + 1, count + 1):
        answer = bench.answer()
        header = answer.header
        is_refusal = header.type == Type.ERROR and header.code == Code.NO_CREDIT
        demand(
            header.sequence == sequence and (is_refusal or (header.type == Type.RESULT and not refused)),
            f"request {sequence}, without credit, is answered with {answer.describe()} of sequence "
            f"{header.sequence}",
        )
        refused += is_refusal
    demand(refused > 0, f"{count} requests were in flight at once, {slots} are granted: none was refused")
    bench.send(*(bench.frame(record) for _ in range(slots)))
    for sequence in range(count + 1, count + slots + 1):
        bench.labels(record, sequence)


@case("Sequence and credits", "a request is in flight until its answer has been received", should=True)
def exact_credit(bench: Bench) -> None:
    """The first request beyond the credit is refused: answers that nobody has read give none back."""
    record = bench.session()
    slots = bench.capabilities().slots
    bench.send(*(bench.frame(record) for _ in range(slots + 1)))
    for sequence in range(1, slots + 1):
        bench.labels(record, sequence)
    bench.expect_error(Code.NO_CREDIT, slots + 1)


@case("Sequence and credits", "is *far more* than was granted, and loses the epoch")
def far_more(bench: Bench) -> None:
    """A request that comes while four times slots are unanswered loses the epoch with NO_CREDIT."""
    record = bench.session()
    slots = bench.capabilities().slots
    most = _FAR_MORE * slots
    # A bus that is quicker than the host takes answers in the meantime: more than enough.
    count = 2 * most + _AHEAD
    bench.send(*(bench.message(UNKNOWN_REQUEST) for _ in range(count)))
    for answered in range(count):
        answer = bench.answer()
        header = answer.header
        if header.flags & c.FLAG_LOST:
            break
        due = (Code.UNSUPPORTED,) if answered < slots else (Code.UNSUPPORTED, Code.NO_CREDIT)
        demand(
            header.sequence == answered + 1 and header.type == Type.ERROR and header.code in due,
            f"request {answered + 1} is answered with {answer.describe()} of sequence {header.sequence}",
        )
    demand(
        bool(header.flags & c.FLAG_LOST) and header.code == Code.NO_CREDIT and answered >= most,
        f"after {answered} answers {answer.describe()} came; ERROR NO_CREDIT, lost, is due after {most}",
    )
    demand(header.sequence == 0, f"the lost ERROR has sequence {header.sequence} instead of 0")
    bench.abort()
    bench.serve(record)


@case(_ERRORS, "the FRAME names another model than the active one")
def wrong_model(bench: Bench) -> None:
    """A FRAME for another model is answered with WRONG_MODEL, never with a mask."""
    record = bench.session()
    bench.send(bench.frame(record, model_id=record.model_id ^ 0x100))
    bench.expect_error(Code.WRONG_MODEL, 1)
    bench.serve(record)


@case(_ERRORS, "there is no active model: upload one")
def no_model(bench: Bench) -> None:
    """Without an active model a FRAME is answered with NO_MODEL."""
    if bench.capabilities().model:
        raise Skip("the device has a model")
    bench.hello()
    bench.send(bench.message(Type.FRAME, bytes(64), width=8, height=8))
    bench.expect_error(Code.NO_MODEL, 1)


@case(_ERRORS, "pixel format, size or payload length is not what the model takes")
def bad_format(bench: Bench) -> None:
    """A FRAME of another size, pixel format or payload length is answered with BAD_FORMAT."""
    record = bench.session()
    spec = bench.spec(record)
    pixels = bench.picture(spec)
    other = "RGB" if spec.pixel_format == "Y" else "Y"
    bad = [
        bench.frame(record, pixels, width=spec.width + 1),
        bench.frame(record, pixels, height=spec.height - 1),
        bench.frame(record, pixels, other),
        bench.frame(record, pixels[:-1]),
        bench.frame(record, b""),
    ]
    for sequence, message in enumerate(bad, 1):
        bench.send(message)
        bench.expect_error(Code.BAD_FORMAT, sequence)
    bench.serve(record)


@case("Types", "a sentence for people, UTF-8, at most 256 bytes", catches=("foul-text",))
def error_text(bench: Bench) -> None:
    """The text of an ERROR is UTF-8 without control characters, at most 256 bytes."""
    record = bench.session()
    sent = [
        bench.frame(record, model_id=record.model_id ^ 1),
        bench.frame(record, bytes(3)),
        bench.message(UNKNOWN_REQUEST),
    ]
    for message in sent:
        bench.send(message)
        payload = bench.answer().payload
        try:
            text = payload.decode("utf-8")
        except UnicodeDecodeError:
            demand(False, f"the text of an ERROR is no UTF-8: {payload[:80]!r}")
        else:
            demand(text.isprintable(), f"the text of an ERROR has control characters: {text[:80]!a}")

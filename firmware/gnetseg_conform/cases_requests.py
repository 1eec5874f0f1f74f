"""What the page demands on endpoint 0: CAPABILITIES, HELLO, GET_STATUS, ABORT, SOFT_RESET."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from gnetsegd.link import constants as c
from gnetsegd.link.constants import Feature, Request
from gnetsegd.link.errors import LinkError
from gnetsegd.link.model_upload import parse_record
from gnetsegd.link.requests import (
    CAPABILITIES_SIZE,
    CAPABILITIES_SIZE_1_0,
    HELLO_SIZE,
    MAGIC,
    STATUS_SIZE,
    Hello,
    pack_epoch,
)

from .bench import MANY, UNKNOWN_REQUEST
from .registry import case
from .verdict import Skip, Stalled, TransferFailed, demand

if TYPE_CHECKING:
    from .bench import Bench

_EP0 = "Requests on endpoint 0"
_UNKNOWN = 0x7F


def _beginning(bench: Bench) -> bytes:
    """CAPABILITIES as they came, with the fields that every version has; ``Broken`` for less."""
    data = bench.ask(Request.CAPABILITIES)
    demand(
        len(data) >= CAPABILITIES_SIZE_1_0,
        f"CAPABILITIES has {len(data)} bytes; the shortest that there are have {CAPABILITIES_SIZE_1_0}",
    )
    return data


@case("Descriptors", "read CAPABILITIES and look at its magic", catches=("not-ours",))
def capabilities_magic(bench: Bench) -> None:
    """CAPABILITIES is answered, and begins with the link's magic."""
    data = bench.ask(Request.CAPABILITIES)
    demand(data[:4] == MAGIC, f"CAPABILITIES begins with {data[:4].hex(' ')} instead of {MAGIC.hex(' ')}")


@case("Versions", "A device of another **major** version is not used", catches=("other-major",))
def capabilities_version(bench: Bench) -> None:
    """The major version is 1."""
    data = _beginning(bench)
    demand(data[4] == c.MAJOR, f"the device is of version {data[4]}.{data[5]}; this page is {c.MAJOR}.x")


@case("CAPABILITIES", "length of this structure")
def capabilities_length(bench: Bench) -> None:
    """CAPABILITIES says its own length, and has all fields of its minor version."""
    data = _beginning(bench)
    due = CAPABILITIES_SIZE if data[5] else CAPABILITIES_SIZE_1_0
    demand(len(data) >= due, f"CAPABILITIES of version 1.{data[5]} has {len(data)} bytes instead of {due}")
    told = int.from_bytes(data[6:8], "little")
    demand(told == len(data), f"CAPABILITIES says that it has {told} bytes; {len(data)} came")


@case(_EP0, "the device sends what it has")
def shorter_request(bench: Bench) -> None:
    """An IN request for fewer bytes than the structure has gets its beginning."""
    whole = bench.ask(Request.CAPABILITIES)
    for length in (8, c.PACKET // 8):
        data = bench.ask(Request.CAPABILITIES, length)
        demand(
            data == whole[:length], f"CAPABILITIES of {length} bytes is not the beginning of the whole one"
        )
    count = len(bench.ask(Request.GET_STATUS, 8))
    demand(count == 8, f"GET_STATUS of 8 bytes has {count}")


@case("Limits", "| slots | 1 to 16 |", catches=("no-credit",))
def slots(bench: Bench) -> None:
    """CAPABILITIES grants 1 to 16 slots, and GET_STATUS says the same."""
    told = _beginning(bench)[12]
    demand(told != 0, "the device grants no slots: it cannot be used now")
    demand(told <= c.MAX_SLOTS, f"the device grants {told} slots; {c.MAX_SLOTS} are the most")
    status = bench.status()
    demand(status.slots == told, f"GET_STATUS says {status.slots} slots, CAPABILITIES {told}")


@case("CAPABILITIES", "longest payload that the device accepts on bulk OUT")
def offered_limits(bench: Bench) -> None:
    """What CAPABILITIES offers can be used: an encoding, a pixel format, payloads that hold a FRAME."""
    told = bench.capabilities()
    demand(bool(told.mask_bits), "no mask encoding of this page is offered")
    known = [code for code in told.pixel_formats if code in c.PIXEL_FORMAT_NAMES]
    demand(bool(known), "no pixel format of this page is offered")
    if told.model:
        spec = bench.spec(told.model)
        code = c.PIXEL_FORMAT_CODES[spec.pixel_format]
        demand(code in known, f"the active model takes {spec.pixel_format}, which is not offered")
        demand(
            spec.size_bytes <= told.max_payload,
            f"a FRAME of the active model has {spec.size_bytes} bytes, the longest payload is "
            f"{told.max_payload}",
        )


@case(
    "CAPABILITIES", "firmware's name and version for people, ASCII, padded with NUL", catches=("foul-text",)
)
def firmware_name(bench: Bench) -> None:
    """The firmware's name is printable ASCII, padded with NUL."""
    data = bench.ask(Request.CAPABILITIES)
    if len(data) < CAPABILITIES_SIZE:
        raise Skip("version 1.0 has no firmware's name")
    name = data[CAPABILITIES_SIZE_1_0:CAPABILITIES_SIZE].rstrip(b"\0")
    demand(
        all(0x20 <= byte < 0x7F for byte in name),
        f"the firmware's name has bytes that are no printable ASCII: {name!r}",
    )


@case("CAPABILITIES", "model record of the active model, all 0 if there is none")
def active_model(bench: Bench) -> None:
    """The active model's record is one, and GET_STATUS names the same model."""
    data = bench.ask(Request.CAPABILITIES)[32:96]
    model_id = bench.status().model_id
    if not any(data):
        demand(model_id == 0, f"there is no active model, and GET_STATUS names {model_id:#x}")
        return
    try:
        record = parse_record(data)
    except LinkError as error:
        demand(False, f"the active model's record: {error}")
    else:
        demand(
            model_id == record.model_id,
            f"GET_STATUS names model {model_id:#x}, the record's is {record.model_id:#x}",
        )


@case(_EP0, "A device STALLs a request that it does not know")
def unknown_request(bench: Bench) -> None:
    """A request that the page does not know is STALLed, and nothing has changed."""
    bench.hello()
    try:
        data = bench.ask(_UNKNOWN)
    except Stalled:
        pass
    else:
        demand(False, f"IN request {_UNKNOWN:#x}, which does not exist, is answered with {len(data)} bytes")
    bench.refuses(_UNKNOWN, b"", f"OUT request {_UNKNOWN:#x}, which does not exist,")


@case(
    _EP0, "wrong length (a HELLO may be longer, see *Versions*), or that it refuses: then nothing has changed"
)
def request_length(bench: Bench) -> None:
    """A request whose data has the wrong length changes nothing."""
    bench.hello()
    hello = Hello(bench.new_epoch(), bench.bits).pack()
    bench.refuses(Request.HELLO, hello[:-1], "a HELLO of 15 bytes")
    bench.refuses(Request.ABORT, pack_epoch(bench.new_epoch())[:3], "an ABORT of 3 bytes")
    bench.refuses(Request.ABORT, pack_epoch(bench.new_epoch()) + b"\0", "an ABORT of 5 bytes")
    bench.refuses(Request.SOFT_RESET, b"\0", "a SOFT_RESET with a byte of data")


@case("HELLO", "After HELLO nothing is in flight and the next request has sequence 1")
def hello(bench: Bench) -> None:
    """HELLO begins a session with its epoch, nothing in flight and sequence 1."""
    sessions = bench.status().sessions
    bench.hello()
    status = bench.status()
    for name, is_, due in (
        ("state", status.state, c.State.IN_SESSION), ("epoch", status.epoch, bench.epoch),
        ("next sequence", status.next_sequence, 1), ("requests in flight", status.in_flight, 0),
        ("sessions begun", status.sessions, sessions + 1),
        ("state, which CAPABILITIES says as well,", status.state, _beginning(bench)[15]),
    ):  # fmt: skip
        demand(is_ == due, f"after HELLO GET_STATUS says for {name} {is_:#x} instead of {due:#x}")


@case("HELLO", "an encoding or a feature was not offered (each bit counts, also one without a name)")
def hello_refused(bench: Bench) -> None:
    """A HELLO with another magic or major, what was not offered, or epoch 0 changes nothing."""
    record, told = bench.session_if_any(), bench.capabilities()
    # Another encoding and other features than the session's: a FRAME shows whether they were taken over.
    good = Hello(bench.new_epoch(), min(told.mask_bits, default=8), told.features & Feature.PAYLOAD_CRC)
    refused = {
        "a HELLO of another magic": b"GSLX" + good.pack()[4:],
        "a HELLO of major version 2": dataclasses.replace(good, major=2).pack(),
        "a HELLO of epoch 0": dataclasses.replace(good, epoch=0).pack(),
    }
    for bits in (0, 3, 16, *(bits for bits in c.MASK_BITS if bits not in told.mask_bits)):
        words = f"a HELLO for {bits} bits a pixel, not offered,"
        refused[words] = dataclasses.replace(good, mask_bits=bits).pack()
    for bit in (0, 1, 2, 15, 31):
        if not told.features >> bit & 1:
            words = f"a HELLO with feature bit {bit}, not offered,"
            refused[words] = dataclasses.replace(good, features=1 << bit).pack()
    for words, data in refused.items():
        bench.refuses(Request.HELLO, data, words)
        if record:
            bench.serve(record)


@case(_EP0, "wrong length (a HELLO may be longer, see *Versions*), or that it refuses")
def refusal_ends_nothing(bench: Bench) -> None:
    """A FRAME in flight is answered, although requests were refused meanwhile."""
    record = bench.session()
    present = pack_epoch(bench.epoch)
    for request, data in (
        (Request.ABORT, bytes(4)), (Request.ABORT, present), (Request.ABORT, b"\1"),
        (Request.HELLO, Hello(0, bench.bits).pack()), (Request.SOFT_RESET, b"\0"), (_UNKNOWN, b""),
    ):  # fmt: skip
        sequence = bench.sequence
        bench.send(bench.frame(record))
        with contextlib.suppress(Stalled):
            bench.tell(request, data)
        bench.labels(record, sequence)


@case("HELLO", "It MUST NOT refuse a minor version")
def hello_minor(bench: Bench) -> None:
    """A HELLO of any minor version, also a longer one, is accepted."""
    bench.hello()
    for minor, more in ((0, 0), (c.MINOR, 0), (200, 0), (200, 8)):
        epoch = bench.new_epoch()
        bench.tell(Request.HELLO, Hello(epoch, bench.bits, minor=minor).pack() + bytes(more))
        demand(
            bench.status().epoch == epoch,
            f"a HELLO of version 1.{minor} with {HELLO_SIZE + more} bytes is not accepted",
        )


@case(
    "HELLO", "HELLO is accepted at any time and begins a new session: whatever was under way is thrown away"
)
def hello_ends_all(bench: Bench) -> None:
    """HELLO ends frames in flight and a half-sent message, as a killed host leaves them."""
    record = bench.session()
    bench.send(bench.frame(record))
    half = bench.frame(record)
    bench.send(half[: len(half) // 2 // c.PACKET * c.PACKET or c.PACKET // 4])
    bench.session()
    in_flight = bench.status().in_flight
    demand(in_flight == 0, f"after HELLO GET_STATUS says {in_flight} requests in flight instead of 0")
    bench.serve(record)
    bench.send(bench.frame(record))
    bench.answer(may_be_old=False)


@case("GET_STATUS", "FRAMEs accepted since power-up")
def status_counts(bench: Bench) -> None:
    """GET_STATUS has its length and counts FRAMEs, RESULTs, ERRORs and the next sequence."""
    data = bench.ask(Request.GET_STATUS)
    demand(len(data) >= STATUS_SIZE, f"GET_STATUS has {len(data)} bytes instead of {STATUS_SIZE}")
    record = bench.session()
    before = bench.status()
    bench.serve(record, 3)
    sequence = bench.sequence
    bench.send(bench.frame(record, model_id=record.model_id ^ 1))
    bench.expect_error(c.Code.WRONG_MODEL, sequence)
    status = bench.status()
    for name, is_, due in (
        ("FRAMEs accepted", status.frames - before.frames, 3),
        ("RESULTs made", status.results - before.results, 3),
        ("ERRORs made", status.errors - before.errors, 1),
        ("code of the last ERROR", status.last_error, c.Code.WRONG_MODEL),
        ("next sequence", status.next_sequence, 5),
    ):  # fmt: skip
        demand(is_ == due, f"after 3 frames and an ERROR GET_STATUS says for {name} {is_} instead of {due}")
    bench.serve(record)
    last = bench.status().last_error
    demand(
        last == c.Code.WRONG_MODEL,
        f"after a RESULT GET_STATUS says for the code of the last ERROR {last} instead of "
        f"{c.Code.WRONG_MODEL.value}",
    )


@case("ABORT and SOFT_RESET", "as after HELLO, nothing is in flight and the next sequence is 1")
def abort(bench: Bench) -> None:
    """ABORT ends what is in flight; the new epoch begins with sequence 1 and works."""
    record = bench.session()
    sessions = bench.status().sessions
    bench.send(bench.frame(record), bench.frame(record)[: c.PACKET // 4])
    bench.abort()
    status = bench.status()
    for name, is_, due in (
        ("state", status.state, c.State.IN_SESSION), ("epoch", status.epoch, bench.epoch),
        ("next sequence", status.next_sequence, 1), ("requests in flight", status.in_flight, 0),
        ("sessions begun", status.sessions, sessions),
    ):  # fmt: skip
        demand(is_ == due, f"after ABORT GET_STATUS says for {name} {is_:#x} instead of {due:#x}")
    bench.serve(record, 2)


@case(
    "ABORT and SOFT_RESET",
    "the device throws away every request and every answer of the old epoch",
    catches=("late-answer",),
)
def abort_leaves_nothing(bench: Bench) -> None:
    """Once an answer of the new epoch has come, none of the old one follows."""
    record = bench.session()
    for _ in range(2):
        bench.serve(record)
        bench.send(bench.frame(record))
        bench.abort()
        bench.serve(record)
        bench.send(bench.frame(record))
        bench.answer(may_be_old=False)


@case("ABORT and SOFT_RESET", "Features, encoding, active model and an unfinished upload stay")
def abort_keeps(bench: Bench) -> None:
    """ABORT leaves the session's encoding and features as HELLO chose them."""
    record, told = bench.session(), bench.capabilities()
    for bits in told.mask_bits:
        if record.mask.classes <= 1 << bits:
            bench.session(bits, told.features & Feature.PAYLOAD_CRC)
            bench.serve(record)
            bench.abort()
            bench.serve(record)


@case("ABORT and SOFT_RESET", "**ABORT** with a new epoch, not 0 and not the present one")
def abort_refused(bench: Bench) -> None:
    """ABORT with epoch 0, with the present epoch or without a session changes nothing."""
    bench.hello()
    # Sequence 2 is due now: an ABORT that was obeyed shows, whatever its epoch.
    bench.send(bench.message(UNKNOWN_REQUEST))
    bench.expect_error(c.Code.UNSUPPORTED, 1)
    bench.refuses(Request.ABORT, pack_epoch(0), "an ABORT with epoch 0")
    bench.refuses(Request.ABORT, pack_epoch(bench.epoch), "an ABORT with the present epoch")
    bench.tell(Request.SOFT_RESET)
    bench.refuses(Request.ABORT, pack_epoch(bench.new_epoch()), "an ABORT without a session")


@case("ABORT and SOFT_RESET", "as if just powered up, but without leaving the bus: no session, counters 0")
def soft_reset(bench: Bench) -> None:
    """SOFT_RESET ends the session and sets the counters to 0; the model stays."""
    record = bench.session()
    bench.serve(record)
    bench.tell(Request.SOFT_RESET)
    status = bench.status()
    for name in ("state", "in_flight", "frames", "results", "errors", "bad_payloads", "stale", "sessions"):
        value = getattr(status, name)
        demand(value == 0, f"after SOFT_RESET GET_STATUS says for {name.replace('_', ' ')} {value}")
    demand(bench.capabilities().model == record, "the active model is another one after SOFT_RESET")
    try:
        bench.send(bench.frame(record))
    except TransferFailed:  # nor need it be taken
        bench.wire.clear_halts()
    bench.silence("a FRAME without a session")
    bench.session()
    bench.serve(record)


@case(_EP0, "MUST allow each 1 s at most", catches=("mute-control", "stall-control"))
def requests_after_work(bench: Bench) -> None:
    """Every request is answered within 1 s, also after a run of frames and while one is in flight."""
    record = bench.session()
    for _ in range(MANY):
        sequence = bench.sequence
        bench.send(bench.frame(record))
        bench.status()
        bench.expect(c.Type.RESULT, sequence)
    bench.send(bench.frame(record))
    bench.capabilities()
    bench.status()
    bench.abort()
    bench.tell(Request.SOFT_RESET)
    bench.session()
    bench.serve(record)

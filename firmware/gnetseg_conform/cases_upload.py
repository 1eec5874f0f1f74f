"""What the page demands of the upload of a model.

All but the case without MODEL_UPLOAD are destructive: an unfinished upload that the device may hold is lost.
Most upload a *dummy*, whose bytes do not have the SHA-256 that is announced: it can never become active.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link import constants as c
from gnetsegd.link.constants import Code, Feature, Request, Type
from gnetsegd.link.errors import LinkError
from gnetsegd.link.header import HEADER_SIZE
from gnetsegd.link.model_upload import (
    OFFSET_SIZE,
    ModelRecord,
    pack_chunk,
    parse_progress,
    parse_record,
)

from .registry import case
from .verdict import Skip, demand

if TYPE_CHECKING:
    from .bench import Bench

_UPLOAD = "Model upload"
_ERRORS = "Errors"
_LOSES = "an unfinished upload is lost"
_PIECE = 1024
_PIECES = 3


@dataclass(frozen=True, slots=True)
class Dummy:
    """A model that no device takes: its record, its bytes, and how many of them go in a chunk."""

    record: ModelRecord
    content: bytes
    piece: int

    def chunk(self, number: int) -> bytes:
        """Payload of that MODEL_CHUNK."""
        offset = number * self.piece
        return pack_chunk(offset, self.content[offset : offset + self.piece])


def _dummy(bench: Bench) -> Dummy:
    """``Skip`` where the device takes no model."""
    told = bench.capabilities()
    if not told.features & Feature.MODEL_UPLOAD:
        raise Skip("MODEL_UPLOAD is not offered")
    piece = min(told.max_chunk, told.max_payload - OFFSET_SIZE, told.max_model // _PIECES, _PIECE)
    if piece < 1:
        raise Skip("the device says that it takes no model")
    content = bench.random.randbytes(_PIECES * piece)
    sha256 = hashlib.sha256(content + b"not these bytes").digest()
    if told.model:
        record = replace(told.model, sha256=sha256, size=len(content))
    else:
        code = next(code for code in (0, 2, 3) if code in told.pixel_formats)
        spec = FrameSpec(8, 8, c.PIXEL_FORMAT_NAMES[code])
        record = ModelRecord(sha256, len(content), spec, MaskFormat(8, 8, 8, 2))
    return Dummy(record, content, piece)


def _begin(bench: Bench, record: ModelRecord) -> int:
    """MODEL_BEGIN; the offset that the device wants next."""
    sequence = bench.sequence
    bench.send(bench.message(Type.MODEL_BEGIN, record.pack()))
    return _progress(bench, sequence, record.size)


def _write(bench: Bench, dummy: Dummy, number: int) -> int:
    sequence = bench.sequence
    bench.send(bench.message(Type.MODEL_CHUNK, dummy.chunk(number)))
    return _progress(bench, sequence, dummy.record.size)


def _progress(bench: Bench, sequence: int, size: int) -> int:
    answer = bench.expect(Type.MODEL_PROGRESS, sequence, bench.times.begin_s)
    demand(bool(answer.header.flags & c.FLAG_CRC), "a MODEL_PROGRESS has no CRC")
    try:
        wanted, told = parse_progress(answer.payload)
    except LinkError as error:
        demand(False, str(error))
    demand(told == size, f"MODEL_PROGRESS says that the model has {told} bytes instead of {size}")
    return wanted


def _held(wanted: int, due: int, when: str) -> None:
    demand(wanted == due, f"{when} the device wants byte {wanted} next instead of {due}")


def _spoil(bench: Bench, dummy: Dummy) -> None:
    """Send the rest of the dummy and have it refused: no upload is left."""
    wanted = _begin(bench, dummy.record)
    for number in range(wanted // dummy.piece, _PIECES):
        _write(bench, dummy, number)
    sequence = bench.sequence
    bench.send(bench.message(Type.MODEL_COMMIT, dummy.record.sha256))
    bench.expect_error(Code.BAD_HASH, sequence, bench.times.commit_s)


@case("Features", "Without it the device has the model that it has")
def upload_not_offered(bench: Bench) -> None:
    """Without MODEL_UPLOAD each MODEL_* is answered with UNSUPPORTED."""
    if bench.capabilities().features & Feature.MODEL_UPLOAD:
        raise Skip("MODEL_UPLOAD is offered")
    bench.hello()
    for sequence, kind in enumerate((Type.MODEL_BEGIN, Type.MODEL_CHUNK, Type.MODEL_COMMIT), 1):
        bench.send(bench.message(kind, bytes(64)))
        bench.expect_error(Code.UNSUPPORTED, sequence, bench.times.commit_s)


@case(_ERRORS, "CHUNK or COMMIT without BEGIN, or COMMIT before the last byte", changes=_LOSES)
def upload_not_begun(bench: Bench) -> None:
    """CHUNK and COMMIT without BEGIN, and COMMIT before the last byte, are answered with NO_UPLOAD."""
    dummy = _dummy(bench)
    bench.hello()
    _spoil(bench, dummy)
    for kind, payload in ((Type.MODEL_CHUNK, dummy.chunk(0)), (Type.MODEL_COMMIT, dummy.record.sha256)):
        sequence = bench.sequence
        bench.send(bench.message(kind, payload))
        bench.expect_error(Code.NO_UPLOAD, sequence, bench.times.commit_s)
    _begin(bench, dummy.record)
    _write(bench, dummy, 0)
    sequence = bench.sequence
    bench.send(bench.message(Type.MODEL_COMMIT, dummy.record.sha256))
    bench.expect_error(Code.NO_UPLOAD, sequence, bench.times.commit_s)


@case(
    _UPLOAD, "MODEL_BEGIN has 64 bytes of payload, MODEL_COMMIT 32, MODEL_CHUNK 4 and at most", changes=_LOSES
)
def upload_lengths(bench: Bench) -> None:
    """A MODEL_* of another length is answered with BAD_FORMAT and changes nothing."""
    dummy, told = _dummy(bench), bench.capabilities()
    bench.hello()
    _begin(bench, dummy.record)
    _write(bench, dummy, 0)
    bad = [
        (Type.MODEL_BEGIN, dummy.record.pack()[:-1]),
        (Type.MODEL_BEGIN, dummy.record.pack() + b"\0"),
        (Type.MODEL_CHUNK, b"\0\0\0"),
        (Type.MODEL_COMMIT, dummy.record.sha256[:-1]),
    ]
    if told.max_chunk + 5 <= told.max_payload:
        bad.append((Type.MODEL_CHUNK, pack_chunk(dummy.piece, bytes(told.max_chunk + 1))))
    for kind, payload in bad:
        sequence = bench.sequence
        bench.send(bench.message(kind, payload))
        bench.expect_error(Code.BAD_FORMAT, sequence, bench.times.commit_s)
    _held(_begin(bench, dummy.record), dummy.piece, "after requests of wrong lengths")


@case("Features", "MODEL_* messages and what answers them, an ERROR too, have the CRC always", changes=_LOSES)
def upload_has_crc(bench: Bench) -> None:
    """A MODEL_* without a CRC, or with a wrong one, is answered with BAD_PAYLOAD, which has one itself."""
    dummy = _dummy(bench)
    bench.hello()
    spoiled = bytearray(bench.message(Type.MODEL_BEGIN, dummy.record.pack()))
    spoiled[40] ^= 1
    for message in (bytes(spoiled), bench.message(Type.MODEL_BEGIN, dummy.record.pack(), flags=0)):
        bench.send(message)
    # Both were in flight at once: the second one is refused for that, or for its CRC.
    bench.expect_error(Code.BAD_PAYLOAD, 1)
    second = bench.expect(Type.ERROR, 2)
    demand(
        second.header.code in (Code.BAD_PAYLOAD, Code.NO_CREDIT),
        f"a MODEL_BEGIN without a CRC is answered with {second.describe()}",
    )
    _begin(bench, dummy.record)
    for number in range(_PIECES):
        _refused_without(bench, Type.MODEL_CHUNK, dummy.chunk(number))
        _held(_write(bench, dummy, number), (number + 1) * dummy.piece, "after a chunk")
    _refused_without(bench, Type.MODEL_COMMIT, dummy.record.sha256)
    _held(_begin(bench, dummy.record), dummy.record.size, "after a MODEL_COMMIT that was refused for its CRC")


def _refused_without(bench: Bench, kind: Type, payload: bytes) -> None:
    """Once with a wrong CRC, once with none."""
    spoiled = bytearray(bench.message(kind, payload))
    spoiled[HEADER_SIZE] ^= 1
    _refused(bench, kind, bytes(spoiled))
    _refused(bench, kind, bench.message(kind, payload, flags=0))


def _refused(bench: Bench, kind: Type, message: bytes) -> None:
    bench.send(message)
    answer = bench.expect_error(Code.BAD_PAYLOAD, bench.sequence - 1, bench.times.commit_s)
    demand(bool(answer.header.flags & c.FLAG_CRC), f"an ERROR that answers a {kind.name} has no CRC")


@case("Sequence and credits", "of which at most one MODEL_*", should=True, changes=_LOSES)
def one_upload_request(bench: Bench) -> None:
    """A second MODEL_* in flight is answered with NO_CREDIT."""
    dummy = _dummy(bench)
    bench.hello()
    if bench.capabilities().slots < 2:
        raise Skip("the device has one slot only")
    bench.send(
        bench.message(Type.MODEL_BEGIN, dummy.record.pack()), bench.message(Type.MODEL_CHUNK, dummy.chunk(0))
    )
    _progress(bench, 1, dummy.record.size)
    bench.expect_error(Code.NO_CREDIT, 2)
    _held(_begin(bench, dummy.record), 0, "after a chunk that had no credit")


@case(_ERRORS, "larger than the device can hold", changes=_LOSES)
def model_too_large(bench: Bench) -> None:
    """A model that is larger than CAPABILITIES allows is answered with MODEL_TOO_LARGE."""
    dummy, most = _dummy(bench), bench.capabilities().max_model
    if most == 0xFFFFFFFF:
        raise Skip("no model can be too large for this device")
    bench.hello()
    bench.send(bench.message(Type.MODEL_BEGIN, replace(dummy.record, size=most + 1).pack()))
    bench.expect_error(Code.MODEL_TOO_LARGE, 1)


@case(_ERRORS, "or the record is none, or names a picture that the device does not take", changes=_LOSES)
def record_refused(bench: Bench) -> None:
    """A model record that is none is answered with MODEL_REFUSED."""
    dummy = _dummy(bench)
    bench.hello()
    for place, value in ((42, 1), (40, 9), (36, 0), (46, 0)):  # classes, pixel format, width, mask's height
        record = bytearray(dummy.record.pack())
        record[place : place + (1 if place == 40 else 2)] = value.to_bytes(1 if place == 40 else 2, "little")
        sequence = bench.sequence
        bench.send(bench.message(Type.MODEL_BEGIN, bytes(record)))
        bench.expect_error(Code.MODEL_REFUSED, sequence)


@case(_UPLOAD, "more if it has a part of the same SHA-256 (resume)", changes=_LOSES)
def upload_resumed(bench: Bench) -> None:
    """An unfinished upload stays over ABORT, HELLO and SOFT_RESET, and is resumed where it was."""
    dummy = _dummy(bench)
    bench.hello()
    _held(_begin(bench, dummy.record), 0, "for a new model")
    _held(_write(bench, dummy, 0), dummy.piece, "after the first chunk")
    status = bench.status()
    demand(
        (status.upload_offset, status.upload_size) == (dummy.piece, dummy.record.size),
        f"GET_STATUS says {status.upload_offset} of {status.upload_size} bytes of the upload instead of "
        f"{dummy.piece} of {dummy.record.size}",
    )
    bench.abort()
    _held(_begin(bench, dummy.record), dummy.piece, "after ABORT")
    bench.hello()
    _held(_begin(bench, dummy.record), dummy.piece, "after HELLO")
    bench.tell(Request.SOFT_RESET)
    bench.hello()
    _held(_begin(bench, dummy.record), dummy.piece, "after SOFT_RESET")
    _held(_write(bench, dummy, 1), 2 * dummy.piece, "after the second chunk")


@case(_ERRORS, "not the offset that was due", changes=_LOSES)
def bad_offset(bench: Bench) -> None:
    """A chunk at another offset is answered with BAD_OFFSET and is not taken."""
    dummy = _dummy(bench)
    bench.hello()
    _begin(bench, dummy.record)
    _write(bench, dummy, 0)
    for number in (0, 2):
        sequence = bench.sequence
        bench.send(bench.message(Type.MODEL_CHUNK, dummy.chunk(number)))
        bench.expect_error(Code.BAD_OFFSET, sequence)
    _held(_begin(bench, dummy.record), dummy.piece, "after chunks at other offsets")


@case(_UPLOAD, "a MODEL_BEGIN with another SHA-256 replaces an unfinished one", changes=_LOSES)
def upload_replaced(bench: Bench) -> None:
    """MODEL_BEGIN of another model, or of another record of the same, begins a new upload."""
    dummy = _dummy(bench)
    bench.hello()
    _begin(bench, dummy.record)
    _write(bench, dummy, 0)
    mask = dummy.record.mask
    other = replace(dummy.record, mask=replace(mask, classes=3 if mask.classes == 2 else 2))
    _held(_begin(bench, other), 0, "for another record of the same SHA-256")
    sha256 = hashlib.sha256(dummy.record.sha256).digest()
    _held(_begin(bench, replace(dummy.record, sha256=sha256)), 0, "for another model")


@case(_ERRORS, "the bytes do not have the SHA-256 that was announced", changes=_LOSES)
def bad_hash(bench: Bench) -> None:
    """A model of another SHA-256 is answered with BAD_HASH and thrown away; the old one serves on."""
    dummy = _dummy(bench)
    bench.hello()
    _spoil(bench, dummy)
    status = bench.status()
    demand(status.upload_size == 0, f"after BAD_HASH {status.upload_offset} bytes of the upload are left")
    _held(_begin(bench, dummy.record), 0, "after BAD_HASH")
    record = bench.capabilities().model
    if record:
        bench.serve(bench.session())


@case("Descriptors", "It MUST NOT re-enumerate to take a model", catches=("unplug-upload",), changes=_LOSES)
def upload_stays_on_bus(bench: Bench) -> None:
    """Through an upload the device stays on the bus, and the old model answers FRAMEs between chunks."""
    dummy = _dummy(bench)
    record = bench.session()
    address = bench.wire.device.address
    _begin(bench, dummy.record)
    for number in range(_PIECES - 1):
        _write(bench, dummy, number)
        bench.serve(record)
        sequence = bench.sequence
        bench.send(bench.frame(record, model_id=dummy.record.model_id))
        bench.expect_error(Code.WRONG_MODEL, sequence)
    _spoil(bench, dummy)
    bench.serve(record)
    demand(bench.wire.device.address == address, "the device has another address on the bus")


@case(_UPLOAD, "checks the SHA-256, loads the network, makes it active, answers MODEL_READY",
      changes="the model given with --model becomes the active one")  # fmt: skip
def upload_committed(bench: Bench) -> None:
    """A whole upload makes the model active: MODEL_READY within 5 s, then FRAMEs have to name it."""
    _dummy(bench)
    if bench.bundle is None:
        raise Skip("no model was given; give one that the device can load with --model BUNDLE")
    bundle, told = bench.bundle, bench.capabilities()
    record = ModelRecord.of(bundle)
    if record.size > told.max_model:
        raise Skip(f"the model has {record.size} bytes, the device holds at most {told.max_model}")
    if c.PIXEL_FORMAT_CODES[record.input.pixel_format] not in told.pixel_formats:
        raise Skip(f"the model's pictures are {record.input.pixel_format}, which the device does not take")
    longest = min(told.max_chunk, told.max_payload - OFFSET_SIZE)
    old = told.model
    bench.hello()
    wanted = _begin(bench, record)
    while wanted < record.size:
        sequence = bench.sequence
        piece = bundle.content[wanted : wanted + longest]
        bench.send(bench.message(Type.MODEL_CHUNK, pack_chunk(wanted, piece)))
        _held(_progress(bench, sequence, record.size), wanted + len(piece), "after a chunk")
        wanted += len(piece)
    sequence = bench.sequence
    bench.send(bench.message(Type.MODEL_COMMIT, record.sha256))
    answer = bench.expect(Type.MODEL_READY, sequence, bench.times.commit_s)
    demand(bool(answer.header.flags & c.FLAG_CRC), "the MODEL_READY has no CRC")
    demand(answer.payload == record.pack(), "MODEL_READY has another record than the one that was sent")
    try:
        active = parse_record(bench.ask(Request.CAPABILITIES)[32:96])
    except LinkError as error:
        demand(False, f"CAPABILITIES after MODEL_READY: {error}")
    demand(active == record, "CAPABILITIES has another active model after MODEL_READY")
    bench.session()
    bench.serve(record, 2)
    if old and old.model_id != record.model_id:
        sequence = bench.sequence
        bench.send(bench.frame(old))
        bench.expect_error(Code.WRONG_MODEL, sequence)


@case(_UPLOAD, "keep committed models by their hash", should=True, changes=_LOSES)
def model_kept(bench: Bench) -> None:
    """A committed model is kept by its hash: MODEL_BEGIN of it asks for no byte again."""
    _dummy(bench)
    record = bench.model()
    bench.hello()
    _held(_begin(bench, record), record.size, "for the model that is active")

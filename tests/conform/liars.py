"""Devices that lie: for each case that no fault of the mock device is for, one that breaks what it checks."""

# A lie puts a function in the place of one device's method.
# mypy: disable-error-code="method-assign"

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any
from zlib import crc32

import pytest
from gnetseg_device import engine as engine_module
from gnetseg_device import jobs, parser
from gnetseg_device.device import MockDevice
from gnetseg_device.engine import Limits, Stall
from gnetseg_device.faults import rebuild
from gnetseg_device.parser import Lost
from gnetseg_device.transfer import Reason, TransferError

from gnetsegd.link.constants import FLAG_CRC, Code, Feature, Request, State, Type
from gnetsegd.link.header import Header, read_header

Lie = Callable[[MockDevice, pytest.MonkeyPatch], None]
CAPABILITIES, STATUS = Request.CAPABILITIES, Request.GET_STATUS


def answers(device: MockDevice, change: Callable[[Header, bytes], tuple[Header, bytes]]) -> None:
    """Each answer goes through ``change`` on its way to the host; the CRCs are good again afterwards."""
    real = device.backend.bulk_read

    def bulk_read(handle: Any, ep: int, intf: int, buff: Any, timeout: int) -> int:
        count = real(handle, ep, intf, buff, timeout)
        header = Header(*read_header(memoryview(buff)[:count]))
        changed = rebuild(*change(header, bytes(buff[32 : 32 + header.length])))
        memoryview(buff)[: len(changed)] = changed
        return len(changed)

    device.backend.bulk_read = bulk_read


def other_code(code: Code) -> Lie:
    """Each ERROR of ``code`` is INTERNAL instead."""

    def lie(device: MockDevice, _: pytest.MonkeyPatch) -> None:
        def change(header: Header, payload: bytes) -> tuple[Header, bytes]:
            is_it = header.type == Type.ERROR and header.code == code
            return (header._replace(code=Code.INTERNAL) if is_it else header), payload

        answers(device, change)

    return lie


def errors_without_crc(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    """No ERROR has a CRC, whatever it answers."""

    def change(header: Header, payload: bytes) -> tuple[Header, bytes]:
        flags = header.flags & ~FLAG_CRC if header.type == Type.ERROR else header.flags
        return header._replace(flags=flags), payload

    answers(device, change)


def result(**changed: int) -> Lie:
    """A RESULT has other fields in its header."""

    def lie(device: MockDevice, _: pytest.MonkeyPatch) -> None:
        answers(device, lambda header, payload: (header._replace(**changed), payload))

    return lie


def told(request: int, place: int, value: int) -> Lie:
    """A byte of a request's answer is another one."""

    def lie(device: MockDevice, _: pytest.MonkeyPatch) -> None:
        real = device.engine.control_in

        def control_in(number: int, length: int) -> bytes:
            data = bytearray(real(number, length))
            if number == request:
                data[place] = value
            return bytes(data)

        device.engine.control_in = control_in

    return lie


def cut(request: int, size: int) -> Lie:
    """A request is answered with its first bytes alone."""

    def lie(device: MockDevice, _: pytest.MonkeyPatch) -> None:
        real = device.engine.control_in

        def control_in(number: int, length: int) -> bytes:
            return real(number, min(length, size) if number == request else length)

        device.engine.control_in = control_in

    return lie


def taken(change: Callable[[MockDevice, int, bytes], bytes]) -> Lie:
    """Data of OUT requests go through ``change``, which may refuse them."""

    def lie(device: MockDevice, _: pytest.MonkeyPatch) -> None:
        real = device.engine.control_out
        device.engine.control_out = lambda number, data: real(number, change(device, number, data))

    return lie


def after(request: int, **fields: int) -> Lie:
    """After that request the device's status has other fields."""

    def lie(device: MockDevice, _: pytest.MonkeyPatch) -> None:
        real = device.engine.control_out

        def control_out(number: int, data: bytes) -> None:
            real(number, data)
            if number == request:
                for name, value in fields.items():
                    setattr(device.engine._status, name, value)

        device.engine.control_out = control_out

    return lie


def begins(judge: Callable[[MockDevice, Header], None]) -> Lie:
    """``judge`` sees each header before the engine does, and may lose the place."""

    def lie(device: MockDevice, _: pytest.MonkeyPatch) -> None:
        real = device.engine.begin

        def begin(header: Header) -> memoryview | None:
            judge(device, header)
            return real(header)

        device.engine.begin = begin

    return lie


def receives(change: Callable[[MockDevice, memoryview], memoryview]) -> Lie:
    def lie(device: MockDevice, _: pytest.MonkeyPatch) -> None:
        real = device.engine.receive
        device.engine.receive = lambda data, tag=0.0: real(change(device, data), tag)

    return lie


def lost_if(wrong: Callable[[MockDevice, Header], bool]) -> Lie:
    def judge(device: MockDevice, header: Header) -> None:
        if wrong(device, header):
            raise Lost("not to my taste")

    return begins(judge)


# -- the lies


def another_class(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    real = device.backend.get_interface_descriptor

    def descriptor(*arguments: Any) -> Any:
        found = real(*arguments)
        found.bInterfaceProtocol = 2
        return found

    device.backend.get_interface_descriptor = descriptor


def small_packets(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    real = device.backend.get_endpoint_descriptor

    def descriptor(*arguments: Any) -> Any:
        found = real(*arguments)
        found.wMaxPacketSize = 64
        return found

    device.backend.get_endpoint_descriptor = descriptor


def too_little(device: MockDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest payload is 512 bytes; the pictures have 1440."""
    told(CAPABILITIES, 17, 2)(device, monkeypatch)
    told(CAPABILITIES, 18, 0)(device, monkeypatch)


def the_end_first(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    real = device.port.control_in

    def control_in(*arguments: Any) -> bytes:
        length = arguments[4]
        return real(*arguments[:4], 512, *arguments[5:])[-length:]

    device.port.control_in = control_in


def answers_anything(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    real = device.engine.control_in
    device.engine.control_in = lambda number, length: (
        real(number, length) if number in (CAPABILITIES, STATUS) else b"hello"
    )


def filled_up(_: MockDevice, number: int, data: bytes) -> bytes:
    return data.ljust(16, b"\1") if number == Request.HELLO else data


def any_epoch(_: MockDevice, number: int, data: bytes) -> bytes:
    if number == Request.HELLO and not any(data[12:16]):
        return data[:12] + b"\1\2\3\4"
    return data


def abort_to_anything(_: MockDevice, number: int, data: bytes) -> bytes:
    return b"\1\2\3\4" if number == Request.ABORT and not any(data) else data


def own_minor_only(_: MockDevice, number: int, data: bytes) -> bytes:
    if number == Request.HELLO and data[5] > 1:
        raise Stall("a later minor version")
    return data


def not_while_busy(device: MockDevice, number: int, data: bytes) -> bytes:
    if number == Request.HELLO and device.engine.in_flight:
        raise Stall("busy")
    return data


def forgets_upload(device: MockDevice, number: int, data: bytes) -> bytes:
    if number == Request.ABORT:
        device.store.discard_upload()
    return data


def worse_in_4_bits(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    def change(header: Header, payload: bytes) -> tuple[Header, bytes]:
        return header, bytes(len(payload)) if header.format == 4 else payload

    answers(device, change)


def black_up_sampling(_: MockDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "upsample_yuv420", lambda _planar, out: out.fill(0))


def no_pad(_: MockDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "trailer_size", lambda _payload, flags, *_: 4 if flags & 1 else 0)


def patient_with_floods(_: MockDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "FLOOD_FACTOR", 1000)


def whole_headers_only(_: MockDevice, data: memoryview) -> memoryview:
    return data if len(data) >= 32 else data[:0]


def believes_the_first(device: MockDevice, data: memoryview) -> memoryview:
    device.engine._parser._hunting = False
    return data


def finds_itself_again(device: MockDevice, data: memoryview) -> memoryview:
    if device.engine._status.state == State.LOST:
        device.engine._status.state = State.IN_SESSION
        device.engine._parser.restart(device.engine.epoch)
    return data


def any_sequence(device: MockDevice, header: Header) -> None:
    device.engine._status.next_sequence = header.sequence


def never_looks(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    real = device.engine.complete
    device.engine.complete = lambda intact, tag: real(intact or True, tag)


def many_slots(device: MockDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    one_slot_more(device, monkeypatch, 13)


def one_slot_more(device: MockDevice, monkeypatch: pytest.MonkeyPatch, more: int = 1) -> None:
    defects = device.port._shared.defects
    slots = device.engine.limits.slots
    defects._made_with = dataclasses.replace(device.engine.limits, slots=slots + more)
    device.engine._made_with = defects._made_with
    device.engine._make_layout()
    told(CAPABILITIES, 12, slots)(device, monkeypatch)
    told(STATUS, 2, slots)(device, monkeypatch)


def stalls_clear_halt(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    def clear_halt(*_: Any) -> None:
        raise TransferError(Reason.STALL)

    device.port.clear_halt = clear_halt


def forgets_in_reset(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    real = device.port.reset

    def reset(attachment: int) -> None:
        device.store.wipe()
        real(attachment)

    device.port.reset = reset


def goes_on_with_the_old(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    real = device.store.begin
    device.store.begin = lambda record: device.store.progress[0] or real(record)


def keeps_nothing(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    real = device.store.begin

    def begin(record: Any) -> int:
        real(record)
        device.store._received = bytearray()
        return 0

    device.store.begin = begin


def ready_with_another(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    def change(header: Header, payload: bytes) -> tuple[Header, bytes]:
        return header, bytes(len(payload)) if header.type == Type.MODEL_READY else payload

    answers(device, change)


def hello_again(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    """ABORT begins with all bits and no features again."""
    real = device.engine._abort

    def abort(epoch: int) -> None:
        real(epoch)
        device.engine._features, device.engine._bits = 0, 8
        device.engine._make_layout()

    device.engine._abort = abort


def clears_first(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    """An ABORT that is refused has thrown away what was in flight."""
    real = device.engine._abort

    def abort(epoch: int) -> None:
        status = device.engine._status
        before = status.epoch, status.next_sequence
        device.engine._clear(epoch)
        status.epoch, status.next_sequence = before
        device.engine._parser.restart(before[0])
        real(epoch)

    device.engine._abort = abort


def takes_over_first(fields: str) -> Lie:
    """A HELLO that is refused has changed the session's encoding or features."""

    def lie(device: MockDevice, _: pytest.MonkeyPatch) -> None:
        real = device.engine._hello

        def hello(data: bytes) -> None:
            if fields == "bits" and data[6:7] in (b"\1", b"\2", b"\4"):
                device.engine._bits = data[6]
                device.engine._make_layout()
            if fields == "features" and len(data) == 16:
                device.engine._features = data[8]
            real(data)

        device.engine._hello = hello

    return lie


def a_frame_late(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    """Each mask of a session but the first is that of the picture before."""
    epoch, before = 0, b""

    def change(header: Header, payload: bytes) -> tuple[Header, bytes]:
        nonlocal epoch, before
        if header.type != Type.RESULT:
            return header, payload
        mask = before if header.epoch == epoch else payload
        epoch, before = header.epoch, payload
        return header, mask

    answers(device, change)


def the_next_picture(_: MockDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two frames in flight the first is computed from the picture of the second."""
    real = jobs.FrameJob._compute
    last: list[Any] = []

    def compute(job: jobs.FrameJob) -> None:
        later = [slot for slot in last if slot is not job._slot]
        if later:
            job._slot.pixels[:] = later[-1].pixels
        last[:] = [job._slot]
        real(job)

    monkeypatch.setattr(jobs.FrameJob, "_compute", compute)


def serves_anybody(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    """Without a session a FRAME is answered as well."""
    real = device.engine.receive

    def receive(data: memoryview, tag: float = 0.0) -> None:
        status = device.engine._status
        if status.state == State.NO_SESSION:
            header = Header(*read_header(data))
            device.engine._parser.restart(header.epoch)
            status.epoch, status.next_sequence = header.epoch, header.sequence
            status.state = State.IN_SESSION
        real(data, tag)

    device.engine.receive = receive


def never_looks_at(kind: Type) -> Lie:
    """The payload's CRC of one type of request is not looked at."""

    def lie(device: MockDevice, _: pytest.MonkeyPatch) -> None:
        real = device.engine.complete

        def complete(intact: bool, tag: float) -> None:
            request = device.engine._current
            real(intact or (request is not None and request.kind == kind), tag)

        device.engine.complete = complete

    return lie


def takes_headers_of(good: Callable[[int], bool]) -> Lie:
    """Headers of other lengths than the page allows are taken, too."""

    def lie(_: MockDevice, monkeypatch: pytest.MonkeyPatch) -> None:
        real = parser.read_header

        def read(data: Any, start: int = 0) -> Any:
            head = bytearray(data[start : start + 32])
            if len(head) == 32 and good(head[3]) and crc32(head[:28]) == int.from_bytes(head[28:], "little"):
                head[3] = 32
                head[28:] = crc32(head[:28]).to_bytes(4, "little")
                return real(memoryview(head))
            return real(data, start)

        monkeypatch.setattr(parser, "read_header", read)

    return lie


def no_crc_on(kind: Type) -> Lie:
    def lie(device: MockDevice, _: pytest.MonkeyPatch) -> None:
        answers(device, lambda h, payload: (h._replace(flags=0) if h.type == kind else h, payload))

    return lie


def looks_at_frames_only(device: MockDevice, header: Header) -> None:
    if header.type != Type.FRAME:
        any_sequence(device, header)


def stays_lost(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    """SOFT_RESET does not end that the place is lost, and HELLO after it neither."""
    real = device.engine._power_up
    engine, lost = device.engine, []

    def power_up() -> None:
        lost.append(engine._status.state == State.LOST)
        real()

    engine._power_up = power_up
    receives(lambda _, data: data[:0] if lost and lost[-1] else data)(device, _)


def aborts_again(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    """An ABORT with the present epoch is obeyed."""
    real = device.engine._abort

    def abort(epoch: int) -> None:
        status = device.engine._status
        if status.state == State.IN_SESSION and epoch == status.epoch:
            device.engine._clear(epoch)
        else:
            real(epoch)

    device.engine._abort = abort


def hello_keeps_the_queue(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    """GET_STATUS goes on counting what was in flight before HELLO."""
    control_out, control_in = device.engine.control_out, device.engine.control_in
    kept = 0

    def out(number: int, data: bytes) -> None:
        nonlocal kept
        kept = device.engine.in_flight if number == Request.HELLO else kept
        control_out(number, data)

    def in_(number: int, length: int) -> bytes:
        data = bytearray(control_in(number, length))
        if number == STATUS:
            data[3] += kept
        return bytes(data)

    device.engine.control_out = out
    device.engine.control_in = in_


def forgets_its_errors(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    """A frame that is taken clears the code of the last ERROR."""

    def judge(device: MockDevice, header: Header) -> None:
        if header.type == Type.FRAME:
            device.engine._status.last_error = 0

    begins(judge)(device, _)


def abort_is_a_session(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    real = device.engine._abort

    def abort(epoch: int) -> None:
        real(epoch)
        device.engine._status.sessions += 1

    device.engine._abort = abort


def any_crc(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    """A FRAME with a CRC that nobody agreed on is taken as one without."""

    def admit(request: Any, header: Header) -> memoryview:
        if not device.engine._features & Feature.PAYLOAD_CRC:
            header = header._replace(flags=header.flags & ~FLAG_CRC)
        return real(request, header)

    real = device.engine._admit_frame
    device.engine._admit_frame = admit


def finds_headers_anywhere(device: MockDevice, data: memoryview) -> memoryview:
    """At the beginning of an epoch a header is taken wherever it stands."""
    if device.engine._parser._hunting:
        at = bytes(data).find(b"GS\1")
        return data[max(at, 0) :]
    return data


#: By case.
LIES: dict[str, Lie] = {
    "interface": another_class,
    "endpoints": small_packets,
    "capabilities-length": told(CAPABILITIES, 6, 1),
    "shorter-request": the_end_first,
    "offered-limits": too_little,
    "active-model": told(STATUS, 12, 0xFF),
    "unknown-request": answers_anything,
    "request-length": taken(filled_up),
    "hello": told(STATUS, 8, 7),
    "hello-refused": taken(any_epoch),
    "hello-minor": taken(own_minor_only),
    "hello-ends-all": taken(not_while_busy),
    "status-counts": told(STATUS, 28, 0xEE),
    "abort": after(Request.ABORT, next_sequence=5),
    "abort-keeps": hello_again,
    "refusal-ends-nothing": clears_first,
    "own-mask": a_frame_late,
    "abort-refused": taken(abort_to_anything),
    "soft-reset": after(Request.SOFT_RESET, sessions=3),
    "result-fields": result(model_id=0x1234),
    "encodings": worse_in_4_bits,
    "encoding-too-small": other_code(Code.BAD_ENCODING),
    "yuv420": black_up_sampling,
    "pad": no_pad,
    "several-transfers": receives(whole_headers_only),
    "unknown-type": other_code(Code.UNSUPPORTED),
    "unknown-flags": lost_if(lambda _, header: bool(header.flags & 0xFC)),
    "longer-header": lost_if(lambda _, header: header.header_length > 32),
    "old-epoch-ignored": lost_if(lambda device, header: header.epoch != device.engine.epoch),
    "tail-thrown-away": receives(believes_the_first),
    "halt-cleared": stalls_clear_halt,
    "port-reset": forgets_in_reset,
    "bad-header": other_code(Code.BAD_HEADER),
    "too-long": other_code(Code.TOO_LONG),
    "bad-sequence": begins(any_sequence),
    "lost-until-abort": receives(finds_itself_again),
    "bad-payload": never_looks,
    "no-credit": many_slots,
    "exact-credit": one_slot_more,
    "far-more": patient_with_floods,
    "wrong-model": other_code(Code.WRONG_MODEL),
    "no-model": other_code(Code.NO_MODEL),
    "bad-format": other_code(Code.BAD_FORMAT),
    "upload-not-offered": other_code(Code.UNSUPPORTED),
    "upload-not-begun": other_code(Code.NO_UPLOAD),
    "upload-lengths": other_code(Code.BAD_FORMAT),
    "upload-has-crc": other_code(Code.BAD_PAYLOAD),
    "one-upload-request": other_code(Code.NO_CREDIT),
    "model-too-large": other_code(Code.MODEL_TOO_LARGE),
    "record-refused": other_code(Code.MODEL_REFUSED),
    "upload-resumed": taken(forgets_upload),
    "bad-offset": other_code(Code.BAD_OFFSET),
    "upload-replaced": goes_on_with_the_old,
    "bad-hash": other_code(Code.BAD_HASH),
    "upload-committed": ready_with_another,
    "model-kept": keeps_nothing,
}


def one_refusal_only(device: MockDevice, _: pytest.MonkeyPatch) -> None:
    """After the first NO_CREDIT the next request is served."""
    seen = 0

    def change(header: Header, payload: bytes) -> tuple[Header, bytes]:
        nonlocal seen
        if header.type != Type.ERROR:
            return header, payload
        seen += 1
        return header._replace(type=Type.RESULT if seen == 2 else Type.ERROR), payload

    answers(device, change)


#: Other ways to break what a case checks: each is caught by it as well.
MORE_LIES: list[tuple[str, Lie]] = [
    ("no-credit", one_refusal_only),
    ("firmware-name", told(CAPABILITIES, 96, 0x7F)),
    ("firmware-name", told(CAPABILITIES, 96, 0x1F)),
    ("slots", told(CAPABILITIES, 12, 17)),
    ("slots", told(STATUS, 2, 1)),
    ("capabilities-version", told(CAPABILITIES, 4, 0)),
    ("capabilities-version", cut(CAPABILITIES, 4)),
    ("capabilities-version", cut(CAPABILITIES, 0)),
    ("capabilities-length", cut(CAPABILITIES, 5)),
    ("slots", cut(CAPABILITIES, 12)),
    ("hello", told(STATUS, 0, 0)),
    ("hello", told(STATUS, 3, 1)),
    ("result-fields", result(width=8)),
    ("result-fields", result(format=1)),
    ("result-fields", result(code=1)),
    ("payload-crc", result(flags=0)),
    ("far-more", other_code(Code.NO_CREDIT)),
    ("bad-payload", other_code(Code.BAD_PAYLOAD)),
    ("own-mask", the_next_picture),
    ("hello-refused", takes_over_first("bits")),
    ("hello-refused", takes_over_first("features")),
    ("hello", told(CAPABILITIES, 15, 0)),
    ("soft-reset", serves_anybody),
    ("old-epoch-ignored", told(STATUS, 40, 0)),
    ("bad-header", takes_headers_of(lambda size: size == 28)),
    ("bad-header", takes_headers_of(lambda size: size == 34)),
    ("bad-header", takes_headers_of(lambda size: size > 64)),
    ("longer-header", lost_if(lambda _, header: header.header_length == 36)),
    ("bad-sequence", begins(looks_at_frames_only)),
    ("lost-until-abort", stays_lost),
    ("frame-result", result(flags=2)),
    ("upload-has-crc", errors_without_crc),
    ("upload-has-crc", never_looks_at(Type.MODEL_CHUNK)),
    ("upload-has-crc", never_looks_at(Type.MODEL_COMMIT)),
    ("upload-committed", no_crc_on(Type.MODEL_READY)),
    ("abort-refused", aborts_again),
    ("hello-ends-all", hello_keeps_the_queue),
    ("status-counts", forgets_its_errors),
    ("abort", abort_is_a_session),
    ("bad-payload", any_crc),
    ("tail-thrown-away", receives(finds_headers_anywhere)),
]

#: Cases that want another device than the usual one.
OPTIONS: dict[str, dict[str, Any]] = {
    "no-model": {"model": None},
    "upload-not-offered": {"limits": Limits(features=int(Feature.PAYLOAD_CRC))},
}

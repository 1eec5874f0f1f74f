"""What the device's engine promises: bytes in, bytes out, nothing but docs/protocol.md between."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gnetseg_device.device import install
from gnetseg_device.engine import Engine, Limits, Stall
from gnetseg_device.jobs import Job
from gnetseg_device.model_store import FolderStore, ModelStore, Refused
from gnetseg_device.networks import FakeNetwork
from gnetseg_device.pixels import upsample_yuv420
from numpy.typing import NDArray

from gnetsegd.errors import ModelError
from gnetsegd.frame import MaskFormat
from gnetsegd.link import constants as c
from gnetsegd.link.constants import Code, Request, State, Type
from gnetsegd.link.header import HEADER_SIZE, Header, message_size, pack_message, write_header, write_trailer
from gnetsegd.link.model_upload import ModelRecord, pack_chunk, parse_progress
from gnetsegd.link.requests import Hello, Status, pack_epoch, parse_capabilities, parse_status
from gnetsegd.message import pack_mask, unpack_mask
from gnetsegd.model import ModelBundle

from .host import EPOCH, bundle, expected, frame_message, picture, split

A = bundle(b"model A")
B = bundle(b"model B, another one")
PIXELS = picture(A)


class Wire:
    """An engine in session, and the least that a transport does."""

    def __init__(
        self,
        model: ModelBundle | None = A,
        *,
        bits: int = 8,
        features: int = 0,
        limits: Limits | None = None,
        store: ModelStore | None = None,
        network: Any = FakeNetwork,
        hello: bool = True,
    ) -> None:
        self.store = store or ModelStore()
        if model:
            install(self.store, model)
        self.engine = Engine(self.store, network, limits)
        if hello:
            self.engine.control_out(Request.HELLO, Hello(EPOCH, bits, features).pack())

    def send(self, message: bytes, piece: int = 1 << 20) -> None:
        for start in range(0, len(message), piece):
            self.engine.receive(memoryview(message)[start : start + piece])

    def frame(self, sequence: int = 1, pixels: NDArray[np.uint8] = PIXELS, **fields: Any) -> None:
        self.send(frame_message(A, pixels, sequence, **fields))

    def compute(self) -> None:
        while job := self.engine.take_job():
            job.run()
            self.engine.finish(job)

    def answers(self) -> list[tuple[Header, bytes]]:
        self.compute()
        found = []
        while request := self.engine.answer():
            assert request.message is not None
            assert len(request.message) % 512
            found.append(split(request.message))
            self.engine.sent()
            self.compute()
        return found

    def answer(self) -> tuple[Header, bytes]:
        (only,) = self.answers()
        return only

    def code(self) -> int:
        header, _ = self.answer()
        assert header.type == Type.ERROR
        return header.code

    def status(self) -> Status:
        return parse_status(self.engine.control_in(Request.GET_STATUS, 512))

    def abort(self, epoch: int) -> None:
        self.engine.control_out(Request.ABORT, pack_epoch(epoch))

    def model(self, kind: Type, sequence: int, payload: bytes, epoch: int = EPOCH) -> tuple[Header, bytes]:
        self.send(pack_message(kind, epoch, sequence, payload, flags=c.FLAG_CRC))
        return self.answer()

    def upload(self, model: ModelBundle, sequence: int = 1, chunk: int = 8, epoch: int = EPOCH) -> int:
        """Sends all but the COMMIT; the next sequence."""
        header, payload = self.model(Type.MODEL_BEGIN, sequence, ModelRecord.of(model).pack(), epoch)
        assert header.type == Type.MODEL_PROGRESS
        wanted, size = parse_progress(payload)
        while wanted < size:
            sequence += 1
            data = pack_chunk(wanted, model.content[wanted : wanted + chunk])
            header, payload = self.model(Type.MODEL_CHUNK, sequence, data, epoch)
            assert header.type == Type.MODEL_PROGRESS
            wanted, size = parse_progress(payload)
        return sequence + 1


# -- the normal road


def test_a_frame_comes_back_as_its_own_mask_with_epoch_sequence_and_model() -> None:
    wire = Wire()
    wire.frame(1)
    header, payload = wire.answer()
    assert header == Header(
        Type.RESULT, 0, 8, 0, EPOCH, 1, A.mask.size_bytes, 32, 16, ModelRecord.of(A).model_id
    )
    assert payload == expected(A, PIXELS).tobytes()


def test_answers_come_in_the_order_of_the_requests_each_for_its_own_frame() -> None:
    wire = Wire()
    pictures = [picture(A, seed) for seed in range(3)]
    for index, pixels in enumerate(pictures):
        wire.frame(index + 1, pixels)
    for index, (header, payload) in enumerate(wire.answers()):
        assert header.sequence == index + 1
        assert payload == expected(A, pictures[index]).tobytes()


def test_an_error_waits_for_its_turn_behind_frames_that_are_still_computed() -> None:
    wire = Wire()
    wire.frame(1)
    wire.send(pack_message(0x55, EPOCH, 2, b"what is this?"))
    assert wire.engine.answer() is None
    (first, _), (second, _) = wire.answers()
    assert (first.type, second.type, second.sequence) == (Type.RESULT, Type.ERROR, 2)


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
@pytest.mark.parametrize("width", [32, 29])
@pytest.mark.parametrize("features", [0, c.Feature.PAYLOAD_CRC])
def test_masks_are_packed_on_the_device_as_messages_pack_them(bits: int, width: int, features: int) -> None:
    model = bundle(width=width, classes=min(1 << bits, 255))
    wire = Wire(model, bits=bits, features=features)
    pixels = picture(model, 3)
    wire.send(frame_message(model, pixels, 1, flags=features))
    header, payload = wire.answer()
    assert (header.type, header.format, header.flags) == (Type.RESULT, bits, features)
    assert payload == pack_mask(expected(model, pixels), bits)
    mask = MaskFormat(width, 16, bits, model.mask.classes)
    assert (unpack_mask(payload, mask) == expected(model, pixels)).all()


@pytest.mark.parametrize("piece", [512, 1024, 16384])
def test_a_message_may_come_in_pieces_of_whole_packets(piece: int) -> None:
    wire = Wire(features=c.Feature.PAYLOAD_CRC)
    wire.send(frame_message(A, PIXELS, 1, flags=c.FLAG_CRC), piece)
    wire.send(frame_message(A, PIXELS, 2, flags=c.FLAG_CRC), piece)
    assert [header.sequence for header, _ in wire.answers()] == [1, 2]


def test_header_and_payload_may_be_transfers_of_their_own() -> None:
    wire = Wire()
    for sequence in (1, 2):
        message = frame_message(A, PIXELS, sequence)
        wire.engine.receive(memoryview(message)[:HEADER_SIZE])
        wire.engine.receive(memoryview(message)[HEADER_SIZE:])
    assert [header.type for header, _ in wire.answers()] == [Type.RESULT] * 2


@pytest.mark.parametrize("cut", [1, 13, 28, 31])
@pytest.mark.parametrize("first", [True, False])
def test_a_header_may_come_in_two_pieces(cut: int, first: bool) -> None:
    wire = Wire()
    if not first:
        wire.frame(1)
    sequence = 1 if first else 2
    message = memoryview(frame_message(A, PIXELS, sequence))
    for piece in (message[:cut], message[cut:]):
        wire.engine.receive(piece)
    wire.frame(sequence + 1)
    answers = wire.answers()
    assert [header.sequence for header, _ in answers] == [1, 2, *([] if first else [3])]
    assert {payload for _, payload in answers} == {expected(A, PIXELS).tobytes()}


def test_a_message_may_come_byte_by_byte_once_its_epoch_has_begun() -> None:
    wire = Wire(features=c.Feature.PAYLOAD_CRC)
    wire.frame(1, flags=c.FLAG_CRC)
    wire.send(frame_message(A, PIXELS, 2, flags=c.FLAG_CRC), piece=1)
    assert [header.type for header, _ in wire.answers()] == [Type.RESULT] * 2


def test_a_bad_header_in_two_pieces_loses_the_epoch_as_one_in_one_does() -> None:
    wire = Wire()
    wire.frame(1)
    wire.answers()
    message = bytearray(frame_message(A, PIXELS, 2))
    message[12] ^= 1
    wire.engine.receive(memoryview(message)[:10])
    wire.engine.receive(memoryview(message)[10:])
    header, _ = wire.answer()
    assert (header.code, header.flags) == (Code.BAD_HEADER, c.FLAG_LOST)


@pytest.mark.parametrize("cut", [1, 20, 31])
def test_half_a_header_of_an_old_epoch_is_never_joined_to_a_new_one(cut: int) -> None:
    wire = Wire()
    wire.frame(1)
    wire.answers()
    wire.engine.receive(memoryview(frame_message(A, PIXELS, 2))[:cut])
    wire.abort(2)
    # What was still in a buffer comes after the ABORT: the tail of the old message, less than a header long.
    wire.engine.receive(memoryview(frame_message(A, PIXELS, 2))[-cut:])
    wire.frame(1, epoch=2)
    assert wire.answer()[0].type == Type.RESULT


def test_two_messages_may_come_in_one_read() -> None:
    wire = Wire()
    wire.send(frame_message(A, PIXELS, 1) + frame_message(A, PIXELS, 2))
    assert [header.sequence for header, _ in wire.answers()] == [1, 2]


def test_a_longer_header_of_a_later_minor_version_is_skipped_by_its_length() -> None:
    from zlib import crc32

    message = bytearray(frame_message(A, PIXELS, 1))
    head = message[:28]
    head[3] = 40
    longer = bytes(head) + crc32(head).to_bytes(4, "little") + b"newfield" + bytes(message[32 : 32 + 512])
    assert len(longer) == 552
    wire = Wire()
    wire.send(longer)
    wire.frame(2)
    assert [payload for _, payload in wire.answers()] == [expected(A, PIXELS).tobytes()] * 2


def test_yuv420_is_upsampled_by_the_nearest_neighbour() -> None:
    model = bundle(pixel="YUV444", classes=8)
    planar = np.random.default_rng(1).integers(0, 256, (24, 32), np.uint8)
    out = np.zeros((16, 32, 3), np.uint8)
    upsample_yuv420(planar, out)
    u, v = planar[16:].reshape(2, 8, 16)
    assert (out[..., 0] == planar[:16]).all()
    assert (out[..., 1] == u.repeat(2, 0).repeat(2, 1)).all()
    assert (out[..., 2] == v.repeat(2, 0).repeat(2, 1)).all()
    seen = []

    class Spy(FakeNetwork):
        def run(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
            seen.append(pixels.copy())
            super().run(pixels, out)

    wire = Wire(model, network=Spy)
    identity = ModelRecord.of(model).model_id
    wire.send(
        pack_message(Type.FRAME, EPOCH, 1, planar.tobytes(), pixel=1, width=32, height=16, model_id=identity)
    )
    assert wire.answer()[0].type == Type.RESULT
    assert (seen[0] == out).all()


@pytest.mark.parametrize("pixel", ["YUV444", "RGB"])
def test_the_networks_own_format_goes_to_the_network_as_it_is(pixel: str) -> None:
    model = bundle(pixel=pixel, classes=8)
    wire = Wire(model)
    pixels = picture(model, 7)
    wire.send(frame_message(model, pixels, 1))
    assert wire.answer()[1] == expected(model, pixels).tobytes()


def test_nothing_of_a_frames_size_is_allocated_per_frame() -> None:
    model = bundle(width=224, height=224)
    # The fake network's conversions go through numpy's buffers of 16 KB.
    for bits in (8, 4, 1):
        wire = Wire(model, bits=bits)
        message = bytearray(frame_message(model, picture(model), 1))

        def turn(sequence: int, wire: Wire = wire, message: bytearray = message) -> None:
            write_header(
                message, 0, Type.FRAME, EPOCH, sequence, 50176,
                width=224, height=224, model_id=ModelRecord.of(model).model_id,
            )  # fmt: skip
            wire.engine.receive(memoryview(message))
            wire.compute()
            assert wire.engine.answer()
            wire.engine.sent()

        for sequence in range(1, 10):
            turn(sequence)
        tracemalloc.start()
        try:
            turn(10)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            turn(11)
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        assert peak < 50176 // 2, f"{bits} bits: {peak} bytes"


@pytest.mark.parametrize("classes", [2, 5, 200, 255])
def test_the_fake_network_gives_every_class_so_that_a_wrong_mask_is_seen(classes: int) -> None:
    model = bundle(width=224, height=224, classes=classes)
    labels = expected(model, picture(model))
    assert set(np.unique(labels)) == set(range(classes))
    assert (labels != expected(bundle(b"another", 224, 224, classes=classes), picture(model))).mean() > 0.3
    assert (labels != expected(model, picture(model, 1))).mean() > 0.3


# -- credits and sequences


def test_more_frames_than_slots_are_refused_and_those_within_are_not_hurt() -> None:
    wire = Wire(limits=Limits(slots=2))
    for sequence in (1, 2, 3):
        wire.frame(sequence)
    kinds = [(header.type, header.code) for header, _ in wire.answers()]
    assert kinds == [(Type.RESULT, 0), (Type.RESULT, 0), (Type.ERROR, Code.NO_CREDIT)]
    wire.frame(4)
    assert wire.answer()[0].type == Type.RESULT


def test_a_credit_comes_back_only_when_its_answer_has_left() -> None:
    wire = Wire(limits=Limits(slots=1))
    wire.frame(1)
    wire.compute()
    wire.frame(2)
    (_, first), (second, _) = wire.answers()
    assert first == expected(A, PIXELS).tobytes()
    assert second.code == Code.NO_CREDIT


def test_a_host_that_floods_without_reading_is_cut_off_and_memory_stays_bounded() -> None:
    wire = Wire(limits=Limits(slots=2))
    for sequence in range(1, 1000):
        wire.frame(sequence)
    assert wire.status().state == State.LOST
    assert wire.engine.in_flight < 10
    assert wire.answers()[-1][0].flags & c.FLAG_LOST


@pytest.mark.parametrize("wrong", [1, 3, 0])
def test_a_sequence_that_was_not_due_loses_the_epoch(wrong: int) -> None:
    wire = Wire()
    wire.frame(1)
    wire.answers()
    wire.frame(wrong)
    header, _ = wire.answer()
    assert (header.code, header.flags, header.sequence) == (Code.BAD_SEQUENCE, c.FLAG_LOST, 0)
    wire.frame(2)
    assert wire.answers() == []


def test_after_the_largest_sequence_comes_zero() -> None:
    wire = Wire()
    wire.engine._status.next_sequence = 0xFFFFFFFF
    wire.frame(0xFFFFFFFF)
    wire.frame(0)
    assert [header.sequence for header, _ in wire.answers()] == [0xFFFFFFFF, 0]


def test_a_refused_request_uses_up_its_sequence_and_its_place_in_the_order() -> None:
    wire = Wire(limits=Limits(slots=1))
    wire.frame(1)
    wire.frame(2)
    wire.send(pack_message(0x55, EPOCH, 3))
    wire.frame(4)
    assert [(header.sequence, header.code) for header, _ in wire.answers()] == [
        (1, 0), (2, Code.NO_CREDIT), (3, Code.NO_CREDIT), (4, Code.NO_CREDIT)
    ]  # fmt: skip
    wire.frame(5)
    assert wire.answer()[0].type == Type.RESULT


def test_a_model_request_needs_a_credit_like_any_other() -> None:
    wire = Wire(limits=Limits(slots=2))
    wire.frame(1)
    wire.frame(2)
    wire.send(pack_message(Type.MODEL_BEGIN, EPOCH, 3, ModelRecord.of(B).pack(), flags=c.FLAG_CRC))
    assert [header.code for header, _ in wire.answers()] == [0, 0, Code.NO_CREDIT]
    assert wire.status().upload_size == 0


@pytest.mark.parametrize("slots", [1, 3])
def test_far_more_than_was_granted_is_four_times_as_much(slots: int) -> None:
    wire = Wire(limits=Limits(slots=slots))
    for sequence in range(1, 4 * slots + 1):
        wire.frame(sequence)
    assert wire.status().state == State.IN_SESSION
    wire.frame(4 * slots + 1)
    assert wire.status().state == State.LOST
    header, _ = wire.answers()[-1]
    assert (header.code, header.flags, header.sequence) == (Code.NO_CREDIT, c.FLAG_LOST, 0)


def test_a_device_that_offers_no_slots_refuses_everything_and_keeps_the_place() -> None:
    wire = Wire(limits=Limits(slots=2))
    wire.engine.limits = Limits(slots=0)
    for sequence in range(1, 8):
        wire.frame(sequence)
        assert wire.code() == Code.NO_CREDIT
    assert wire.status().slots == 0
    wire.engine.control_out(Request.HELLO, Hello(2, 1).pack())  # lays its buffers out anew
    wire.engine.limits = Limits(slots=2)
    wire.frame(1, epoch=2)
    wire.frame(2, epoch=2)
    assert [header.type for header, _ in wire.answers()] == [Type.RESULT] * 2


# -- epochs


def test_a_message_of_another_epoch_is_thrown_away_without_an_answer() -> None:
    wire = Wire()
    wire.frame(1)
    wire.frame(1, epoch=EPOCH + 1)
    wire.frame(2)
    assert [header.sequence for header, _ in wire.answers()] == [1, 2]
    assert wire.status().stale == 1


def test_abort_throws_away_what_is_queued_computed_and_half_received() -> None:
    wire = Wire()
    wire.frame(1)
    wire.compute()
    wire.frame(2)
    wire.send(frame_message(A, PIXELS, 3)[:300])
    wire.abort(EPOCH + 1)
    assert wire.answers() == []
    assert wire.status().in_flight == 0
    wire.frame(1, picture(A, 9), epoch=EPOCH + 1)
    header, payload = wire.answer()
    assert (header.epoch, header.sequence) == (EPOCH + 1, 1)
    assert payload == expected(A, picture(A, 9)).tobytes()


def test_a_frame_that_is_aborted_while_the_network_has_it_never_answers_nor_spoils_another() -> None:
    wire = Wire(limits=Limits(slots=1))
    for epoch in range(EPOCH, EPOCH + 4):
        if epoch > EPOCH:
            wire.abort(epoch)
        wire.frame(1, picture(A, 1), epoch=epoch)
        old: Job | None = wire.engine.take_job()
        assert old is not None
        wire.abort(epoch + 100)
        wire.frame(1, picture(A, 2), epoch=epoch + 100)
        assert wire.engine.take_job() is None, "one network, one job at a time"
        old.run()
        wire.engine.finish(old)
        header, payload = wire.answer()
        assert header.epoch == epoch + 100
        assert payload == expected(A, picture(A, 2)).tobytes()


def test_the_tail_of_a_message_that_was_cut_is_thrown_away_after_abort() -> None:
    wire = Wire()
    message = frame_message(A, PIXELS, 1)
    wire.send(message[:512])
    wire.abort(EPOCH + 1)
    wire.send(message[512:])
    # The tail of a whole packet and a header of the old epoch, then the new one in the same read.
    wire.send(bytes(512) + frame_message(A, PIXELS, 1)[:512] + frame_message(A, PIXELS, 1, epoch=EPOCH + 1))
    header, payload = wire.answer()
    assert (header.type, header.epoch) == (Type.RESULT, EPOCH + 1)
    assert payload == expected(A, PIXELS).tobytes()


def test_however_often_a_frame_is_cut_off_no_buffer_is_lost() -> None:
    wire = Wire(limits=Limits(slots=2))
    for epoch in range(EPOCH + 1, EPOCH + 20):
        wire.send(frame_message(A, PIXELS, 1, epoch=epoch - 1)[:400])
        wire.abort(epoch)
    for sequence in (1, 2):
        wire.frame(sequence, epoch=EPOCH + 19)
    assert [header.type for header, _ in wire.answers()] == [Type.RESULT] * 2


def test_the_pixels_under_a_running_network_stay_as_they_are_whatever_comes_meanwhile() -> None:
    wires: list[Wire] = []

    class Interrupted(FakeNetwork):
        def run(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
            before = pixels.copy()
            wires[0].abort(EPOCH + 1)
            for sequence in (1, 2):
                wires[0].frame(sequence, picture(A, 50 + sequence), epoch=EPOCH + 1)
            assert (pixels == before).all()
            super().run(pixels, out)

    wires.append(Wire(limits=Limits(slots=2), network=Interrupted))
    wires[0].frame(1)
    job = wires[0].engine.take_job()
    assert job is not None
    job.run()
    assert job.refused is None


@pytest.mark.parametrize("epoch", [0, EPOCH])
def test_abort_wants_a_new_epoch(epoch: int) -> None:
    wire = Wire()
    with pytest.raises(Stall):
        wire.abort(epoch)


def test_hello_reclaims_a_device_whose_host_was_killed_in_mid_transfer() -> None:
    wire = Wire()
    wire.frame(1)
    wire.send(frame_message(A, PIXELS, 2)[:100])
    wire.engine.control_out(Request.HELLO, Hello(7, 1).pack())
    assert wire.answers() == []
    wire.frame(1, epoch=7)
    header, payload = wire.answer()
    assert (header.epoch, header.format) == (7, 1)
    assert payload == pack_mask(expected(A, PIXELS), 1)


# -- what is not a message


@pytest.mark.parametrize("place", [0, 2, 3, 10, 17, 28])
def test_a_header_that_cannot_be_trusted_loses_the_place_until_abort(place: int) -> None:
    wire = Wire()
    wire.frame(1)
    message = bytearray(frame_message(A, PIXELS, 2))
    message[place] ^= 0x10
    wire.send(bytes(message))
    wire.frame(2)
    (first, _), (second, text) = wire.answers()
    assert first.type == Type.RESULT
    assert (second.code, second.flags, second.sequence) == (Code.BAD_HEADER, c.FLAG_LOST, 0)
    assert text
    assert wire.status().state == State.LOST
    wire.abort(EPOCH + 1)
    wire.frame(1, epoch=EPOCH + 1)
    assert wire.answer()[0].type == Type.RESULT


def test_a_length_over_the_cap_is_refused_before_anything_is_allocated() -> None:
    wire = Wire(limits=Limits(max_payload=1024))
    tracemalloc.start()
    try:
        wire.frame(1)
        wire.answers()
        buffer = bytearray(HEADER_SIZE)
        write_header(buffer, 0, Type.FRAME, EPOCH, 2, 0xFFFFFFF0, width=32, height=16)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        wire.send(bytes(buffer))
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    header, _ = wire.answer()
    assert (header.code, header.flags) == (Code.TOO_LONG, c.FLAG_LOST)
    assert peak < 100_000


def test_a_chunk_over_the_cap_is_refused() -> None:
    wire = Wire(limits=Limits(max_chunk=16))
    record = ModelRecord.of(B).pack()
    assert wire.model(Type.MODEL_BEGIN, 1, record)[0].type == Type.MODEL_PROGRESS
    assert wire.model(Type.MODEL_CHUNK, 2, pack_chunk(0, bytes(17)))[0].code == Code.BAD_FORMAT


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_never_break_the_engine_nor_make_a_result(seed: int) -> None:
    draw = random.Random(seed)
    wire = Wire(limits=Limits(slots=2))
    for epoch in range(EPOCH + 1, EPOCH + 20):
        wire.send(draw.randbytes(draw.randrange(3000)))
        message = bytearray(frame_message(A, PIXELS, 1, epoch=EPOCH))
        message[draw.randrange(32)] ^= 1 << draw.randrange(8)
        wire.send(bytes(message))
        assert all(header.type == Type.ERROR for header, _ in wire.answers())
        wire.abort(epoch)


def test_a_payload_with_a_wrong_crc_makes_no_mask_and_costs_only_that_frame() -> None:
    wire = Wire(features=c.Feature.PAYLOAD_CRC)
    message = bytearray(frame_message(A, PIXELS, 1, flags=c.FLAG_CRC))
    message[100] ^= 1
    wire.send(bytes(message))
    assert wire.code() == Code.BAD_PAYLOAD
    assert wire.status().bad_payloads == 1
    wire.frame(2, flags=c.FLAG_CRC)
    assert wire.answer()[0].type == Type.RESULT


@pytest.mark.parametrize(("features", "flags"), [(c.Feature.PAYLOAD_CRC, 0), (0, c.FLAG_CRC)])
def test_a_frame_with_or_without_crc_against_the_agreement_is_refused(features: int, flags: int) -> None:
    wire = Wire(features=features)
    wire.frame(1, flags=flags)
    assert wire.code() == Code.BAD_PAYLOAD


def test_what_is_sent_without_a_session_is_thrown_away() -> None:
    wire = Wire(hello=False)
    wire.frame(1)
    assert wire.answers() == []
    with pytest.raises(Stall):
        wire.abort(5)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model_id": 1}, Code.WRONG_MODEL),
        ({"pixel": 3}, Code.BAD_FORMAT),
        ({"width": 16}, Code.BAD_FORMAT),
        ({"payload": bytes(511)}, Code.BAD_FORMAT),
        ({"payload": b""}, Code.BAD_FORMAT),
    ],
)
def test_a_frame_that_is_not_what_the_model_takes_is_refused_and_skipped(
    fields: dict[str, Any], code: Code
) -> None:
    given = {"pixel": 0, "width": 32, "height": 16, "model_id": ModelRecord.of(A).model_id} | fields
    payload = given.pop("payload", PIXELS.tobytes())
    wire = Wire()
    wire.send(pack_message(Type.FRAME, EPOCH, 1, payload, **given))
    assert wire.code() == code
    wire.frame(2)
    assert wire.answer()[0].type == Type.RESULT


def test_a_frame_for_another_model_is_told_so_even_if_its_size_is_another_too() -> None:
    small = bundle(b"small", width=8, height=8)
    wire = Wire()
    wire.send(frame_message(small, picture(small), 1))
    assert wire.code() == Code.WRONG_MODEL


def test_labels_that_do_not_fit_in_the_agreed_bits_are_refused() -> None:
    model = bundle(classes=5)
    wire = Wire(model, bits=2)
    wire.send(frame_message(model, PIXELS, 1))
    assert wire.code() == Code.BAD_ENCODING


def test_a_label_that_the_network_should_not_give_never_spills_into_its_neighbour() -> None:
    class Liar(FakeNetwork):
        def run(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
            out[:] = pixels | 2

    wire = Wire(bits=1, network=Liar)
    wire.frame(1)
    assert wire.code() == Code.NETWORK_FAILED


def test_a_network_that_throws_costs_one_frame_and_not_the_device() -> None:
    class Moody(FakeNetwork):
        calls = 0

        def run(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
            Moody.calls += 1
            if Moody.calls == 1:
                raise RuntimeError("the chip is too hot")
            super().run(pixels, out)

    wire = Wire(network=Moody)
    wire.frame(1)
    wire.frame(2)
    (bad, text), (good, _) = wire.answers()
    assert (bad.code, good.type) == (Code.NETWORK_FAILED, Type.RESULT)
    assert b"too hot" in text


@pytest.mark.parametrize("offered", [0, 1, 2, 3])
@pytest.mark.parametrize("asked", [1, 2, 3, 4, 5, 8, 1 << 31])
def test_hello_refuses_each_feature_that_was_not_offered_named_or_not(offered: int, asked: int) -> None:
    wire = Wire(limits=Limits(features=c.Feature(offered)), hello=False)
    if asked & ~offered:
        with pytest.raises(Stall, match="not all offered"):
            wire.engine.control_out(Request.HELLO, Hello(1, features=asked).pack())
        assert wire.status().state == State.NO_SESSION
    else:
        wire.engine.control_out(Request.HELLO, Hello(1, features=asked).pack())


def test_a_longer_hello_of_a_later_minor_is_taken_and_a_refused_one_changes_nothing() -> None:
    wire = Wire()
    wire.engine.control_out(Request.HELLO, Hello(7, minor=9).pack() + b"and more")
    assert wire.status().epoch == 7
    with pytest.raises(Stall):
        wire.engine.control_out(Request.HELLO, Hello(8, mask_bits=3).pack())
    wire.frame(1, epoch=7)
    assert wire.answer()[0].type == Type.RESULT


def test_hello_refuses_what_was_not_offered() -> None:
    limits = Limits(mask_bits=(8,), features=0)
    for hello in (
        Hello(0), Hello(1, mask_bits=1), Hello(1, features=1), Hello(1, major=2), Hello(1, mask_bits=3)
    ):  # fmt: skip
        with pytest.raises(Stall):
            Wire(limits=limits, hello=False).engine.control_out(Request.HELLO, hello.pack())
    wrong = ((Request.HELLO, b"short"), (Request.ABORT, b"123"), (Request.SOFT_RESET, b"x"), (99, b""))
    for number, data in wrong:
        with pytest.raises(Stall):
            Wire().engine.control_out(number, data)
    with pytest.raises(Stall):
        Wire().engine.control_in(0x77, 64)


# -- models


def test_an_uploaded_model_serves_from_ready_on_and_the_old_one_until_then() -> None:
    wire = Wire(A)
    sequence = wire.upload(B)
    wire.frame(sequence)
    header, payload = wire.answer()
    assert header.model_id == ModelRecord.of(A).model_id
    assert payload == expected(A, PIXELS).tobytes()
    header, payload = wire.model(Type.MODEL_COMMIT, sequence + 1, B.sha256)
    assert header.type == Type.MODEL_READY
    assert payload == ModelRecord.of(B).pack()
    wire.send(frame_message(B, PIXELS, sequence + 2))
    header, payload = wire.answer()
    assert header.model_id == ModelRecord.of(B).model_id
    assert payload == expected(B, PIXELS).tobytes()


def test_frames_ahead_of_a_commit_are_computed_by_the_old_model_and_those_behind_refused() -> None:
    wire = Wire(A)
    sequence = wire.upload(B)
    wire.frame(sequence)
    wire.send(pack_message(Type.MODEL_COMMIT, EPOCH, sequence + 1, B.sha256, flags=c.FLAG_CRC))
    wire.frame(sequence + 2)
    (old, payload), (ready, _), (late, _) = wire.answers()
    assert payload == expected(A, PIXELS).tobytes()
    assert (old.type, ready.type, late.code) == (Type.RESULT, Type.MODEL_READY, Code.WRONG_MODEL)


def test_without_a_model_frames_are_refused_until_one_is_uploaded() -> None:
    wire = Wire(None)
    wire.frame(1)
    assert wire.code() == Code.NO_MODEL
    sequence = wire.upload(A, 2)
    assert wire.model(Type.MODEL_COMMIT, sequence, A.sha256)[0].type == Type.MODEL_READY
    wire.frame(sequence + 1)
    assert wire.answer()[0].type == Type.RESULT


def test_an_upload_is_resumed_where_it_broke_off() -> None:
    wire = Wire(A)
    wire.model(Type.MODEL_BEGIN, 1, ModelRecord.of(B).pack())
    wire.model(Type.MODEL_CHUNK, 2, pack_chunk(0, B.content[:10]))
    wire.abort(EPOCH + 1)
    _, payload = wire.model(Type.MODEL_BEGIN, 1, ModelRecord.of(B).pack(), EPOCH + 1)
    assert parse_progress(payload) == (10, len(B.content))


@pytest.mark.parametrize("how", ["abort", "hello", "soft reset", "power"])
def test_an_interrupted_upload_never_touches_the_model_that_serves(how: str) -> None:
    wire = Wire(A)
    sequence = wire.upload(B)
    if how == "abort":
        # Even between the COMMIT and its answer.
        wire.send(pack_message(Type.MODEL_COMMIT, EPOCH, sequence, B.sha256, flags=c.FLAG_CRC))
        job = wire.engine.take_job()
        assert job is not None
        job.run()
        wire.abort(2)
        wire.engine.finish(job)
    else:
        if how == "soft reset":
            wire.engine.control_out(Request.SOFT_RESET, b"")
        elif how == "power":
            wire.engine.power_cycle()
        wire.engine.control_out(Request.HELLO, Hello(2).pack())
    wire.frame(1, epoch=2)
    header, payload = wire.answer()
    assert header.model_id == ModelRecord.of(A).model_id
    assert payload == expected(A, PIXELS).tobytes()


def test_wrong_bytes_are_found_by_their_hash_and_the_old_model_stays() -> None:
    wire = Wire(A)
    record = ModelRecord.of(B)
    wire.model(Type.MODEL_BEGIN, 1, record.pack())
    wire.model(Type.MODEL_CHUNK, 2, pack_chunk(0, bytes(record.size)))
    assert wire.model(Type.MODEL_COMMIT, 3, B.sha256)[0].code == Code.BAD_HASH
    wire.frame(4)
    assert wire.answer()[1] == expected(A, PIXELS).tobytes()
    assert wire.status().upload_size == 0


def test_a_model_that_does_not_load_is_refused_and_the_old_one_stays() -> None:
    def picky(record: ModelRecord, content: bytes) -> FakeNetwork:
        if content == B.content:
            raise ModelError("it has float tensors")
        return FakeNetwork(record, content)

    wire = Wire(A, network=picky)
    sequence = wire.upload(B)
    header, text = wire.model(Type.MODEL_COMMIT, sequence, B.sha256)
    assert (header.code, text) == (Code.MODEL_REFUSED, b"it has float tensors")
    wire.frame(sequence + 1)
    assert wire.answer()[1] == expected(A, PIXELS).tobytes()
    wire.engine.power_cycle()
    assert parse_capabilities(wire.engine.control_in(Request.CAPABILITIES, 512)).model == ModelRecord.of(A)


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        (Type.MODEL_CHUNK, pack_chunk(0, b"x"), Code.NO_UPLOAD),
        (Type.MODEL_COMMIT, bytes(32), Code.NO_UPLOAD),
        (Type.MODEL_BEGIN, bytes(64), Code.MODEL_REFUSED),
        (Type.MODEL_BEGIN, bytes(63), Code.BAD_FORMAT),
        (Type.MODEL_BEGIN, bytes(65), Code.BAD_FORMAT),
        (Type.MODEL_BEGIN, b"", Code.BAD_FORMAT),
        (Type.MODEL_COMMIT, bytes(33), Code.BAD_FORMAT),
        (Type.MODEL_COMMIT, bytes(31), Code.BAD_FORMAT),
        (Type.MODEL_CHUNK, b"123", Code.BAD_FORMAT),
    ],
)
def test_a_model_request_out_of_place_is_refused(kind: Type, payload: bytes, code: Code) -> None:
    assert Wire().model(kind, 1, payload)[0].code == code


def test_a_chunk_at_another_offset_is_refused_and_nothing_is_written() -> None:
    wire = Wire()
    wire.model(Type.MODEL_BEGIN, 1, ModelRecord.of(B).pack())
    assert wire.model(Type.MODEL_CHUNK, 2, pack_chunk(1, b"x"))[0].code == Code.BAD_OFFSET
    assert wire.model(Type.MODEL_CHUNK, 3, pack_chunk(0, bytes(100)))[0].code == Code.BAD_OFFSET
    assert wire.model(Type.MODEL_COMMIT, 4, B.sha256)[0].code == Code.NO_UPLOAD
    assert wire.status().upload_offset == 0


def test_a_model_that_is_too_large_is_refused_at_begin() -> None:
    small = Wire(None, store=ModelStore(capacity=8))
    assert small.model(Type.MODEL_BEGIN, 1, ModelRecord.of(B).pack())[0].code == Code.MODEL_TOO_LARGE
    narrow = Wire(None, limits=Limits(max_payload=511))
    assert narrow.model(Type.MODEL_BEGIN, 1, ModelRecord.of(B).pack())[0].code == Code.MODEL_TOO_LARGE


def test_a_model_whose_frames_the_device_does_not_take_is_refused_at_begin() -> None:
    luminance = Limits(pixel_formats=(0,))
    assert Wire(limits=luminance).model(Type.MODEL_BEGIN, 1, ModelRecord.of(A).pack())[0].code == 0
    for pixel in ("RGB", "YUV444"):
        record = ModelRecord.of(bundle(b"colour", pixel=pixel)).pack()
        assert Wire(limits=luminance).model(Type.MODEL_BEGIN, 1, record)[0].code == Code.MODEL_REFUSED
    # Half the bytes of YUV444: for these it takes, and has room.
    record = ModelRecord.of(bundle(b"colour", pixel="YUV444")).pack()
    subsampled = Limits(pixel_formats=(1,), max_payload=32 * 16 * 3 // 2)
    assert Wire(limits=subsampled).model(Type.MODEL_BEGIN, 1, record)[0].type == Type.MODEL_PROGRESS


def test_model_messages_without_their_crc_are_refused() -> None:
    wire = Wire()
    wire.send(pack_message(Type.MODEL_BEGIN, EPOCH, 1, ModelRecord.of(B).pack()))
    assert wire.code() == Code.BAD_PAYLOAD


def test_a_second_model_request_before_the_first_is_answered_is_refused() -> None:
    wire = Wire()
    for sequence in (1, 2):
        wire.send(pack_message(Type.MODEL_BEGIN, EPOCH, sequence, ModelRecord.of(B).pack(), flags=c.FLAG_CRC))
    (first, _), (second, _) = wire.answers()
    assert (first.type, second.code) == (Type.MODEL_PROGRESS, Code.NO_CREDIT)


def test_a_device_without_upload_says_so() -> None:
    wire = Wire(limits=Limits(features=0))
    assert wire.model(Type.MODEL_BEGIN, 1, ModelRecord.of(B).pack())[0].code == Code.UNSUPPORTED


def test_a_model_that_was_kept_needs_no_second_upload() -> None:
    wire = Wire(A)
    sequence = wire.upload(B)
    wire.model(Type.MODEL_COMMIT, sequence, B.sha256)
    _, payload = wire.model(Type.MODEL_BEGIN, sequence + 1, ModelRecord.of(A).pack())
    assert parse_progress(payload) == (len(A.content), len(A.content))
    assert wire.model(Type.MODEL_COMMIT, sequence + 2, A.sha256)[0].type == Type.MODEL_READY


def test_capabilities_tell_the_model_that_serves() -> None:
    wire = Wire(A)
    capabilities = parse_capabilities(wire.engine.control_in(Request.CAPABILITIES, 512))
    assert capabilities.model == ModelRecord.of(A)
    assert (capabilities.slots, capabilities.mask_bits) == (3, (1, 2, 4, 8))
    wire.store.wipe()
    wire.engine.power_cycle()
    assert parse_capabilities(wire.engine.control_in(Request.CAPABILITIES, 512)).model is None


def test_status_counts_what_happened_and_soft_reset_starts_at_zero() -> None:
    wire = Wire()
    wire.frame(1)
    wire.send(pack_message(0x55, EPOCH, 2))
    wire.answers()
    status = wire.status()
    assert (status.frames, status.results, status.errors, status.sessions) == (1, 1, 1, 1)
    assert (status.epoch, status.next_sequence, status.last_error) == (EPOCH, 3, Code.UNSUPPORTED)
    wire.engine.control_out(Request.SOFT_RESET, b"")
    assert wire.status() == Status(slots=3, next_sequence=1, model_id=ModelRecord.of(A).model_id)


# -- the store on a disk


def test_a_folder_keeps_the_active_model_over_a_loss_of_power(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    install(store, A)
    install(store, B)
    again = FolderStore(tmp_path)
    assert again.active is not None
    assert again.active.content == B.content
    assert again.begin(ModelRecord.of(A)) == len(A.content)


def test_a_damaged_or_foreign_file_in_the_folder_is_no_model(tmp_path: Path) -> None:
    install(FolderStore(tmp_path), A)
    (tmp_path / "junk.model").write_bytes(b"junk")
    path = tmp_path / f"{A.sha256.hex()}.model"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert FolderStore(tmp_path).active is None


def test_a_write_that_fails_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    wire = Wire(A, store=store)
    sequence = wire.upload(B)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gnetseg_device.model_store._replace", full)
    assert wire.model(Type.MODEL_COMMIT, sequence, B.sha256)[0].code == Code.STORAGE_FULL
    assert wire.status().upload_size == 0, "the upload is over, as the protocol says of STORAGE_FULL"
    wire.frame(sequence + 1)
    assert wire.answer()[1] == expected(A, PIXELS).tobytes()
    assert FolderStore(tmp_path).active == store.active


def test_a_write_that_breaks_off_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    install(store, A)
    before = sorted(tmp_path.iterdir())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Refused, match="No space left"):
        install(store, B)
    assert sorted(tmp_path.iterdir()) == before


def test_a_model_that_cannot_be_removed_keeps_nothing_from_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path, capacity=30)
    wire = Wire(A, store=store)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", read_only)
    large = bundle(b"b" * 25)
    sequence = wire.upload(large)
    assert wire.model(Type.MODEL_COMMIT, sequence, large.sha256)[0].type == Type.MODEL_READY


def test_an_errors_words_are_utf_8_whatever_a_network_says() -> None:
    class Foreign(FakeNetwork):
        def run(self, *_: object) -> None:
            raise OSError("no such file: caf\udce9 " + "ä" * 300)

    wire = Wire(network=Foreign)
    wire.frame(1)
    header, text = wire.answer()
    assert header.code == Code.NETWORK_FAILED
    assert "no such file: caf? ä" in text.decode()
    assert len(text) <= c.MAX_SHORT_ANSWER


def test_old_models_make_room_but_never_the_active_one() -> None:
    store = ModelStore(capacity=30)
    for content in (b"a" * 14, b"b" * 14, b"c" * 14):
        install(store, bundle(content))
    assert store.active is not None
    assert store.active.content == b"c" * 14
    assert store.begin(ModelRecord.of(bundle(b"a" * 14))) == 0
    assert store.begin(ModelRecord.of(bundle(b"b" * 14))) == 14


def test_the_messages_size_counts_crc_and_pad() -> None:
    for size in (476, 480):
        buffer = bytearray(HEADER_SIZE + size + 8)
        write_header(buffer, 0, Type.RESULT, 1, 1, size, flags=c.FLAG_CRC)
        assert write_trailer(buffer, 0, size, c.FLAG_CRC) == message_size(size, c.FLAG_CRC)
    assert hashlib.sha256(A.content).digest() == A.sha256

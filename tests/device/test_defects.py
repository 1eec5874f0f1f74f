"""Each defect does on the wire what its row in the table says, for as long as it is there, and no longer."""

from __future__ import annotations

import errno
import time
from array import array
from collections.abc import Iterator

import numpy as np
import pytest
import usb.core
import usb.util
from gnetseg_device import bulk_endpoints, port
from gnetseg_device.defects import FOUL_EVERY, LATER_CAPABILITIES_SIZE, UNKNOWN_ANSWER
from gnetseg_device.device import MockDevice
from gnetseg_device.engine import Limits
from gnetseg_device.faults import DEFECT, FAULTS, Injector, parse_fault

from gnetsegd.link import constants as c
from gnetsegd.link.constants import Code, Request, Type
from gnetsegd.link.header import Header, check_payload, message_size, pack_message, read_header
from gnetsegd.link.model_upload import ModelRecord, pack_chunk, parse_progress
from gnetsegd.link.requests import IN_LENGTH, parse_capabilities, parse_status
from gnetsegd.model import ModelBundle

from .host import EPOCH, UsbHost, bundle, expected, frame_message, picture

MODEL = bundle()
PIXELS = picture(MODEL, 1)
MASK = expected(MODEL, PIXELS).tobytes()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "KERNEL_CONTROL_S", 0.02)
    monkeypatch.setattr(bulk_endpoints, "FLAP_AWAY_S", 0.02)


class Talk:
    """A host in session, one frame at a time; every answer is looked at as docs/protocol.md demands."""

    def __init__(self, mock: MockDevice, model: ModelBundle = MODEL, bits: int = 8) -> None:
        self.mock, self.model, self.bits = mock, model, bits
        self.host = UsbHost(mock)
        usb.util.claim_interface(self.host.device, 0)
        self.epoch = EPOCH
        self.host.hello(EPOCH, bits=bits)
        self.sequence = 0

    def abort(self) -> None:
        self.epoch += 1
        self.host.abort(self.epoch)
        self.sequence = 0

    def frame(self) -> str:
        """One word for what comes instead of, or as, the mask of one frame."""
        self.sequence += 1
        self.host.write(frame_message(self.model, PIXELS, self.sequence, epoch=self.epoch), 20)
        return self.answer()

    def frames(self, count: int) -> list[str]:
        return [self.frame() for _ in range(count)]

    def answer(self) -> str:
        try:
            data = self.host.read(2048, 20)
        except usb.core.USBError as error:
            return errno.errorcode[error.errno]
        return self.word(data)

    def word(self, data: bytes) -> str:
        header, payload = split(data)
        if header.type == Type.ERROR:
            return f"lost {header.code}" if header.flags & c.FLAG_LOST else f"error {header.code}"
        if header.epoch != self.epoch:
            return f"epoch {header.epoch - self.epoch:+}"
        if header.type != Type.RESULT:
            return f"type {header.type:#x}"
        assert header.sequence == self.sequence
        return "mask" if payload == MASK else "wrong mask"


def split(data: bytes) -> tuple[Header, bytes]:
    """Header and payload of a whole and good message, with whatever header length."""
    view = memoryview(data)
    header = Header(*read_header(view))
    start = header.header_length
    assert len(data) == message_size(header.length, header.flags, start)
    assert check_payload(view, start, header.length, header.flags)
    return header, bytes(view[start : start + header.length])


@pytest.fixture
def mock() -> Iterator[MockDevice]:
    device = MockDevice(model=MODEL, seed=3)
    yield device
    device.close()


#: What a host sees of five frames of one epoch, and of two after ABORT.
SEEN = {
    "proof-only": (["mask"] + ["ETIMEDOUT"] * 4, ["mask", "ETIMEDOUT"]),
    "error-all": (["mask"] + ["error 11"] * 4, ["mask", "error 11"]),
    "lost-all": (["mask"] + ["lost 1"] * 4, ["mask", "lost 1"]),
    "late-answer": (["mask", "epoch -1", "mask", "mask", "mask"], ["mask", "epoch -1"]),
    "stale-all": (["mask"] + ["epoch -1"] * 4, ["mask", "epoch -1"]),
    "bad-labels": (["wrong mask"] * 5, ["wrong mask"] * 2),
}
ELSEWHERE = {
    "flap-after",
    "few-then-hang",
    "mute-control",
    "stall-control",
    "slow-flash",
    "later-minor",
    "zero-chunk",
    "bad-padding",
    "foul-text",
}


def test_every_defect_of_the_table_is_tested_here() -> None:
    assert set(SEEN) | ELSEWHERE == {name for name, fault in FAULTS.items() if fault.place == DEFECT}
    assert all(fault.lasting for fault in FAULTS.values() if fault.place == DEFECT)


@pytest.mark.parametrize("name", list(SEEN))
def test_a_defect_shows_in_each_epoch_and_ends_when_it_is_cleared(name: str, mock: MockDevice) -> None:
    talk = Talk(mock)
    mock.inject(name)
    first, second = SEEN[name]
    seen = []
    for _ in first:
        seen.append(talk.frame() if name != "late-answer" or seen[-1:] != ["epoch -1"] else talk.answer())
    assert seen == first
    talk.abort()
    assert talk.frames(2) == second
    assert mock.injected[name] >= 2
    mock.clear()
    talk.abort()
    assert talk.frames(3) == ["mask"] * 3


def test_an_answer_of_the_epoch_before_is_of_that_epoch_however_a_host_numbers_them(mock: MockDevice) -> None:
    talk = Talk(mock)
    mock.inject("stale-all")
    talk.frames(2)
    talk.epoch += 1000
    talk.abort()
    assert talk.frames(2) == ["mask", "epoch -1001"]


def test_few_then_hang_answers_the_proof_and_as_many_more_as_it_was_told(mock: MockDevice) -> None:
    talk = Talk(mock)
    mock.inject("few-then-hang")
    assert talk.frames(8) == ["mask"] * 6 + ["ETIMEDOUT"] * 2
    mock.inject("few-then-hang", value=2)
    talk.abort()
    assert talk.frames(5) == ["mask"] * 3 + ["ETIMEDOUT"] * 2


def test_flap_after_is_gone_after_so_many_frames_and_comes_back_to_do_it_again(mock: MockDevice) -> None:
    mock.inject("flap-after", value=3)
    for round_ in (1, 2):
        deadline = time.monotonic() + 10
        while not mock.port.attachment:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert Talk(mock).frames(4) == ["mask"] * 3 + ["ENODEV"]
        assert mock.port.attachment == 0 or mock.injected["flap-after"] == round_
        assert mock.injected["flap-after"] == round_


@pytest.mark.parametrize(("name", "word"), [("mute-control", "ETIMEDOUT"), ("stall-control", "EPIPE")])
def test_endpoint_0_is_out_of_order_once_frames_have_flowed_until_the_power_is_off(
    name: str, word: str, mock: MockDevice
) -> None:
    talk = Talk(mock)
    device = talk.host.device
    mock.inject(name, value=2)
    talk.abort()
    assert talk.frame() == "mask"
    for sequence in (2, 3):
        talk.host.write(frame_message(MODEL, PIXELS, sequence, epoch=talk.epoch), 20)
    talk.sequence = 2
    assert talk.answer() == "mask"
    requests = {
        "ABORT": lambda: device.ctrl_transfer(c.REQUEST_OUT, Request.ABORT, 0, 0, b"1234", 20),
        "SOFT_RESET": lambda: device.ctrl_transfer(c.REQUEST_OUT, Request.SOFT_RESET, 0, 0, b"", 20),
        "CAPABILITIES": lambda: device.ctrl_transfer(c.REQUEST_IN, Request.CAPABILITIES, 0, 0, IN_LENGTH, 20),
        "a descriptor": lambda: device.ctrl_transfer(0x80, 6, 0x0100, 0, 18, 20),
        "clear halt": lambda: device.clear_halt(0x81),
    }
    for request in requests.values():
        with pytest.raises(usb.core.USBError) as caught:
            request()
        assert errno.errorcode[caught.value.errno] == word
    assert talk.answer() == "ETIMEDOUT"
    with pytest.raises(usb.core.USBError) as caught:
        talk.host.write(bytes(100), 20)
    assert caught.value.errno == errno.ETIMEDOUT
    with pytest.raises(usb.core.USBError) as caught:
        device.reset()
    assert caught.value.errno == errno.ENODEV
    mock.unplug()
    mock.plug()
    assert Talk(mock).frames(2) == ["mask"] * 2


def upload(talk: Talk, model: ModelBundle, chunk: int = 1024) -> list[tuple[Header, bytes]]:
    """MODEL_BEGIN, one MODEL_CHUNK after another, MODEL_COMMIT, up to the first ERROR: every answer."""
    answers: list[tuple[Header, bytes]] = []

    def ask(kind: Type, payload: bytes) -> bool:
        talk.sequence += 1
        talk.host.write(pack_message(kind, talk.epoch, talk.sequence, payload, flags=c.FLAG_CRC), 20)
        answers.append(split(talk.host.read(2048, 20)))
        return answers[-1][0].type != Type.ERROR

    good = ask(Type.MODEL_BEGIN, ModelRecord.of(model).pack())
    while good and (wanted := parse_progress(answers[-1][1])[0]) < len(model.content):
        good = ask(Type.MODEL_CHUNK, pack_chunk(wanted, model.content[wanted : wanted + chunk]))
    if good:
        ask(Type.MODEL_COMMIT, model.sha256)
    return answers


def test_slow_flash_lets_a_commit_wait_and_nothing_else(mock: MockDevice) -> None:
    talk = Talk(mock)
    mock.inject("slow-flash", value=0.1)
    with pytest.raises(usb.core.USBTimeoutError):
        upload(talk, bundle(b"another"))
    assert mock.injected["slow-flash"] == 1
    header, payload = split(talk.host.read(2048, 5000))
    assert (header.type, payload) == (Type.MODEL_READY, ModelRecord.of(bundle(b"another")).pack())
    talk.model = bundle(b"another")
    assert talk.frame().endswith("mask")  # the other model's: at once


def test_a_later_minor_is_longer_everywhere_and_says_more_than_is_known(mock: MockDevice) -> None:
    mock.inject("later-minor")
    talk = Talk(mock)
    data = talk.host.ask(Request.CAPABILITIES)
    told = parse_capabilities(data)
    assert (len(data), told.minor, told.slots) == (LATER_CAPABILITIES_SIZE, 7, 3)
    assert int.from_bytes(data[6:8], "little") == LATER_CAPABILITIES_SIZE
    for _ in range(3):
        assert talk.frame() == f"type {UNKNOWN_ANSWER:#x}"
        data = talk.host.read(2048, 20)
        assert split(data)[0].header_length == c.MAX_HEADER_SIZE
        assert talk.word(data) == "mask"


@pytest.mark.parametrize("size", [1, 411, 412, 413, 448, 480])
@pytest.mark.parametrize("flags", [0, c.FLAG_CRC])
def test_a_lengthened_message_keeps_its_payload_and_never_ends_with_a_whole_packet(
    size: int, flags: int
) -> None:
    from gnetseg_device.defects import lengthen

    payload = bytes(range(256)) * 2
    header, got = split(lengthen(pack_message(Type.RESULT, 7, 8, payload[:size], flags=flags)))
    assert (header.epoch, header.sequence, got) == (7, 8, payload[:size])
    assert len(lengthen(pack_message(Type.RESULT, 7, 8, payload[:size], flags=flags))) % c.PACKET


def test_zero_chunk_says_so_and_takes_no_byte_of_a_model(mock: MockDevice) -> None:
    mock.inject("zero-chunk")
    talk = Talk(mock)
    assert parse_capabilities(talk.host.ask(Request.CAPABILITIES)).max_chunk == 0
    kinds = [(header.type, header.code) for header, _ in upload(talk, bundle(b"another"), chunk=1)]
    assert kinds == [(Type.MODEL_PROGRESS, 0), (Type.ERROR, Code.BAD_FORMAT)]
    assert talk.frame() == "mask"
    mock.clear()
    assert upload(talk, bundle(b"another"))[-1][0].type == Type.MODEL_READY


@pytest.mark.parametrize(("bits", "classes"), [(8, 2), (8, 255), (4, 9), (2, 3)])
def test_bad_labels_puts_one_label_that_is_no_class_into_each_mask(bits: int, classes: int) -> None:
    model = bundle(width=29, classes=classes)
    mock = MockDevice(model=model, seed=5)
    mock.inject("bad-labels")
    talk = Talk(mock, model, bits)
    talk.sequence = 1
    talk.host.write(frame_message(model, picture(model), 1), 20)
    _, payload = split(talk.host.read(2048, 20))
    labels = np.unpackbits(np.frombuffer(payload, np.uint8).reshape(16, -1), axis=1)
    per_pixel = labels[:, : 29 * bits].reshape(16, 29, bits) @ (1 << np.arange(bits)[::-1])
    assert (per_pixel >= classes).sum() == 1
    assert not labels[:, 29 * bits :].any()


def test_labels_that_fill_their_bits_cannot_be_wrong(mock: MockDevice) -> None:
    mock.inject("bad-labels")
    mock.inject("bad-padding")
    talk = Talk(mock, bits=1)
    assert talk.frame() == "wrong mask"  # it is packed, and else as it should be
    assert not mock.injected


def test_bad_padding_sets_the_unused_bits_of_each_row_and_no_other() -> None:
    model = bundle(width=29)
    mock = MockDevice(model=model)
    talk = Talk(mock, model, bits=1)
    seen = []
    for name in ("", "bad-padding"):
        if name:
            mock.inject(name)
        talk.sequence += 1
        talk.host.write(frame_message(model, picture(model), talk.sequence), 20)
        seen.append(np.frombuffer(split(talk.host.read(2048, 20))[1], np.uint8).reshape(16, 4))
    assert (seen[1][:, :3] == seen[0][:, :3]).all()
    assert (seen[1][:, 3] == seen[0][:, 3] | 0b111).all()


def test_foul_text_is_in_the_serial_number_the_firmwares_name_and_an_error(mock: MockDevice) -> None:
    mock.inject("foul-text")
    device = usb.core.find(backend=mock.backend, idVendor=0x1209)
    assert device.serial_number.startswith("mock-0001\n")
    usb.util.claim_interface(device, 0)
    talk = Talk.__new__(Talk)
    talk.mock, talk.model, talk.epoch, talk.sequence = mock, MODEL, EPOCH, 0
    talk.host = UsbHost.__new__(UsbHost)
    talk.host.device = device
    talk.host.hello()
    assert b"\x1b" in talk.host.ask(Request.CAPABILITIES)
    assert talk.frames(FOUL_EVERY - 1) == ["mask"] * (FOUL_EVERY - 1)
    talk.sequence += 1
    talk.host.write(frame_message(MODEL, PIXELS, talk.sequence), 20)
    header, text = split(talk.host.read(2048, 20))
    assert (header.type, header.code) == (Type.ERROR, Code.NETWORK_FAILED)
    assert b"\nWATCHDOG_USEC=0" in text
    assert b"\xff" in text
    mock.clear()
    assert device.ctrl_transfer(0x80, 6, 0x0303, 0x0409, 255, 100) == array(
        "B", bytes([20, 3]) + "mock-0001".encode("utf-16-le")
    )


def test_no_credit_is_the_same_in_capabilities_status_and_the_answer_to_a_frame(mock: MockDevice) -> None:
    talk = Talk(mock)
    assert talk.frame() == "mask"
    mock.inject("no-credit")
    assert parse_capabilities(talk.host.ask(Request.CAPABILITIES)).slots == 0
    assert parse_status(talk.host.ask(Request.GET_STATUS)).slots == 0
    assert talk.frames(20) == [f"error {Code.NO_CREDIT}"] * 20
    assert upload(talk, bundle(b"another"))[0][0].code == Code.NO_CREDIT
    mock.clear()
    assert parse_status(talk.host.ask(Request.GET_STATUS)).slots == 3
    assert talk.frame() == "mask"


def test_what_a_device_offers_while_a_defect_lasts_it_offers_again_afterwards() -> None:
    limits = Limits(slots=2, max_chunk=100, firmware="fw 1")
    mock = MockDevice(model=MODEL, limits=limits)
    host = UsbHost(mock)
    before = host.ask(Request.CAPABILITIES)
    for name in ("no-credit", "zero-chunk", "foul-text", "later-minor"):
        mock.inject(name)
        assert host.ask(Request.CAPABILITIES) != before
        mock.clear(name)
        assert host.ask(Request.CAPABILITIES) == before


def test_an_answer_that_never_comes_does_not_keep_the_next_one() -> None:
    mock = MockDevice(model=MODEL)
    mock.port.start_worker()
    talk = Talk(mock)
    mock.inject("missing-sequence")
    for sequence in (1, 2):
        talk.host.write(frame_message(MODEL, PIXELS, sequence), 20)
    while mock.engine.in_flight == 2 and mock.engine._queue[1].message is None:
        time.sleep(0.001)
    talk.sequence = 2
    assert talk.word(talk.host.read(2048, 5000)) == "mask"
    mock.close()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("flap-after", ("flap-after", 1.0, None)),
        ("flap-after:200", ("flap-after", 1.0, 200.0)),
        ("slow-flash:0.5", ("slow-flash", 1.0, 0.5)),
        ("bad-labels:0.1", ("bad-labels", 0.1, None)),
        ("stall-in", ("stall-in", 0.01, None)),
    ],
)
def test_a_number_behind_a_faults_name_is_its_rate_or_in_its_own_unit(
    text: str, meant: tuple[str, float, float | None]
) -> None:
    assert parse_fault(text) == meant


@pytest.mark.parametrize("text", ["flap-after:-1", "flap-after:nan", "slow-flash:soon", "slow-flash:inf"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a number of (frames|s), 0 to"):
        parse_fault(text)
    with pytest.raises(ValueError, match="takes a rate and no number"):
        Injector().arm("bad-labels", value=3)
    with pytest.raises(ValueError, match="is no number of frames"):
        Injector().arm("flap-after", value=-3)

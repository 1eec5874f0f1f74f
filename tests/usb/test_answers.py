"""Answers that a device should never give: each is looked at before a mask is made of it."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

import pytest
from gnetseg_device.device import MockDevice
from gnetseg_device.pyusb_backend import PyusbBackend

from gnetsegd.accelerators.usb import SKIPPED_MAX, UsbAccelerator
from gnetsegd.errors import TransientError
from gnetsegd.frame import Frame, Loss, Mask
from gnetsegd.link.constants import FLAG_CRC, FLAG_LOST, Code, Type
from gnetsegd.link.header import HEADER_SIZE, ROOM, Header, message_size, pack_message, read_header
from gnetsegd.message import unpack_mask
from gnetsegd.testing.road import Pictures

from ..device.host import expected
from .model import MODEL, driver

Answer = Callable[[bytes], bytes]
PICTURES = Pictures(MODEL.input)


class Tampering(PyusbBackend):
    """Changes the next answers, each by the first of ``changes`` that is left.

    ``before`` come in transfers of their own before anything else, made from the last answer.
    """

    def __init__(self, device: MockDevice) -> None:
        super().__init__(device.host)
        self.changes: list[Answer] = []
        self.before: Iterator[Answer] = iter(())
        self._sample = b""

    def bulk_read(self, dev_handle: Any, ep: int, intf: int, buff: Any, timeout: int) -> int:
        if self._sample and (babble := next(self.before, None)):
            return self._put(buff, babble(self._sample))
        count = super().bulk_read(dev_handle, ep, intf, buff, timeout)
        message = ctypes.string_at(buff.buffer_info()[0], count)
        self._sample = message
        return self._put(buff, self.changes.pop(0)(message) if self.changes else message)

    @staticmethod
    def _put(buff: Any, message: bytes) -> int:
        address, size = buff.buffer_info()
        assert len(message) <= size
        ctypes.memmove(address, message, len(message))
        return len(message)


def opened(**options: Any) -> tuple[UsbAccelerator, Tampering]:
    device = MockDevice(model=MODEL)
    backend = Tampering(device)
    accelerator = driver(device, backend, answer_timeout_s=0.05, **options)
    accelerator.open()
    return accelerator, backend


def send(accelerator: UsbAccelerator, number: int) -> Frame:
    frame = Frame(MODEL.input, MODEL.mask.size_bytes, ROOM)
    frame.sequence = number
    PICTURES.write(number, frame.pixels)
    assert accelerator.wait_for_credit(1.0)
    accelerator.submit(frame)
    return frame


def collect(accelerator: UsbAccelerator) -> Mask | Loss:
    for _ in range(2 * SKIPPED_MAX):
        result = accelerator.collect(1.0)
        if result is not None:
            return result
    raise TimeoutError("no answer")


def is_right(result: Mask | Loss) -> bool:
    """Is it a mask, and of its own frame? Anything but the right mask is an error of the test."""
    if isinstance(result, Loss):
        return False
    labels = unpack_mask(result.payload, result.info.mask)
    assert (labels == expected(MODEL, result.frame.pixels)).all()
    return True


def turned(message: bytes, **fields: int) -> bytes:
    """The answer with other labels, and with fields of its header changed (flags are turned)."""
    header = Header(*read_header(memoryview(message)))
    payload = bytes(label ^ 1 for label in message[HEADER_SIZE : HEADER_SIZE + header.length])
    fields = {name: getattr(header, name) + value for name, value in fields.items()}
    length = fields.pop("length", header.length)
    header = header._replace(**fields)
    return pack_message(
        header.type, header.epoch, header.sequence, (payload + bytes(64))[:length], flags=header.flags,
        pixel=header.format, code=header.code, width=header.width, height=header.height,
        model_id=header.model_id,
    )  # fmt: skip


@pytest.mark.parametrize("payload_crc", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"epoch": 1}, {"epoch": -1}, {"sequence": 1}, {"sequence": -1}, {"length": 1}, {"length": -1},
        {"width": 1}, {"height": -1}, {"model_id": -1}, {"format": -4}, {"type": 1}, {"type": -1},
        {"type": Type.ERROR - Type.RESULT}, {"type": Type.MODEL_READY - Type.RESULT},
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_that_differs_in_any_field_is_no_mask(fields: dict[str, int], payload_crc: bool) -> None:
    accelerator, backend = opened(payload_crc=payload_crc)
    send(accelerator, 1)
    backend.changes.append(lambda message: turned(message, **fields))
    assert not is_right(collect(accelerator))
    send(accelerator, 2)
    while not is_right(collect(accelerator)):
        pass
    accelerator.close()


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 512, 1024, 1567, 1572, 2048])
@pytest.mark.parametrize("payload_crc", [False, True])
def test_an_answer_of_another_count_is_no_mask(count: int, payload_crc: bool) -> None:
    accelerator, backend = opened(payload_crc=payload_crc)
    due = message_size(MODEL.mask.size_bytes, FLAG_CRC * payload_crc)
    send(accelerator, 1)
    backend.changes.append(lambda message: (turned(message) + bytes(1024))[:count])
    if count != due:
        assert not is_right(collect(accelerator))
    accelerator.close()


def test_a_turned_bit_anywhere_in_a_guarded_answer_is_seen() -> None:
    accelerator, backend = opened(payload_crc=True)
    for place in range(0, message_size(MODEL.mask.size_bytes, FLAG_CRC), 97):
        send(accelerator, place)
        backend.changes.append(
            lambda message, place=place: message[:place] + bytes([message[place] ^ 4]) + message[place + 1 :]
        )
        assert not is_right(collect(accelerator)), place
    accelerator.close()


def test_a_longer_header_of_a_later_minor_version_is_understood() -> None:
    def longer(message: bytes) -> bytes:
        head = message[:3] + bytes([36]) + message[4:28]
        return head + crc32(head).to_bytes(4, "little") + b"more" + message[HEADER_SIZE:]

    accelerator, backend = opened()
    for number in range(3):
        send(accelerator, number)
        backend.changes.append(longer)
        assert is_right(collect(accelerator))
    assert accelerator.describe()["faults"] == {}
    accelerator.close()


def unknown(message: bytes) -> bytes:
    header = Header(*read_header(memoryview(message)))
    return pack_message(0xA5, header.epoch, header.sequence, b"news")


def test_an_answer_of_an_unknown_type_is_as_if_it_had_not_come() -> None:
    accelerator, backend = opened()
    send(accelerator, 1)
    backend.before = iter([unknown, unknown])
    assert is_right(collect(accelerator))
    described = accelerator.describe()
    assert (described["stale"], described["faults"]) == (2, {})
    accelerator.close()


@pytest.mark.parametrize("babble", [unknown, lambda message: turned(message, epoch=-1)])
def test_a_device_that_never_stops_talking_of_something_else_is_mended(babble: Answer) -> None:
    accelerator, backend = opened()
    frame = send(accelerator, 1)
    backend.before = itertools.repeat(babble)  # a number would run out on a fast machine
    with pytest.raises(TransientError, match=r"did not answer in time|belongs to nothing"):
        collect(accelerator)
    assert accelerator.describe()["faults"]["stale"] == 1
    assert accelerator.close() == [frame]


def error(code: Code, flags: int = 0, cut: int = 0) -> Answer:
    def make(message: bytes) -> bytes:
        header = Header(*read_header(memoryview(message)))
        made = pack_message(Type.ERROR, header.epoch, header.sequence, b"x" * 40, flags=flags, code=code)
        return made[: len(made) - cut]

    return make


@pytest.mark.parametrize(
    ("answer", "kind", "in_place"),
    [
        (error(Code.NETWORK_FAILED), "error", True),
        (error(Code.INTERNAL), "error", True),
        (error(Code(255)), "error", True),
        (error(Code.NETWORK_FAILED, FLAG_CRC), "error", True),
        (error(Code.BAD_HEADER, FLAG_LOST), "lost", False),
        (error(Code.NETWORK_FAILED, cut=3), "short", False),
        (error(Code.NETWORK_FAILED, cut=41), "protocol", False),
    ],
)
def test_an_error_costs_its_frame_and_a_damaged_or_lost_one_the_epoch(
    answer: Answer, kind: str, in_place: bool
) -> None:
    accelerator, backend = opened()
    session = accelerator._session
    assert session is not None
    epoch = session.epoch
    send(accelerator, 1)
    backend.changes.append(answer)
    result = collect(accelerator)
    assert isinstance(result, Loss)
    assert accelerator.describe()["faults"] == {kind: 1}
    assert (session.epoch == epoch) is in_place
    send(accelerator, 2)
    assert is_right(collect(accelerator))
    accelerator.close()


def test_losses_come_back_in_the_order_in_which_they_were_sent() -> None:
    accelerator, backend = opened()
    for number in range(3):
        send(accelerator, number)
    # The answer and both probes of the recovery: it is given up.
    backend.changes += [lambda message: message[:40]] * 3
    with pytest.raises(TransientError, match="looking for it again"):
        collect(accelerator)
    assert [frame.sequence for frame in accelerator.close()] == [0, 1, 2]


def test_each_frame_comes_back_exactly_once_whatever_is_tampered_with() -> None:
    accelerator, backend = opened()
    sent = 0
    back: list[int] = []
    for number in range(60):
        if number % 7 == 3:
            backend.changes.append(lambda message: turned(message, sequence=5))
        while accelerator.wait_for_credit(0):
            send(accelerator, sent)
            sent += 1
        result = collect(accelerator)
        is_right(result)
        back.append(result.frame.sequence)
    back += [frame.sequence for frame in accelerator.close()]
    assert back == list(range(sent))

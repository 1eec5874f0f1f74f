"""The host's side of the link's version rules: later devices are used, and told what the host knows."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from gnetseg_device.device import MockDevice
from gnetseg_device.model_store import StoredModel

from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link import constants as c
from gnetsegd.link.constants import Request
from gnetsegd.link.header import in_buffer_size, message_size
from gnetsegd.link.model_upload import ModelRecord
from gnetsegd.link.requests import parse_hello

from ..device.host import bundle
from .conftest import MakeRoad
from .model import MODEL, driver


def said_in_hello(device: MockDevice, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Each HELLO that the device gets, from now on."""
    said: list[Any] = []
    take = device.engine.control_out

    def noted(request: int, data: bytes) -> None:
        if request == Request.HELLO:
            said.append(parse_hello(data))
        take(request, data)

    monkeypatch.setattr(device.engine, "control_out", noted)
    return said


@pytest.mark.parametrize("name", ["", "later-minor", "older-minor"])
def test_hello_says_the_hosts_own_version(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device = MockDevice(model=MODEL)
    if name:
        device.inject(name)
    said = said_in_hello(device, monkeypatch)
    accelerator = driver(device)
    accelerator.open()
    accelerator.close()
    assert [(hello.major, hello.minor) for hello in said] == [(c.MAJOR, c.MINOR)]


@pytest.mark.parametrize("payload_crc", [False, True])
@pytest.mark.parametrize("mask_bits", [0, 1, 4, 8])
def test_a_device_of_a_later_minor_version_is_given_the_model_and_used(
    mask_bits: int, payload_crc: bool, road: MakeRoad
) -> None:
    model = bundle(bytes(200_000), width=48, height=32, classes=2)
    device = MockDevice()
    device.inject("later-minor")
    accelerator = driver(device, bundle=model, mask_bits=mask_bits, payload_crc=payload_crc)
    with road(accelerator, model) as running:
        running.wait_for_masks(20)
        told = running.accelerator.describe()
    assert told["faults"] == {}
    assert told["stale"] >= 20, "each answer came behind an unknown one"
    assert device.store.active is not None
    assert device.store.active.content == model.content


def test_a_mask_behind_the_longest_header_fits_into_the_buffer_that_the_host_gives() -> None:
    for width in range(16, 641, 16):
        for height in range(16, 481, 8):
            for bits in (1, 2, 4, 8):
                payload = MaskFormat(width, height, bits, 2).size_bytes
                for flags in (0, c.FLAG_CRC):
                    assert message_size(payload, flags, c.MAX_HEADER_SIZE) <= in_buffer_size(payload)


def test_the_buffer_is_whole_packets_and_never_under_the_least() -> None:
    for payload in range(5000):
        size = in_buffer_size(payload)
        assert size % c.PACKET == 0
        assert size >= c.MIN_IN_BUFFER
        assert size < c.MIN_IN_BUFFER + payload + c.PACKET


@pytest.mark.parametrize(
    "record",
    [
        {"input": FrameSpec(48, 32, "RGB")},
        {"mask": MaskFormat(48, 32, 8, 199)},
        {"mask": MaskFormat(24, 16, 8, 200)},
    ],
    ids=str,
)
def test_the_same_file_under_another_record_is_another_model(record: dict[str, Any], road: MakeRoad) -> None:
    other = attrs.evolve(MODEL, **record) if attrs.has(type(MODEL)) else MODEL
    assert ModelRecord.of(other) != ModelRecord.of(MODEL)
    device = MockDevice(model=other)
    with road(driver(device)) as running:
        running.wait_for_masks(20)
    assert device.store.active is not None
    assert device.store.active.record == ModelRecord.of(MODEL)


def test_a_device_that_makes_another_record_active_is_refused_and_not_given_it_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from gnetsegd.errors import TransientError

    device = MockDevice()
    commits = []
    complete = device.store.complete

    def other(sha256: bytes) -> StoredModel:
        commits.append(sha256)
        model = complete(sha256)
        record = ModelRecord(sha256, model.record.size, model.record.input, MaskFormat(48, 32, 8, 3))
        return StoredModel(record, model.content)

    monkeypatch.setattr(device.store, "complete", other)
    accelerator = driver(device)
    for _ in range(3):
        with pytest.raises(TransientError, match="made another model active than fake; update its firmware"):
            accelerator.open()
    assert len(commits) == 1


def test_a_late_answer_in_each_epoch_costs_nothing_however_many_epochs_there_are() -> None:
    from gnetsegd.frame import Frame, Mask
    from gnetsegd.link.header import ROOM

    device = MockDevice(model=MODEL)
    device.inject("late-answer")
    accelerator = driver(device)
    accelerator.open()
    frame = Frame(MODEL.input, MODEL.mask.size_bytes, ROOM)
    for epoch in range(80):
        for number in range(2):
            if number == 1:
                device.inject("short-read")  # and a new epoch begins
            assert accelerator.wait_for_credit(1.0)
            accelerator.submit(frame)
            assert isinstance(accelerator.collect(1.0), Mask) is (number == 0), epoch
    told = accelerator.describe()
    assert told["stale"] == 80
    assert set(told["faults"]) == {"short"}
    accelerator.close()

"""A label that is no class, and a set bit in the padding, is never published; what is right always is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from gnetseg_device.device import MockDevice

from gnetsegd.accelerators.usb import UsbAccelerator
from gnetsegd.accelerators.usb_labels import WHOLE, LabelCheck, largest
from gnetsegd.errors import TransientError
from gnetsegd.frame import HEADROOM, Frame, FrameSpec, Loss, Mask, MaskFormat
from gnetsegd.link.header import ROOM
from gnetsegd.message import pack_mask
from gnetsegd.model import ModelBundle

from ..device.host import bundle
from .model import driver

FORMATS = [
    MaskFormat(width, 6, bits, classes)
    for width in (1, 3, 5, 8, 16, 37)
    for bits, classes in (
        (1, 2), (2, 2), (2, 3), (2, 4), (4, 2), (4, 11), (4, 16), (8, 2), (8, 200), (8, 254), (8, 255),
    )
]  # fmt: skip


def framed(mask: MaskFormat, payload: bytes) -> Frame:
    frame = Frame(FrameSpec(8, 8), mask.width * mask.height, ROOM)
    # What stands behind the mask is not looked at.
    frame.reply[HEADROOM:] = b"\xff" * (len(frame.reply) - HEADROOM)
    frame.reply[HEADROOM : HEADROOM + len(payload)] = payload
    return frame


@pytest.mark.parametrize("mask", FORMATS, ids=str)
def test_each_mask_of_classes_is_good_and_each_other_label_in_any_pixel_is_not(mask: MaskFormat) -> None:
    check = LabelCheck(mask)
    draw = np.random.default_rng(1)
    labels = draw.integers(0, mask.classes, (mask.height, mask.width), np.uint8)
    labels.flat[0] = mask.classes - 1
    good = framed(mask, pack_mask(labels, mask.bits))
    assert check.complaint(good) is None
    worse = {mask.classes, (1 << mask.bits) - 1} & set(range(mask.classes, 1 << mask.bits))
    assert bool(worse) is (mask.classes < 1 << mask.bits)
    for row, column, label in itertools.product(range(mask.height), range(mask.width), worse):
        bad = labels.copy()
        bad[row, column] = label
        frame = framed(mask, pack_mask(bad, mask.bits))
        complaint = check.complaint(frame)
        assert complaint is not None
        assert complaint[0] == "labels"
        assert f"has the label {label}, the model has {mask.classes} classes" in complaint[1]


@pytest.mark.parametrize("mask", [mask for mask in FORMATS if mask.width * mask.bits % 8], ids=str)
def test_each_single_bit_of_the_padding_is_seen(mask: MaskFormat) -> None:
    check = LabelCheck(mask)
    assert check.needed
    labels = np.zeros((mask.height, mask.width), np.uint8)
    payload = pack_mask(labels, mask.bits)
    for row, bit in itertools.product(range(mask.height), range(-mask.width * mask.bits % 8)):
        bad = bytearray(payload)
        bad[(row + 1) * mask.stride - 1] |= 1 << bit
        frame = framed(mask, bytes(bad))
        complaint = check.complaint(frame)
        assert complaint is not None
        assert complaint[0] in ("padding", "labels")


def test_nothing_is_looked_for_where_nothing_can_be_wrong() -> None:
    for mask in FORMATS:
        full = mask.classes == 1 << mask.bits and mask.width * mask.bits % 8 == 0
        assert LabelCheck(mask).needed is not full


@pytest.mark.parametrize("classes", [2, 3, 200, 254, 255])
def test_the_quick_look_at_bytes_sees_the_largest_wherever_it_is(classes: int) -> None:
    mask = MaskFormat(37, 6, 8, classes)
    check = LabelCheck(mask)
    assert check.needed
    assert not check.are_packed
    for place in range(37 * 6):
        payload = bytearray(37 * 6)
        payload[place] = classes
        assert largest(check.view(framed(mask, bytes(payload))), WHOLE).item() == classes


def test_what_is_kept_for_slots_is_bounded() -> None:
    model = bundle(width=48, height=32, classes=2)
    accelerator = driver(MockDevice(model=model), bundle=model, mask_bits=8)
    accelerator.open()
    for _ in range(100):
        assert isinstance(exchange(accelerator, model), Mask)
    assert len(accelerator._slots) <= 40
    accelerator.close()


# -- the driver


def exchange(accelerator: UsbAccelerator, model: ModelBundle) -> Mask | Loss:
    frame = Frame(model.input, model.mask.size_bytes, ROOM)
    frame.pixels[:] = 99
    assert accelerator.wait_for_credit(1.0)
    accelerator.submit(frame)
    result = accelerator.collect(1.0)
    assert result is not None
    return result


@pytest.mark.parametrize("payload_crc", [False, True])
@pytest.mark.parametrize(
    ("name", "kind", "width", "classes", "bits"),
    [
        ("bad-labels", "labels", 48, 2, 8), ("bad-labels", "labels", 48, 2, 4),
        ("bad-labels", "labels", 48, 3, 2), ("bad-labels", "labels", 48, 200, 8),
        ("bad-padding", "padding", 45, 2, 1), ("bad-padding", "padding", 45, 4, 2),
        ("bad-padding", "padding", 45, 16, 4),
    ],
)  # fmt: skip
def test_a_mask_with_nonsense_in_it_is_a_loss_and_a_fault_of_its_kind(
    name: str, kind: str, width: int, classes: int, bits: int, payload_crc: bool
) -> None:
    model = bundle(width=width, height=32, classes=classes)
    device = MockDevice(model=model)
    accelerator = driver(device, bundle=model, mask_bits=bits, payload_crc=payload_crc)
    accelerator.open()
    assert isinstance(exchange(accelerator, model), Mask)
    device.inject(name)
    # It is in the proof of the new epoch, too: such a device is not used at all.
    with pytest.raises(TransientError, match="update the device's firmware"):
        exchange(accelerator, model)
    accelerator.close()
    assert accelerator.describe()["faults"] == {kind: 3}
    with pytest.raises(TransientError, match="update the device's firmware"):
        accelerator.open()
    device.clear()
    accelerator.open()
    assert isinstance(exchange(accelerator, model), Mask)
    accelerator.close()

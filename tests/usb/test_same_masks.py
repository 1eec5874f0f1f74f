"""A mask is the same whoever computes it: the stand-in here, or the same network behind the link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gnetseg_device.device import MockDevice
from gnetseg_device.networks import tflite_network

from gnetsegd.accelerators.standin import StandinAccelerator, StandinOptions
from gnetsegd.frame import Frame, Mask
from gnetsegd.link.header import ROOM
from gnetsegd.message import unpack_mask
from gnetsegd.model import ModelBundle, load_bundle

from .model import driver

THRESHOLD = str(Path(__file__).parents[1] / "data" / "models" / "threshold-32")
PORTRAIT = Path(__file__).parents[1] / "data" / "portrait.npz"


def pictures(bundle: ModelBundle, count: int) -> list[Any]:
    random = np.random.default_rng(5)
    made = [random.integers(0, 256, bundle.input.shape, np.uint8) for _ in range(count)]
    portrait = next(iter(np.load(PORTRAIT).values()))
    if portrait.dtype == np.uint8 and portrait.ndim == 2 and portrait.size >= bundle.input.size_bytes:
        made.append(portrait[: bundle.input.height, : bundle.input.width].copy())
    return made


def masks(accelerator: Any, bundle: ModelBundle, many: list[Any]) -> list[Mask]:
    accelerator.open()
    found = []
    for picture in many:
        frame = Frame(bundle.input, bundle.mask.size_bytes, ROOM)
        frame.pixels[:] = picture
        assert accelerator.wait_for_credit(10)
        accelerator.submit(frame)
        result = accelerator.collect(10)
        assert isinstance(result, Mask)
        found.append(result)
    accelerator.close()
    return found


@pytest.mark.runtime
@pytest.mark.parametrize("bits", [8, 1])
@pytest.mark.parametrize(
    ("model", "count"), [(THRESHOLD, 20), ("gnetseg-large-cpu30", 3)], ids=["threshold", "shipped"]
)
def test_masks_over_the_link_are_those_of_the_standin(model: str, count: int, bits: int) -> None:
    bundle = load_bundle(model)
    many = pictures(bundle, count)
    device = MockDevice(model=bundle, network=tflite_network(1))
    linked = masks(driver(device, bundle=bundle, mask_bits=bits, answer_timeout_s=10), bundle, many)
    local = masks(StandinAccelerator(bundle, StandinOptions(threads=1)), bundle, many)
    labels = set()
    for one, other in zip(linked, local, strict=True):
        assert one.info.mask.bits == bits
        assert (one.info.backend, other.info.backend) == ("usb", "standin")
        if bits == 8:
            assert bytes(one.payload) == bytes(other.payload)
        else:
            assert (
                unpack_mask(one.payload, one.info.mask) == unpack_mask(other.payload, other.info.mask)
            ).all()
        labels.update(bytes(other.payload))
    # The comparison could fail: there is something to see in them.
    assert labels == {0, 1}

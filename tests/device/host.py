"""The smallest host that speaks the link: for tests of the device, over pyusb or straight to an engine."""

from __future__ import annotations

import hashlib
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import usb.core
from gnetseg_device.device import MockDevice
from gnetseg_device.networks import FakeNetwork
from numpy.typing import NDArray

from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link import constants as c
from gnetsegd.link.constants import Request, Type
from gnetsegd.link.header import HEADER_SIZE, Header, check_payload, pack_message, read_header
from gnetsegd.link.model_upload import ModelRecord
from gnetsegd.link.requests import IN_LENGTH, Hello, pack_epoch
from gnetsegd.model import ModelBundle

EPOCH = 0x1234


def bundle(
    content: bytes = b"model A", width: int = 32, height: int = 16, pixel: str = "Y", classes: int = 2
) -> ModelBundle:
    """A bundle for ``FakeNetwork``: any bytes will do."""
    return ModelBundle(
        id="fake",
        title="",
        licence="",
        path=Path(),
        sha256=hashlib.sha256(content).digest(),
        content=content,
        input=FrameSpec(width, height, pixel),
        mask=MaskFormat(width, height, 8, classes),
        labels=tuple(map(str, range(classes))),
    )


def picture(model: ModelBundle, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, model.input.shape, np.uint8)


def expected(model: ModelBundle, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The labels that the fake network gives."""
    out = np.zeros((model.mask.height, model.mask.width), np.uint8)
    FakeNetwork(ModelRecord.of(model), model.content).run(pixels, out)
    return out


def frame_message(
    model: ModelBundle, pixels: NDArray[np.uint8], sequence: int, *, epoch: int = EPOCH, flags: int = 0
) -> bytes:
    return pack_message(
        Type.FRAME,
        epoch,
        sequence,
        pixels.tobytes(),
        flags=flags,
        pixel=c.PIXEL_FORMAT_CODES[model.input.pixel_format],
        width=model.input.width,
        height=model.input.height,
        model_id=ModelRecord.of(model).model_id,
    )


def split(message: bytes | memoryview) -> tuple[Header, bytes]:
    """Header and payload of an answer whose CRCs are good."""
    view = memoryview(bytes(message))
    header = Header(*read_header(view))
    assert check_payload(view, HEADER_SIZE, header.length, header.flags)
    return header, bytes(view[HEADER_SIZE : HEADER_SIZE + header.length])


class UsbHost:
    """Over pyusb's documented calls; every error of pyusb comes through."""

    def __init__(self, mock: MockDevice, backend: Any = None) -> None:
        found = usb.core.find(
            backend=backend or mock.backend, idVendor=0x1209, idProduct=1,
            custom_match=lambda device: device.serial_number == mock.port.identity.serial,
        )  # fmt: skip
        assert found is not None
        self.device = found

    def hello(self, epoch: int = EPOCH, bits: int = 8, features: int = 0) -> None:
        self.request(Request.HELLO, Hello(epoch, bits, features).pack())

    def abort(self, epoch: int) -> None:
        self.request(Request.ABORT, pack_epoch(epoch))

    def request(self, number: int, data: bytes = b"") -> None:
        assert self.device.ctrl_transfer(c.REQUEST_OUT, number, 0, 0, data, 1000) == len(data)

    def ask(self, number: int) -> bytes:
        return bytes(self.device.ctrl_transfer(c.REQUEST_IN, number, 0, 0, IN_LENGTH, 1000))

    def write(self, message: bytes, timeout_ms: int = 1000) -> int:
        return int(self.device.write(0x01, array("B", message), timeout_ms))

    def read(self, size: int = 2048, timeout_ms: int = 1000) -> bytes:
        return bytes(self.device.read(0x81, size, timeout_ms))

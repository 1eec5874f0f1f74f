"""Networks that a device can run: the real one, a cheap one for tests, and one that costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gnetsegd.link.model_upload import ModelRecord


class Network(Protocol):
    """What the engine computes masks with; one thread at a time calls ``run``."""

    def run(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """``pixels``: uint8 of the model's input shape; ``out``: receives (height, width) labels."""


if TYPE_CHECKING:
    #: Makes a network of a model's record and bytes. Whatever it raises refuses the model.
    NetworkFactory = Callable[[ModelRecord, bytes], Network]


class FakeNetwork:
    """A deterministic network for tests: label = luminance, turned by a key of the model's bytes.

    The label of a mask pixel is ``((y + key) mod 256) * classes >> 8``, with ``y`` the first channel
    of the nearest input pixel (upper left) and ``key`` the lowest byte of the model's CRC-32. So
    another model, another frame or a shifted one gives another mask.
    """

    def __init__(self, record: ModelRecord, content: bytes) -> None:
        mask, spec = record.mask, record.input
        self._key = np.uint8(crc32(content) & 0xFF)
        self._classes = np.uint16(mask.classes)
        rows = np.arange(mask.height) * spec.height // mask.height
        columns = np.arange(mask.width) * spec.width // mask.width
        self._index = rows[:, None] * spec.width + columns[None, :]
        self._same_size = (mask.width, mask.height) == (spec.width, spec.height)
        self._channels = 1 if spec.pixel_format == "Y" else 3
        self._turned = np.zeros((mask.height, mask.width), np.uint8)
        self._wide = np.zeros((mask.height, mask.width), np.uint16)

    def run(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        plane = pixels if self._channels == 1 else pixels[..., 0]
        if not self._same_size:
            np.take(plane, self._index, out=self._turned, mode="clip")
            plane = self._turned
        np.add(plane, self._key, out=self._turned)
        # Widened before: numpy 1 multiplies 8 bits by a small number in 8 bits, whatever its type.
        np.copyto(self._wide, self._turned)
        np.multiply(self._wide, self._classes, out=self._wide)
        np.right_shift(self._wide, 8, out=self._wide)
        np.copyto(out, self._wide, casting="unsafe")


class NullNetwork:
    """Leaves a canned mask in ``out`` at no cost: for measuring the link alone.

    The engine writes each slot's mask once; after that ``run`` finds it there. All labels are 1 in
    the left half of the mask and 0 in the right.
    """

    def __init__(self, record: ModelRecord, content: bytes) -> None:
        del content
        self._half = record.mask.width // 2

    def run(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        del pixels
        if not out[0, 0]:
            out[:, : self._half] = 1


def tflite_network(threads: int = 2, delegate: str = "") -> NetworkFactory:
    """A factory of real networks: the stand-in's TFLite code behind the link.

    ``delegate`` is a TFLite delegate library that is to compute them; "" is the CPU.

    The factory raises ``gnetsegd.errors.ModelError`` for a file that does not load or is not what
    its record says.
    """

    def make(record: ModelRecord, content: bytes) -> Network:
        from gnetsegd.accelerators.tflite import TfliteNetwork
        from gnetsegd.model import ModelBundle

        bundle = ModelBundle(
            id=record.sha256.hex()[:12],
            title="",
            licence="",
            path=Path(),
            sha256=record.sha256,
            content=content,
            input=record.input,
            mask=record.mask,
            labels=tuple(str(label) for label in range(record.mask.classes)),
        )
        return TfliteNetwork(bundle, threads, delegate)

    return make


def by_name(name: str, delegate: str = "") -> NetworkFactory:
    """``fake``, ``null`` or ``tflite``; ``KeyError`` for another name.

    ``delegate`` is for ``tflite`` alone, see there.
    """
    if name == "tflite":
        return tflite_network(delegate=delegate)
    factories: dict[str, NetworkFactory] = {"fake": FakeNetwork, "null": NullNetwork}
    return factories[name]

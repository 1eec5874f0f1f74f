"""The buffers of the frames on the device: made when a model or an encoding changes, never per frame."""

from __future__ import annotations

import numpy as np

from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link.constants import FLAG_CRC, PIXEL_FORMAT_CODES
from gnetsegd.link.header import HEADER_SIZE, message_size

from .masks import MaskPacker
from .model_store import StoredModel

YUV420 = PIXEL_FORMAT_CODES["YUV420"]


def payload_sizes(spec: FrameSpec) -> dict[int, int]:
    """Bytes of a picture for this input, by each pixel format code in which it may be sent."""
    sizes = {PIXEL_FORMAT_CODES[spec.pixel_format]: spec.size_bytes}
    if spec.pixel_format == "YUV444" and not (spec.width % 2 or spec.height % 2):
        sizes[YUV420] = FrameSpec(spec.width, spec.height, "YUV420").size_bytes
    return sizes


class Layout:
    """The active model in one session: what its frames and masks look like, and their slots.

    Attributes
    ----------
    payload_sizes : bytes of a FRAME's payload by its pixel format code
    fits : whether the model's labels fit in the bits a pixel of the session
    labels : one byte a pixel, where the network writes if the mask is packed afterwards
    upsampled : where a YUV420 picture becomes YUV444, if the model takes that
    free : slots that hold no frame
    """

    def __init__(self, model: StoredModel, bits: int, slots: int) -> None:
        spec, labels = model.record.input, model.record.mask
        self.model_id = model.record.model_id
        self.spec = spec
        self.mask = MaskFormat(labels.width, labels.height, bits, labels.classes)
        self.fits = labels.classes <= 1 << bits
        self.payload_sizes = payload_sizes(spec)
        self.upsampled = np.zeros(spec.shape, np.uint8) if YUV420 in self.payload_sizes else None
        self.packer = MaskPacker(self.mask) if bits < 8 else None
        self.labels = np.zeros((labels.height, labels.width), np.uint8)
        # One more than may be in flight: a frame that was aborted while the network had it.
        self.free = [Slot(self) for _ in range(slots + 1)]


class Slot:
    """One frame on the device: its payload as it comes, and its whole answer as it goes."""

    __slots__ = ("answer", "layout", "mask", "pixels", "view")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.pixels = np.zeros(max(layout.payload_sizes.values()), np.uint8)
        self.view = self.pixels.data
        size = layout.mask.size_bytes
        self.answer = bytearray(max(message_size(size, 0), message_size(size, FLAG_CRC)))
        self.mask = np.frombuffer(self.answer, np.uint8, size, HEADER_SIZE).reshape(layout.mask.height, -1)

    def release(self) -> None:
        """Back to its layout, which may be out of use by now."""
        self.layout.free.append(self)

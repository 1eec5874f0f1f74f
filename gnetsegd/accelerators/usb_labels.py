"""Whether a mask holds only labels of its model, and nothing in the padding of its rows.

A device may compute nonsense and seal it with a good CRC. Where every value of the encoding is a class
and rows end with a whole byte there is nothing to look for, and nothing is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..frame import HEADROOM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..frame import Frame, MaskFormat

#: ``largest(labels, WHOLE).item()`` is the largest byte: of all of numpy's ways to it the one that costs the
#: least besides the bytes themselves.
largest = np.maximum.reduceat
WHOLE = np.zeros(1, np.intp)


class LabelCheck:
    """Looks at the masks of one format. Used by one thread at a time; nothing of a mask's size is made."""

    def __init__(self, mask: MaskFormat) -> None:
        self._mask = mask
        self._limit = mask.classes - 1
        #: The bits of a row's last byte that belong to no pixel.
        self._padding = (1 << (8 * mask.stride - mask.bits * mask.width)) - 1
        self._labels = mask.classes < 1 << mask.bits
        #: Whether there is anything that may be wrong, and whether a label's place in its byte matters.
        self.needed = self._labels or self._padding != 0
        self.are_packed = self.needed and mask.bits < 8
        self._pixel = np.zeros(mask.size_bytes if self._labels and self.are_packed else 0, np.uint8)

    def view(self, frame: Frame) -> NDArray[np.uint8]:
        """The bytes of the mask that stands in ``frame.reply``."""
        return np.frombuffer(frame.reply, np.uint8, self._mask.size_bytes, HEADROOM)

    def complaint(self, frame: Frame) -> tuple[str, str] | None:
        """(kind of fault, sentence) of a mask that is none; None for a good one."""
        if not self.needed:
            return None
        view = self.view(frame)
        if self._labels and (label := self._largest_label(view)) > self._limit:
            return "labels", (
                f"a mask has the label {label}, the model has {self._limit + 1} classes; "
                "update the device's firmware, or configure the model that it has"
            )
        if self._padding:
            last = view.reshape(self._mask.height, self._mask.stride)[:, -1]
            if int(np.bitwise_or.reduce(last)) & self._padding:
                return "padding", (
                    "the unused bits at the end of a mask's rows are set; update the device's firmware"
                )
        return None

    def _largest_label(self, view: NDArray[np.uint8]) -> int:
        bits, pixel, most = self._mask.bits, self._pixel, 0
        if bits == 8:
            return int(view.max())
        for shift in range(0, 8, bits):
            np.right_shift(view, shift, out=pixel)
            np.bitwise_and(pixel, (1 << bits) - 1, out=pixel)
            most = max(most, int(pixel.max()))
        return most

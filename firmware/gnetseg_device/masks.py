"""Packing of masks on the device: labels of one byte a pixel to rows of 4, 2 or 1 bits a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnetsegd.frame import MaskFormat


class MaskPacker:
    """Packs masks of one format: the leftmost pixel in the most significant bits (``numpy.packbits``).

    Rows of a width that does not fill whole bytes go through a padded copy that is made once.
    """

    def __init__(self, mask: MaskFormat) -> None:
        self._mask = mask
        self._per_byte = 8 // mask.bits
        self._padded: NDArray[np.uint8] | None = None
        if mask.width % self._per_byte:
            self._padded = np.zeros((mask.height, mask.stride * self._per_byte), np.uint8)
        self._shifted = np.zeros((mask.height, mask.stride), np.uint8)

    def pack(self, labels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """``labels`` of shape (height, width) into ``out`` of shape (height, stride).

        ``ValueError`` for a label that needs more bits: it would spill into its neighbour.
        """
        bits = self._mask.bits
        if int(labels.max()) >> bits:
            raise ValueError(f"label {int(labels.max())} does not fit in {bits} bits")
        if bits == 1:
            # packbits takes no output buffer: it makes one of an eighth of the mask.
            out[:] = np.packbits(labels, axis=1)
            return
        if self._padded is not None:
            self._padded[:, : self._mask.width] = labels
            labels = self._padded
        np.left_shift(labels[:, 0 :: self._per_byte], 8 - bits, out=out)
        for place in range(1, self._per_byte):
            column = labels[:, place :: self._per_byte]
            np.left_shift(column, 8 - bits * (place + 1), out=self._shifted)
            np.bitwise_or(out, self._shifted, out=out)

"""One network for two colour formats (paper, section 2.1). Needs numpy.

YUV is a linear function of RGB, so a change of the first convolution's weights turns a
network for the one into a network for the other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

YUV_OF_RGB: Floats = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.5],
        [0.5, -0.587 / 1.402, -0.114 / 1.402],
    ]
)
"""BT.601, full range (JPEG): [Y, U, V] = YUV_OF_RGB @ [R, G, B] + OFFSET, all 0..255."""
OFFSET: Floats = np.array([0.0, 128.0, 128.0])


def to_rgb(kernel: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """The first convolution of a YUV network, for RGB.

    ``kernel``: [out, 3, 3, 3] (out, in, height, width) on bytes 0..255, ``bias``: [out].
    With y = K (M x + o) + b the new kernel is K M and the new bias b + K o.

    The results agree wherever the kernel lies inside the picture. In the outermost row
    and column it reads padding, and a zero there is black in RGB but no colour at all
    in YUV.
    """
    _check(kernel, bias)
    new_kernel = np.einsum("oyhw,yc->ochw", kernel, YUV_OF_RGB)
    return new_kernel, bias + np.einsum("oyhw,y->o", kernel, OFFSET)


def to_yuv(kernel: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """The first convolution of an RGB network, for YUV: the inverse of :func:`to_rgb`."""
    _check(kernel, bias)
    new_kernel = np.einsum("ochw,cy->oyhw", kernel, np.linalg.inv(YUV_OF_RGB))
    return new_kernel, bias - np.einsum("oyhw,y->o", new_kernel, OFFSET)


def _check(kernel: Floats, bias: Floats) -> None:
    if kernel.ndim != 4 or kernel.shape[1] != 3 or bias.shape != (len(kernel),):
        raise ValueError(
            f"a first convolution on colour is [out, 3, height, width] with a bias [out]; "
            f"given {list(kernel.shape)} and {list(bias.shape)}"
        )

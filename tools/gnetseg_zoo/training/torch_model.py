# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""A :class:`~gnetseg_zoo.networks.Network` as a PyTorch module. Needs torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gnetseg_zoo.networks import KERNEL, MajorLayer, Network, Sublayer


def _convolution(layer: Sublayer, *, bias: bool) -> nn.Conv2d:
    padding = 1 if layer.stride == 1 else 0
    return nn.Conv2d(layer.in_channels, layer.out_channels, KERNEL, layer.stride, padding, bias=bias)


def pad_for_stride(x: Tensor) -> Tensor:
    """One row of zeros below and one column to the right.

    That is how TensorFlow's "same" pads a stride of 2 on an even size; padding all
    around, as PyTorch does, would cost a PAD operator in the exported model.
    """
    return nn.functional.pad(x, (0, 1, 0, 1))


class ConvNorm(nn.Module):
    """3x3 convolution and batch normalisation, folded into one convolution on export.

    Where the number of channels stays, the kernel starts as the identity plus noise:
    a plain stack of 3x3 convolutions then begins as shallow as a residual network
    (DiracNets, Zagoruyko and Komodakis 2017) and still is nothing but convolutions.
    """

    def __init__(self, layer: Sublayer) -> None:
        super().__init__()
        self.conv = _convolution(layer, bias=False)
        self.norm = nn.BatchNorm2d(layer.out_channels)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        if layer.in_channels == layer.out_channels:
            with torch.no_grad():
                self.conv.weight.mul_(0.5)
                for channel in range(layer.out_channels):
                    self.conv.weight[channel, channel, 1, 1] += 1.0

    def forward(self, x: Tensor) -> Tensor:
        if self.conv.stride == (2, 2):
            x = pad_for_stride(x)
        out: Tensor = self.norm(self.conv(x))
        return out

    def folded(self) -> tuple[Tensor, Tensor]:
        """(kernel [out, in, 3, 3], bias [out]), float32, equal to this layer in evaluation."""
        return fold(self.conv.weight, self.norm)


class LastConv(nn.Module):
    """The last convolution: a bias in place of normalisation, since its scale is the mask's."""

    def __init__(self, layer: Sublayer) -> None:
        super().__init__()
        self.conv = _convolution(layer, bias=True)
        nn.init.normal_(self.conv.weight, std=0.02)
        nn.init.constant_(self.conv.bias, 0.3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out

    def folded(self) -> tuple[Tensor, Tensor]:
        """(kernel [out, in, 3, 3], bias [out]), float32."""
        assert self.conv.bias is not None
        return self.conv.weight.detach(), self.conv.bias.detach()


class GnetSeg(nn.Module):
    """Takes pixels, float32 [batch, channels, height, width] in 0..255.

    Gives the value before the last ReLU, float32 [batch, mask channels, height,
    width] of the mask: training needs it, see ``losses.py``. Works at any size that
    the DOWN layers divide.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        convs = network.sublayers()
        self.convs = nn.ModuleList([*(ConvNorm(s) for s in convs[:-1]), LastConv(convs[-1])])

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels * (1.0 / 255.0)
        convs = iter(self.convs)
        for layer in self.network.layers:
            for position in range(len(layer.sublayers)):
                x = next(convs)(x)
                if not (layer is self.network.layers[-1] and position == len(layer.sublayers) - 1):
                    x = torch.relu_(x)
            x = _resize(layer, x)
        return x[:, : self.network.output_channels]


def labels_of(raw: Tensor, classes: int) -> npt.NDArray[np.uint8]:
    """uint8 [height, width], as the exported network chooses them from raw [mask channels, height, width].

    The first of equal scores; or the regressed label clamped and rounded, halves up.
    """
    chosen = raw.argmax(dim=0) if len(raw) > 1 else torch.floor(raw[0].clamp(0, classes - 1) + 0.5)
    out: npt.NDArray[np.uint8] = chosen.to(torch.uint8).cpu().numpy()
    return out


def _resize(layer: MajorLayer, x: Tensor) -> Tensor:
    if layer.pool:
        x = nn.functional.max_pool2d(x, 2)
    if layer.upsample:
        x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
    if layer.reformat > 1:
        x = nn.functional.pixel_shuffle(x, layer.reformat)
    return x


def fold(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Batch normalisation written into the convolution before it.

    kernel' = kernel * gamma / sqrt(var + eps), bias' = beta - mean * gamma / sqrt(var + eps).
    """
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    kernel = weight * scale.reshape(-1, 1, 1, 1)
    bias = norm.bias - norm.running_mean * scale
    return kernel.detach(), bias.detach()

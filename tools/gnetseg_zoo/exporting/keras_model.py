# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""A :class:`~gnetseg_zoo.networks.Network` with given weights in tf_keras. Needs tensorflow.

tf_keras and not Keras 3, whose up-sampling becomes RESHAPE and TILE in TFLite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras
from tf_keras.layers import Conv2D

from gnetseg_zoo.networks import KERNEL, Network

Weights = Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""(kernel [out, in, 3, 3], bias [out]) of every convolution, normalisation folded in."""


def build_keras(network: Network, weights: Weights) -> Any:
    """The network as deployed: float32 [1, size, size, channels] pixels 0..255 in.

    The division by 255 is written into the first kernel, so that the camera's bytes are
    the quantised input.

    An integer mask, float32 [1, h, w, 1], ends in a minimum and in a fake quantisation of
    scale 1, which makes the converter give the output scale 1: the requantisation of the
    last convolution rounds the regressed label to the integer. Softmax ends in its
    scores, float32 [1, h, w, classes] at least 0; ``argmax.py`` makes the mask of them
    once they are quantised.
    """
    given = iter(weights)
    channels = network.sublayers()[0].in_channels
    x = entry = tf_keras.Input((network.size, network.size, channels), batch_size=1)
    first = True
    for layer in network.layers:
        for position, conv in enumerate(layer.sublayers):
            kernel, bias = next(given)
            if layer is network.layers[-1] and position == len(layer.sublayers) - 1:
                # The chip's padding to 4 channels is the chip's: leave out what nobody reads.
                used = network.output_channels * layer.reformat**2
                kernel = channels_within_blocks(kernel[:used], layer.reformat)
                bias = channels_within_blocks(bias[:used], layer.reformat)
            if first:
                kernel, first = kernel / 255, False
            convolve = Conv2D(len(bias), KERNEL, conv.stride, padding="same", activation="relu")
            x = convolve(x)
            convolve.set_weights([kernel.transpose(2, 3, 1, 0), bias])
        if layer.pool:
            x = tf_keras.layers.MaxPooling2D(2)(x)
        if layer.upsample:
            x = tf_keras.layers.UpSampling2D(2, interpolation="nearest")(x)
        if layer.reformat > 1:
            x = _depth_to_space(x, layer.reformat)
    if network.encoding == "integer":
        top = float(network.classes - 1)
        x = tf_keras.layers.Lambda(lambda t: tf.minimum(t, top))(x)
        x = tf_keras.layers.Lambda(lambda t: tf.quantization.fake_quant_with_min_max_args(t, 0, 255, 8))(x)
    return tf_keras.Model(entry, x)


def channels_within_blocks(values: npt.NDArray[np.float32], block: int) -> npt.NDArray[np.float32]:
    """``values`` [channels * block^2, ...] in the order of TensorFlow's depth to space.

    PyTorch's pixel shuffle keeps the pixels of a channel together (channel * block^2 +
    pixel), TensorFlow the channels of a pixel (pixel * channels + channel).
    """
    pixels = block * block
    apart = values.reshape(len(values) // pixels, pixels, *values.shape[1:])
    return apart.swapaxes(0, 1).reshape(values.shape)


def _depth_to_space(x: Any, block: int) -> Any:
    return tf_keras.layers.Lambda(lambda t: tf.nn.depth_to_space(t, block))(x)

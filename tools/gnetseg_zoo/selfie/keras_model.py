# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""The network with given weights in tf_keras, ready to become integers. Needs tensorflow.

tf_keras and not Keras 3, as in ``exporting/keras_model.py``, which says how the mask becomes an integer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras import layers

from gnetseg_zoo.selfie.graph import CONVOLUTIONS, FIRST, Step, Weights

STEEPNESS = 4.0
"""Of the score at the threshold: the mask is a step, and what lies beyond 0 and 1 is clipped."""


def build_keras(
    steps: Sequence[Step], weights: Weights, size: int, ranges: Mapping[int, tuple[float, float]]
) -> Any:
    """float32 [1, size, size, channels] bytes in, float32 [1, size, size, 1] labels 0 and 1 out.

    The tensors that ``ranges`` names get those as integers, the others what the converter sees.
    ``weights`` take bytes (``graph.for_bytes``). The global means are built as such, so that any
    size that divides by 16 goes.
    """
    channels = weights[FIRST][0].shape[1]
    entry = tf_keras.Input((size, size, channels), batch_size=1)
    tensors = {steps[0].inputs[0]: entry}
    for step in steps:
        given = [tensors[i] for i in step.inputs]
        if step.kind in CONVOLUTIONS:
            tensors[step.output] = _convolution(step, weights, given[0])
        else:
            tensors[step.output] = _LAYERS[step.kind](given)
        if step.output in ranges and step.kind != "sigmoid":
            tensors[step.output] = _pinned(tensors[step.output], *ranges[step.output])
    return tf_keras.Model(entry, tensors[steps[-1].output])


def _convolution(step: Step, weights: Weights, x: Any) -> Any:
    kernel, bias = weights[step.name]
    height, width = kernel.shape[2:]
    layer: Any
    if step.kind == "depthwise":
        layer = layers.DepthwiseConv2D((height, width), step.stride, padding="same")
        y = layer(x)
        layer.set_weights([kernel[:, 0].transpose(1, 2, 0)[..., None], bias])
        return y
    hwio = kernel.transpose(2, 3, 1, 0)
    if step.kind == "convolution":
        layer = layers.Conv2D(hwio.shape[3], (height, width), step.stride, padding="same")
        y = layer(x)
        layer.set_weights([hwio, bias])
        return y
    layer = layers.Conv2D(hwio.shape[3], 1, padding="same", activation="relu")
    y = layer(x)
    layer.set_weights([hwio * STEEPNESS, bias * STEEPNESS + 0.5])
    y = layers.Lambda(lambda t: tf.nn.depth_to_space(t, 2))(y)
    y = layers.Lambda(lambda t: tf.minimum(t, 1.0))(y)
    return layers.Lambda(lambda t: tf.quantization.fake_quant_with_min_max_args(t, 0, 255, 8))(y)


def _pinned(x: Any, low: float, high: float) -> Any:
    return layers.Lambda(lambda t: tf.quantization.fake_quant_with_min_max_args(t, low, high, 8))(x)


def _hard_swish(given: list[Any]) -> Any:
    return layers.Lambda(lambda t: t * tf.nn.relu6(t + 3) * (1 / 6))(given[0])


def _enlarge(given: list[Any]) -> Any:
    side = given[0].shape[1] * 2
    return layers.Lambda(lambda t: tf.image.resize(t, (side, side)))(given[0])


_LAYERS: dict[str, Any] = {
    "hard_swish": _hard_swish,
    "relu": lambda given: layers.ReLU()(given[0]),
    "sigmoid": lambda given: layers.Activation("sigmoid")(given[0]),
    "pool": lambda given: layers.GlobalAveragePooling2D(keepdims=True)(given[0]),
    "multiply": lambda given: layers.Multiply()(given),
    "add": lambda given: layers.Add()(given),
    "enlarge": _enlarge,
}

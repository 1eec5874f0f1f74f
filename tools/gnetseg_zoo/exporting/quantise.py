# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""From trained weights to the TFLite file: full-integer, bytes in, labels out. Needs tensorflow, torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import torch

from gnetseg_zoo.exporting.argmax import with_argmax
from gnetseg_zoo.exporting.keras_model import Weights, build_keras
from gnetseg_zoo.networks import NetworkError
from gnetseg_zoo.training.torch_model import GnetSeg

Frames = list[npt.NDArray[np.uint8]]
"""Calibration frames, uint8 [size, size, channels] each."""


def tflite_file(model: GnetSeg, frames: Frames, *, scores: bool = False) -> bytes:
    """``model`` as a TFLite file whose output is the mask, uint8 [1, h, w, 1], one label a pixel.

    With ``scores`` (softmax only) the output is what the argmax would be taken of, uint8
    [1, h, w, classes] of some scale: for looking into, not for the daemon.

    Raises :class:`NetworkError` if the scores of an integer mask are asked for.
    """
    network = model.network
    weights = folded_weights(model)
    if network.encoding == "integer":
        if scores:
            raise NetworkError(
                "an integer mask has no scores: the network gives the label itself; ask for them of a "
                "network with encoding = 'softmax'"
            )
        return quantise(build_keras(network, weights), frames)
    keras_model = build_keras(network, lifted(weights, lowest_score(model, frames)))
    if scores:
        return quantise(keras_model, frames)
    return with_argmax(quantise(keras_model, frames, output=tf.int8))


def folded_weights(model: GnetSeg) -> Weights:
    """(kernel [out, in, 3, 3], bias [out]) of every convolution, normalisation folded in."""
    return [(kernel.numpy(), bias.numpy()) for kernel, bias in (conv.folded() for conv in model.convs)]


def lowest_score(model: GnetSeg, frames: Frames) -> float:
    """The lowest score that ``model`` gives anywhere on ``frames``."""
    lowest = float("inf")
    with torch.no_grad():
        for frame in frames:
            pixels = torch.from_numpy(frame.transpose(2, 0, 1)[None].astype(np.float32))
            lowest = min(lowest, float(model(pixels).min()))
    return lowest


def lifted(weights: Weights, lowest: float) -> Weights:
    """``weights`` with one constant added to the last biases, so that all scores are at least 0.

    The chip ends every convolution with ReLU, which would cut negative scores off; which
    one is the highest does not change.
    """
    kernel, bias = weights[-1]
    return [*weights[:-1], (kernel, bias - np.float32(lowest))]


def quantise(keras_model: Any, frames: Frames, output: Any = tf.uint8) -> bytes:
    """The TFLite file: full-integer, uint8 in, ``output`` out; ranges of activations from ``frames``."""

    def representative() -> Iterator[list[npt.NDArray[np.float32]]]:
        for frame in frames:
            yield [frame[None].astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(keras_model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = output
    return bytes(converter.convert())

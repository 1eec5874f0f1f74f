"""Write the tiny networks that the tests use (needs tensorflow and tf_keras; extra ``train``).

    .venv-train/bin/python tests/data/models/generate.py

``threshold`` is a good bundle: one 1x1 convolution whose integer output is 1 where Y is at least
about 128. The others each break one promise of a bundle.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

HERE = Path(__file__).parent
#: Just above -0.5: at 128 the runtimes would round a tie differently.
BIAS = -0.496
MANIFEST = """\
schema = 1
id = "{name}"
title = "test network: {title}"
file = "model.tflite"
sha256 = "{digest}"
licence = "CC0-1.0"
[input]
width = {size}
height = {size}
format = "Y"
[mask]
width = {size}
height = {size}
encoding = "u8"
classes = ["background", "person"]
"""


def threshold(size: int, top: float, channels: int = 1) -> Any:
    """Y -> Y / 128 + BIAS, clamped to 0..top: rounded, that is 1 from 128 on."""
    entry = tf_keras.Input((size, size, 1), batch_size=1)
    convolve = tf_keras.layers.Conv2D(channels, 1, activation="relu")
    x = convolve(entry)
    convolve.set_weights(
        [np.full((1, 1, 1, channels), 1 / 128, np.float32), np.full(channels, BIAS, np.float32)]
    )
    x = tf_keras.layers.Lambda(lambda t: tf.minimum(t, top))(x)
    x = tf_keras.layers.Lambda(lambda t: tf.quantization.fake_quant_with_min_max_args(t, 0, 255 * top, 8))(x)
    return tf_keras.Model(entry, x)


def convert(model: Any, size: int, kind: str) -> bytes:
    def frames() -> Any:
        ramp = np.linspace(0, 255, size * size, dtype=np.float32).reshape(1, size, size, 1)
        for _ in range(4):
            yield [ramp]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = frames
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    return bytes(converter.convert())


def write(name: str, title: str, size: int, content: bytes) -> None:
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    (folder / "model.tflite").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    text = MANIFEST.format(name=name, title=title, digest=digest, size=size)
    (folder / "model.toml").write_text(text)


def main() -> None:
    for size in (32, 224):
        write(f"threshold-{size}", "1 where Y >= 128", size, convert(threshold(size, 1.0), size, "uint8"))
    write("float", "float tensors", 32, convert(threshold(32, 1.0), 32, "float"))
    write("signed", "int8 input and output", 32, convert(threshold(32, 1.0), 32, "int8"))
    write("scaled", "output scale 0.5", 32, convert(threshold(32, 0.5), 32, "uint8"))
    write("two-channels", "two channels out", 32, convert(threshold(32, 1.0, 2), 32, "uint8"))
    write("other-size", "16 pixels, not the 32 promised", 32, convert(threshold(16, 1.0), 16, "uint8"))


if __name__ == "__main__":
    main()

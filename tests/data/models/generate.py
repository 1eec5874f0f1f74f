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
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

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
    foreign()
    write("other-size", "16 pixels, not the 32 promised", 32, convert(threshold(16, 1.0), 16, "uint8"))


def foreign() -> None:
    """Files of others, without a bundle: what ``gnetsegctl model import`` is given."""
    folder = HERE / "foreign"
    folder.mkdir(exist_ok=True)
    entry = tf_keras.Input((16, 24, 3), batch_size=1)
    three = tf_keras.layers.Conv2D(3, 1, use_bias=False)
    scores = three(entry)
    three.set_weights([np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3)])
    one = tf_keras.layers.Conv2D(1, 1)
    score = one(entry)
    one.set_weights([np.full((1, 1, 3, 1), 1 / 3, np.float32), np.zeros(1, np.float32)])
    flat = tf_keras.Input((10,), batch_size=1)
    pooled = tf_keras.layers.GlobalAveragePooling2D()(entry)
    label = tf_keras.layers.Lambda(lambda t: tf.argmax(t, axis=-1))(scores)
    models = {
        "classes": tf_keras.Model(entry, scores),  # the brightest of R, G and B
        "labels": tf_keras.Model(entry, label),
        "score": tf_keras.Model(entry, score),  # the mean of R, G and B
        "detector": tf_keras.Model(entry, [pooled, scores, score, label]),
        "no-mask": tf_keras.Model(entry, pooled),
        "no-picture": tf_keras.Model(flat, tf_keras.layers.Dense(4)(flat)),
    }
    for name, model in models.items():
        (folder / f"{name}.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    file = flatbuffer_utils.convert_bytearray_to_object(bytearray((folder / "score.tflite").read_bytes()))
    for code in file.operatorCodes:
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = b"MadeUpOperator"
    (folder / "custom.tflite").write_bytes(flatbuffer_utils.convert_object_to_bytearray(file))


if __name__ == "__main__":
    main()

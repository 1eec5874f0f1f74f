# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Turn a checkpoint into a bundle: ``python -m gnetseg_zoo.export configs/NAME.toml --data index.csv``.

Needs torch, tensorflow, tf_keras, tomli-w and a TFLite runtime. Folds normalisation,
copies the weights into tf_keras, quantises to 8-bit integers with real frames, checks
that input and mask have scale 1.0 and zero point 0, scores the result on the validation
split, and writes ``model.tflite`` and ``model.toml``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tomli_w
import torch

from gnetseg_zoo.bundle_scores import with_scores
from gnetseg_zoo.checkpoint import CHECKPOINT, CheckpointError, fingerprint, load_checkpoint
from gnetseg_zoo.config import Config, ConfigError, load_config
from gnetseg_zoo.costs import macs, parameters
from gnetseg_zoo.evaluate import score
from gnetseg_zoo.files import write_whole
from gnetseg_zoo.keras_model import Weights, build_keras
from gnetseg_zoo.networks import NetworkError
from gnetseg_zoo.pictures import network_input, open_photo
from gnetseg_zoo.samples import DataError, Sample, load_index, source_key
from gnetseg_zoo.torch_model import GnetSeg
from gnetsegd.errors import ModelError
from gnetsegd.model import load_bundle

CALIBRATION_FRAMES = 150
NOTE = (
    "The licence above is that of the weights. The photos they were trained on are not part of this "
    "bundle and keep their own terms: several sources are for research use or state none, so check that "
    "training on them is allowed where you use the model."
)


def folded_weights(config: Config, state: dict[str, Any]) -> Weights:
    """(kernel [out, in, 3, 3], bias [out]) of every convolution of the averaged weights."""
    model = GnetSeg(config.build_network())
    model.load_state_dict(state["average"])
    model.eval()
    return [(kernel.numpy(), bias.numpy()) for kernel, bias in (conv.folded() for conv in model.convs)]


def quantise(keras_model: Any, frames: list[npt.NDArray[np.uint8]]) -> bytes:
    """The TFLite file: full-integer, uint8 in and out; ranges of activations from ``frames``."""

    def representative() -> Iterator[list[npt.NDArray[np.float32]]]:
        for frame in frames:
            yield [frame[None].astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(keras_model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    return bytes(converter.convert())


def calibration_frames(config: Config, samples: list[Sample]) -> list[npt.NDArray[np.uint8]]:
    """Frames spread evenly over the training photos that the configuration uses.

    Raises :class:`DataError` unless black and white both occur: else the input's scale
    would not come out as 1.
    """
    used = [s for s in samples if config.sources.get(source_key(s), 0) > 0]
    step = max(1, len(used) // CALIBRATION_FRAMES)
    size = config.network.size
    frames = [network_input(open_photo(s.image, config.network.input_format), size) for s in used[::step]]
    if not frames or min(f.min() for f in frames) > 0 or max(f.max() for f in frames) < 255:
        raise DataError("the calibration frames have no black or no white pixel; train on more photos")
    return frames


def manifest(config: Config, content: bytes, samples: list[Sample], state: dict[str, Any]) -> dict[str, Any]:
    """Everything in ``model.toml`` but the scores."""
    network = config.build_network()
    counts = Counter((s.source, s.licence) for s in samples if config.sources.get(source_key(s), 0) > 0)
    size = network.output_size
    return {
        "schema": 1,
        "id": config.name,
        "title": config.title,
        "file": "model.tflite",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": config.licence,
        "input": {"width": network.size, "height": network.size, "format": network.input_format},
        "mask": {"width": size, "height": size, "encoding": "u8", "classes": config.network.classes},
        "data": {
            "note": NOTE,
            "sources": [
                {"name": source, "photos": photos, "licence": licence}
                for (source, licence), photos in sorted(counts.items())
            ],
        },
        "training": {
            "config": f"{config.name}.toml",
            "architecture": f"{network.architecture}: {network.pattern}",
            "mmacs": round(macs(network) / 1e6, 1),
            "parameters": parameters(network),
            "seed": config.seed,
            "minutes": round(state["elapsed_s"] / 60, 1),
            "steps": state["step"],
            "images": state["images"],
            "weights": "exponential average",
            "torch": torch.__version__,
            "tensorflow": tf.__version__,
        },
    }


def write_bundle(
    folder: Path, content: bytes, table: dict[str, Any], validation: list[Sample]
) -> dict[str, dict[str, float | int]]:
    """Check and score the network in a folder beside, then put it in place; gives the scores.

    Raises :class:`ModelError` when the network breaks its promise: the former bundle then stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        trial = Path(beside)
        (trial / table["file"]).write_bytes(content)
        (trial / "model.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
        scores = score(load_bundle(str(trial)), validation)
    write_whole(folder / table["file"], content)
    write_whole(folder / "model.toml", with_scores(tomli_w.dumps(table), "val", scores).encode())
    return scores


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.export", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="index.csv of the photos")
    parser.add_argument("--run", type=Path, help="folder of the training run (build/train/NAME)")
    parser.add_argument("--output", type=Path, help="folder of the bundle (gnetsegd/models/NAME)")
    given = parser.parse_args(arguments)
    try:
        config = load_config(given.config)
        network = config.build_network()
        run = given.run or Path("build/train") / config.name
        state = load_checkpoint(run / CHECKPOINT, fingerprint(network))
        samples = load_index(given.data, "train")
        frames = calibration_frames(config, samples)
        content = quantise(build_keras(network, folded_weights(config, state)), frames)
        output = given.output or Path("gnetsegd/models") / config.name
        table = manifest(config, content, samples, state)
        scores = write_bundle(output, content, table, load_index(given.data, "val"))
    except (ConfigError, NetworkError, DataError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return os.EX_DATAERR
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        return os.EX_IOERR
    print(f"{output}: {len(content)} bytes, {scores}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

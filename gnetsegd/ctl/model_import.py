"""``gnetsegctl model import``: a bundle of a TFLite network of the user's own, or why there can be none.

The file is a stranger's. It is read and run in child processes only, with limits of memory and time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..accelerators.runtimes import find_runtime
from ..accelerators.scores import LABELS, PICTURES, quantised
from ..accelerators.tflite import FILE_IDENTIFIER, TfliteNetwork, load
from ..errors import ConfigError, ModelError
from ..files import read_regular
from ..frame import FrameSpec, MaskFormat
from ..model import NETWORK_MAX_BYTES, PERSONS, SCHEMA, ModelBundle, load_bundle
from ..process.prove import in_child
from ..text import clean

#: What a float network takes for a byte, unless it is told otherwise.
USUAL_SCALE = 1 / 255
CHANNELS = {1: "Y", 3: "RGB"}
LABELS_OF_TWO = ("background", "person")
#: Pictures that are run to tell how long one takes, after the first.
TIMED = 3
CUSTOM = re.compile(r"custom op(?:erator|code)?:? ?'?([A-Za-z0-9_]+)")


class Wish(NamedTuple):
    """What the person said: None, or empty, is to be found out."""

    name: str
    labels: tuple[str, ...]
    persons: tuple[str, ...]
    licence: str
    title: str
    pixel_format: str
    scale: float | None
    offset: float | None
    threshold: float
    runtime: str


class Tensors(NamedTuple):
    """What a file says of itself: (name, shape, dtype, scale, zero point) of each input and output."""

    inputs: list[tuple[str, list[int], str, float, int]]
    outputs: list[tuple[str, list[int], str, float, int]]


class Done(NamedTuple):
    """``took_ms`` a picture on one thread, of which the host's own part is ``host_ms``."""

    bundle: ModelBundle
    took_ms: float
    host_ms: float
    runtime: str


def import_file(file: Path, folder: Path, wish: Wish) -> Done:
    """Write the bundle of ``file`` into ``folder``, which must not be there yet.

    Raises ``ModelError`` or ``ConfigError`` with the one sentence that says why not; nothing is left then.
    """
    name = clean(file.name)
    if folder.exists():
        raise ConfigError(f"{clean(str(folder))} is there already; name another --output", os.EX_CANTCREAT)
    content = _content(file)
    runtime = find_runtime(wish.runtime)
    try:
        told = in_child(lambda: _tensors(content, name, wish.runtime), name)
        manifest, bundle = _bundle(name, content, Tensors(*told), wish)
        took_s, host_s = in_child(lambda: _run(bundle, wish.runtime), name)
    except ModelError as error:
        raise ModelError(_with_advice(str(error), runtime.words), error.exit_code) from None
    _write(folder, manifest, content)
    return Done(load_bundle(str(folder)), took_s * 1000, host_s * 1000, runtime.words)


def _content(file: Path) -> bytes:
    where = clean(str(file))
    try:
        content = read_regular(file, NETWORK_MAX_BYTES)
    except FileNotFoundError:
        raise ModelError(f"{where}: there is no such file", os.EX_NOINPUT) from None
    except OSError as error:
        raise ModelError(f"{where}: cannot be read: {error.strerror}", os.EX_NOINPUT) from None
    except ValueError as error:
        raise ModelError(f"{where}: {error}", os.EX_NOINPUT) from None
    if content[4:8] != FILE_IDENTIFIER:
        raise ModelError(
            f"{where}: is no TFLite network (its bytes 4 to 8 are not 'TFL3'); convert it with TensorFlow's "
            "TFLiteConverter or ai-edge-torch"
        )
    return content


def _tensors(content: bytes, name: str, runtime: str) -> list[Any]:
    """In a child: JSON of :class:`Tensors`."""
    interpreter = load(find_runtime(runtime), content, name)
    return [
        [
            (clean(d["name"]), [int(n) for n in d["shape"]], d["dtype"].__name__, *quantised(d))
            for d in details
        ]
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    ]


def _bundle(name: str, content: bytes, told: Tensors, wish: Wish) -> tuple[dict[str, Any], ModelBundle]:
    if len(told.inputs) != 1 or len(told.outputs) != 1:
        like = ", as a detector has" if len(told.outputs) > 1 else ""
        raise ModelError(
            f"{name}: it has {len(told.inputs)} inputs and {len(told.outputs)} outputs{like}; a network that "
            "segments has one each"
        )
    (_, shape, kind, scale, zero_point), out = told.inputs[0], told.outputs[0]
    kinds = [k.__name__ for k in PICTURES]
    if len(shape) != 4 or shape[0] != 1 or shape[3] not in CHANNELS or min(shape) < 1 or kind not in kinds:
        raise ModelError(
            f"{name}: its input is {kind} {shape}, which is no picture: [1, height, width, 1 or 3] of "
            f"{', '.join(kinds)}, with a size that is fixed"
        )
    height, width, classes = _mask(name, out, wish)
    labels = wish.labels or LABELS_OF_TWO
    if kind == "float32":
        of_byte = (USUAL_SCALE, 0.0)
    else:  # the byte itself, in whatever range the network has it
        first = -128 if kind == "int8" else 0
        of_byte = (scale, (first - zero_point) * scale)
    given_scale = of_byte[0] if wish.scale is None else wish.scale
    given_offset = of_byte[1] if wish.offset is None else wish.offset
    persons = wish.persons or tuple(label for label in labels if label.lower() in PERSONS)
    strange = [label for label in persons if label not in labels]
    if strange:
        raise ConfigError(f"--persons names {clean(strange[0])!r}, which is none of the labels", os.EX_USAGE)
    pixel_format = wish.pixel_format or CHANNELS[shape[3]]
    if (pixel_format == "Y") != (shape[3] == 1):
        raise ConfigError(f"--format is {pixel_format}, but the input has {shape[3]} channels", os.EX_USAGE)
    digest = hashlib.sha256(content).digest()
    title = wish.title or f"{wish.name}, imported from {name}"
    manifest = {
        "": {
            "schema": SCHEMA, "id": wish.name, "title": title, "file": "model.tflite",
            "sha256": digest.hex(), "licence": wish.licence,
        },
        "input": {
            "width": shape[2], "height": shape[1], "format": pixel_format, "scale": given_scale,
            "offset": given_offset,
        },
        "mask": {
            "width": width, "height": height, "encoding": "scores", "threshold": wish.threshold,
            "classes": list(labels), "persons": list(persons),
        },
    }  # fmt: skip
    if len(labels) != classes and classes:
        raise ConfigError(
            f"{name}: it gives {classes} classes, and {len(labels)} labels are named; name all with --labels",
            os.EX_USAGE,
        )
    bundle = ModelBundle(
        id=wish.name, title=title, licence=wish.licence, path=Path(), sha256=digest, content=content,
        input=FrameSpec(shape[2], shape[1], pixel_format), mask=MaskFormat(width, height, 8, len(labels)),
        labels=tuple(labels), persons=persons, encoding="scores", scale=given_scale, offset=given_offset,
        threshold=wish.threshold,
    )  # fmt: skip
    return manifest, bundle


def _mask(name: str, out: tuple[str, list[int], str, float, int], wish: Wish) -> tuple[int, int, int]:
    """(height, width, classes) of the output; 0 classes where only the labels can tell."""
    _, shape, kind, _, _ = out
    if kind in [k.__name__ for k in LABELS]:
        fits = len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)
        if fits and shape[0] == 1 and not wish.labels:
            raise ConfigError(f"{name}: it gives labels, not scores; name them with --labels", os.EX_USAGE)
        classes = 0
    elif len(shape) == 4 and shape[3] > 1:
        fits, classes = True, shape[3]
        if not wish.labels:
            raise ConfigError(f"{name}: it gives {classes} classes; name them with --labels", os.EX_USAGE)
    else:
        fits, classes = len(shape) in (3, 4), 2
    if not fits or shape[0] != 1 or min(shape) < 1 or shape[1] < 2 or shape[2] < 2:
        raise ModelError(
            f"{name}: its output is {kind} {shape}, which is no mask: [1, height, width] or "
            "[1, height, width, classes]"
        )
    return shape[1], shape[2], classes


def _run(bundle: ModelBundle, runtime: str) -> tuple[float, float]:
    """In a child: s a picture, and the host's part of it."""
    network = TfliteNetwork(bundle, 1, runtime=runtime)
    picture = np.random.default_rng(0).integers(0, 256, bundle.input.shape, np.uint8)
    mask = np.empty(bundle.mask.height * bundle.mask.width, np.uint8)
    network.run(np.zeros_like(picture), mask)
    begun = time.monotonic()
    for _ in range(TIMED):
        network.run(picture, mask)
    return (time.monotonic() - begun) / TIMED, network.host_s


def _with_advice(sentence: str, runtime: str) -> str:
    custom = CUSTOM.search(sentence)
    if custom is None:
        return sentence
    other = "; LiteRT knows more of them" if runtime.startswith("tflite-runtime") else ""
    return (
        f"{sentence.split(':')[0]}: {runtime} does not know its operator {custom[1]}{other}; "
        "the network person, which is shipped, has standard ones only"
    )


def _write(folder: Path, manifest: dict[str, Any], content: bytes) -> None:
    where = clean(str(folder))
    lines = []
    for table, values in manifest.items():
        lines += [f"\n[{table}]"] if table else []
        lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
    try:
        folder.mkdir(parents=True)
        (folder / "model.tflite").write_bytes(content)
        (folder / "model.toml").write_text("\n".join(lines) + "\n", "utf-8")
    except OSError as error:
        raise ConfigError(
            f"{where}: cannot be written: {error.strerror}; name another --output", os.EX_CANTCREAT
        ) from None


def _toml(value: Any) -> str:
    """Numbers, texts and lists of texts: a JSON text is one of TOML, too."""
    return json.dumps(value, ensure_ascii=False)

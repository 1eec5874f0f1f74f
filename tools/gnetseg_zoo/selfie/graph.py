# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""MediaPipe's selfie network as a list of plain operators. Needs numpy; reading the file needs LiteRT.

All its operators are standard but the last, a transposed 2x2 convolution of stride 2,
which is the same as a 1x1 convolution to four channels and a depth-to-space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnetseg_zoo.colour import to_yuv
from gnetseg_zoo.datasets.samples import DataError

Floats = npt.NDArray[np.float32]
Weights = Mapping[str, tuple[Floats, Floats]]
"""Kernel [out, in, height, width] and bias [out] of each convolution; a depthwise kernel has in = 1."""
KINDS = {
    "RELU": "relu",
    "HARD_SWISH": "hard_swish",
    "LOGISTIC": "sigmoid",
    "AVERAGE_POOL_2D": "pool",
    "MUL": "multiply",
    "ADD": "add",
    "RESIZE_BILINEAR": "enlarge",
}
CONVOLUTIONS = ("convolution", "depthwise", "head")
RANGE = "range:"
FIRST = "c00"
"""The convolution that sees the picture."""


@dataclass(frozen=True)
class Step:
    """One operator. ``inputs`` and ``output`` number tensors; ``name`` is that of its weights, if any.

    ``pool`` is the mean over the whole picture, ``enlarge`` doubles both sides (bilinear,
    half-pixel centres), ``head`` is a 1x1 convolution to four channels and a depth-to-space.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    name: str = ""
    stride: int = 1


def read_tflite(path: Path) -> tuple[list[Step], dict[str, tuple[Floats, Floats]]]:
    """Operators and weights of ``selfie_segmentation.tflite``; its input is RGB, 0 to 1.

    Raises :class:`DataError` for a file with other operators, OSError for one that cannot be read.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise DataError(f"{path}: is no TFLite network; give the selfie_segmentation.tflite of MediaPipe")
    model = schema.Model.GetRootAsModel(content, 0)
    graph = model.Subgraphs(0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    types = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.FLOAT16: np.float16,
        schema.TensorType.INT32: np.int32,
    }
    enlarged: dict[int, Floats] = {}

    def constant(index: int) -> Floats:
        if index in enlarged:
            return enlarged[index]
        tensor = graph.Tensors(index)
        data = model.Buffers(tensor.Buffer()).DataAsNumpy()
        flat = np.frombuffer(data.tobytes(), types[tensor.Type()])
        return flat.reshape(tensor.ShapeAsNumpy()).astype(np.float32)

    steps: list[Step] = []
    weights: dict[str, tuple[Floats, Floats]] = {}
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        codes = model.OperatorCodes(operator.OpcodeIndex())
        name = names[max(codes.BuiltinCode(), codes.DeprecatedBuiltinCode())]
        inputs = tuple(int(i) for i in operator.InputsAsNumpy())
        output = int(operator.OutputsAsNumpy()[0])
        key = f"c{len(weights):02d}"
        if name == "DEQUANTIZE":
            enlarged[output] = constant(inputs[0])
        elif name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            options = schema.Conv2DOptions() if name == "CONV_2D" else schema.DepthwiseConv2DOptions()
            options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
            kernel, bias = constant(inputs[1]), constant(inputs[2])
            kernel = kernel.transpose((0, 3, 1, 2) if name == "CONV_2D" else (3, 0, 1, 2))
            weights[key] = (np.ascontiguousarray(kernel), bias)
            kind = "convolution" if name == "CONV_2D" else "depthwise"
            steps.append(Step(kind, inputs[:1], output, key, int(options.StrideH())))
        elif name == "CUSTOM":
            kernel, bias = constant(inputs[1]), constant(inputs[2])
            weights[key] = (kernel[0].reshape(4, -1)[:, :, None, None], np.repeat(bias, 4))
            steps.append(Step("head", inputs[:1], output, key))
            break
        elif name in KINDS:
            steps.append(Step(KINDS[name], inputs[:1] if name == "RESIZE_BILINEAR" else inputs, output))
        else:
            raise DataError(f"{path}: has the operator {name}, which the selfie network has not")
    return steps, weights


def cheaper(steps: Sequence[Step]) -> list[Step]:
    """The same function for fewer operations.

    A 1x1 convolution goes before the enlarging that it followed, and the mean of
    (skip + enlarged) becomes the sum of two means: both are equal in real numbers.
    """
    out = list(steps)
    fresh = max(s.output for s in out) + 1
    for enlarge in [s for s in out if s.kind == "enlarge"]:
        (after,) = (s for s in out if enlarge.output in s.inputs)
        if after.kind != "convolution" or after.stride != 1:
            raise DataError("an enlarging is not followed by a 1x1 convolution: not the selfie network")
        small, fresh = fresh, fresh + 1
        at, then = out.index(enlarge), out.index(after)
        out[at] = replace(after, inputs=enlarge.inputs, output=small)
        out[then] = replace(enlarge, inputs=(small,), output=after.output)
        for total in [s for s in out if s.kind == "add" and after.output in s.inputs]:
            users = [s for s in out if total.output in s.inputs]
            if len(users) != 1 or users[0].kind != "pool":
                continue
            (skip,) = (i for i in total.inputs if i != after.output)
            means = (fresh, fresh + 1)
            fresh += 2
            out[out.index(users[0])] = Step("add", means, users[0].output)
            place = out.index(total)
            out[place : place + 1] = [Step("pool", (skip,), means[0]), Step("pool", (small,), means[1])]
    return out


def for_grey(weights: Weights) -> dict[str, tuple[Floats, Floats]]:
    """The weights for one channel: what they make of a grey picture."""
    kernel, bias = weights[FIRST]
    return {**weights, FIRST: (kernel.sum(axis=1, keepdims=True), bias)}


def for_yuv(weights: Weights) -> dict[str, tuple[Floats, Floats]]:
    """The weights for YUV444 of those for RGB, both 0 to 1."""
    kernel, bias = weights[FIRST]
    on_bytes, offset = to_yuv(kernel.astype(np.float64) / 255, bias.astype(np.float64))
    return {**weights, FIRST: ((on_bytes * 255).astype(np.float32), offset.astype(np.float32))}


def for_bytes(weights: Weights) -> dict[str, tuple[Floats, Floats]]:
    """The weights for values 0 to 255."""
    kernel, bias = weights[FIRST]
    return {**weights, FIRST: (kernel / 255, bias)}


def load_weights(path: Path) -> dict[str, tuple[Floats, Floats]]:
    """What :func:`save_weights` wrote. Raises OSError, or :class:`DataError` for another kind of file."""
    with _opened(path) as file:
        names = sorted(key[:-2] for key in file.files if key.endswith("/0"))
        return {name: (file[f"{name}/0"], file[f"{name}/1"]) for name in names}


def load_ranges(path: Path) -> dict[int, tuple[float, float]]:
    """The ranges that came with the weights; empty for floats. Raises as :func:`load_weights`."""
    with _opened(path) as file:
        keys = [key for key in file.files if key.startswith(RANGE)]
        return {int(key.removeprefix(RANGE)): (float(file[key][0]), float(file[key][1])) for key in keys}


def _opened(path: Path) -> Any:
    try:
        return np.load(path)
    except ValueError as error:
        raise DataError(f"{path}: holds no weights ({error}); give a weights.npz") from error


def save_weights(
    path: Path, weights: Weights, ranges: Mapping[int, tuple[float, float]] | None = None
) -> None:
    """Write ``weights`` as .npz, with the ``ranges`` of their integers if there are some. Raises OSError."""
    arrays = {f"{k}/{i}": pair[i] for k, pair in weights.items() for i in (0, 1)}
    arrays |= {f"{RANGE}{k}": np.array(pair, np.float32) for k, pair in (ranges or {}).items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def mega_macs(steps: Sequence[Step], weights: Weights, size: int) -> float:
    """Millions of multiplications of one picture of ``size`` pixels a side."""
    sides = {steps[0].inputs[0]: size}
    total = 0
    for step in steps:
        side = max(sides[i] for i in step.inputs)
        if step.kind in CONVOLUTIONS:
            side = -(-side // step.stride)
            total += side * side * weights[step.name][0].size
        sides[step.output] = {"pool": 1, "enlarge": side * 2, "head": side * 2}.get(step.kind, side)
    return total / 1e6

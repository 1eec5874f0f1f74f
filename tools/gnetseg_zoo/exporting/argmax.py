# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""The softmax mask inside the exported graph. Needs tensorflow.

The argmax of softmax's scores is that of its inputs, so no softmax is computed. The
converter cannot quantise an argmax, a cast and a uint8 output of scale 1 behind a
network. Hence the network is quantised up to its scores, and three operators are put
behind them in the finished file: ARG_MAX, CAST to uint8 and RESHAPE to one channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

ARG_MAX_ON_INT8 = 2
"""Version of the operator: the first that takes int8."""


def with_argmax(content: bytes) -> bytes:
    """The TFLite file whose output is the label of the highest score, the lowest label among equals.

    ``content``: a file with one output, int8 scores [1, h, w, classes], all of one scale.
    The new output is uint8 [1, h, w, 1] with scale 1.0 and zero point 0, as that of the
    integer encoding. Raises :class:`ValueError` for a file with another output.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    (graph,) = model.subgraphs
    (scores,) = graph.outputs
    given = graph.tensors[scores]
    if given.type != schema.TensorType.INT8 or len(given.shape) != 4:
        raise ValueError(f"scores must be int8 [1, h, w, classes]; given type {given.type} {given.shape}")
    one, height, width, _classes = (int(n) for n in given.shape)
    plane, mask = [one, height, width], [one, height, width, 1]

    axis = _constant(model, graph, "argmax/axis", [], [3])
    labels = _tensor(graph, "argmax/labels", plane, schema.TensorType.INT32)
    options = schema.ArgMaxOptionsT()
    options.outputType = schema.TensorType.INT32
    _operator(model, graph, "ARG_MAX", [scores, axis], labels, options, ARG_MAX_ON_INT8)

    narrow = _tensor(graph, "argmax/bytes", plane, schema.TensorType.UINT8)
    cast = schema.CastOptionsT()
    cast.inDataType, cast.outDataType = schema.TensorType.INT32, schema.TensorType.UINT8
    _operator(model, graph, "CAST", [labels], narrow, cast)

    shape = _constant(model, graph, "argmax/shape", [len(mask)], mask)
    out = _tensor(graph, "mask", mask, schema.TensorType.UINT8)
    reshape = schema.ReshapeOptionsT()
    reshape.newShape = mask
    _operator(model, graph, "RESHAPE", [narrow, shape], out, reshape)

    graph.outputs = [out]
    for signature in model.signatureDefs or []:
        for output in signature.outputs:
            output.tensorIndex = out
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _tensor(graph: Any, name: str, shape: list[int], kind: int) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.hasRank = name.encode(), shape, kind, True
    if kind == schema.TensorType.UINT8:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [1.0], [0]
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _constant(model: Any, graph: Any, name: str, shape: list[int], values: list[int]) -> int:
    index = _tensor(graph, name, shape, schema.TensorType.INT32)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.array(values, "<i4").tobytes(), np.uint8)
    model.buffers.append(buffer)
    graph.tensors[index].buffer = len(model.buffers) - 1
    return index


def _operator(
    model: Any, graph: Any, name: str, inputs: list[int], output: int, options: Any, version: int = 1
) -> None:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = version
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = inputs, [output]
    kind = type(options).__name__.removesuffix("T")
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    operator.builtinOptions = options
    graph.operators.append(operator)

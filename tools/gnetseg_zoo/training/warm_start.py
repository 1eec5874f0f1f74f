# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Begin training from a bundle. Needs torch and ai-edge-litert.

The convolutions of an 8-bit network, turned back into floats, are a good beginning for
another one: on other photos, in colour, of more classes, and wider or deeper. A wider
network begins with copies of channels whose weights share out the original's at random,
a deeper one with convolutions that change nothing, so that both compute what the
original does (Net2Net, Chen et al. 2016). What fits in neither way begins at random.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor, nn

from gnetseg_zoo.networks import Network
from gnetseg_zoo.training.torch_model import ConvNorm, GnetSeg, LastConv, pad_for_stride

Floats = npt.NDArray[np.float32]
Convolution = tuple[Floats, Floats]
"""(kernel [out, in, 3, 3], bias [out])."""


def bundle_convolutions(content: bytes) -> list[Convolution]:
    """Every convolution of a TFLite file, in its order.

    The first kernel is for pixels of 0 to 1, as training has them; the file's is for bytes.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    convolution = schema.BuiltinOperator.CONV_2D
    out = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) == convolution:
            kernel = _floats(model, graph.tensors[operator.inputs[1]], np.int8)
            bias = _floats(model, graph.tensors[operator.inputs[2]], np.int32)
            out.append((np.ascontiguousarray(kernel.transpose(0, 3, 1, 2)), bias))
    kernel, bias = out[0]
    out[0] = (kernel * 255, bias)
    return out


def _floats(model: schema.ModelT, tensor: schema.TensorT, dtype: type[np.generic]) -> Floats:
    raw = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(dtype).reshape(tensor.shape)
    scale = np.asarray(tensor.quantization.scale, np.float32)
    return raw.astype(np.float32) * scale.reshape(-1, *[1] * (raw.ndim - 1))


def begin_from(model: GnetSeg, source: Network, convolutions: list[Convolution], pixels: Tensor) -> int:
    """Take over what fits of ``source``'s ``convolutions``; gives the number of convolutions set.

    ``pixels``: float32 [batch, channels, height, width], 0..255, some training pictures:
    normalisation is set to their means and variances, so that every convolution that was
    set computes what it did in the source.
    """
    rng = np.random.default_rng(0)
    taken = 0
    for layer, given in zip(model.convs, _aligned(model.network, source, convolutions), strict=True):
        wanted = tuple(layer.conv.weight.shape)
        if isinstance(layer, LastConv):
            last = _identity(wanted) if given is None else given
            taken += last is not None and _take_last(layer, last, model.network)
            continue
        fitted = _identity(wanted) if given is None else _fitted(given, wanted, rng)
        if fitted is not None:
            _take(layer, fitted)
            taken += 1
    model.eval()
    with torch.no_grad():
        model(pixels)
    for layer in model.convs:
        layer._forward_pre_hooks.clear()
    return taken


def _aligned(
    network: Network, source: Network, convolutions: list[Convolution]
) -> Iterator[Convolution | None]:
    """For each convolution of ``network`` the source's at its place: the same major layer, the same position.

    The last one's counterpart is the last one. None where the source has no such position.
    """
    given = iter(convolutions)
    of_layer = [[next(given) for _ in layer.sublayers] for layer in source.layers]
    for index, layer in enumerate(network.layers):
        have = of_layer[index] if network.architecture == source.architecture else []
        is_last = index == len(network.layers) - 1
        for position in range(len(layer.sublayers)):
            if is_last and position == len(layer.sublayers) - 1:
                yield have[-1] if len(have) == len(layer.sublayers) else None
            else:
                yield have[position] if position < len(have) else None


def _identity(shape: tuple[int, ...]) -> Convolution | None:
    """What changes nothing (its input has passed ReLU), where the number of channels stays."""
    if shape[0] != shape[1]:
        return None
    kernel = np.zeros(shape, np.float32)
    kernel[range(shape[0]), range(shape[0]), 1, 1] = 1
    return kernel, np.zeros(shape[0], np.float32)


def _fitted(given: Convolution, shape: tuple[int, ...], rng: np.random.Generator) -> Convolution | None:
    """``given`` in a wider ``shape``: its channel c is a copy of channel c modulo the narrow number."""
    kernel, bias = given
    if kernel.shape[1] == 1 and shape[1] == 3:  # Y to YUV: colour counts nothing yet
        kernel = np.concatenate([kernel, np.zeros_like(kernel), np.zeros_like(kernel)], axis=1)
    if kernel.shape == shape:
        return kernel, bias
    if shape[0] < kernel.shape[0] or shape[1] < kernel.shape[1]:
        return None
    rows, columns = np.arange(shape[0]) % kernel.shape[0], np.arange(shape[1]) % kernel.shape[1]
    # Copies of one channel share its weight: in other parts for each output, or they would stay alike.
    parts = rng.uniform(0.5, 1.5, (shape[0], shape[1], 1, 1)).astype(np.float32)
    for column in range(kernel.shape[1]):
        copies = columns == column
        parts[:, copies] /= parts[:, copies].sum(axis=1, keepdims=True)
    return kernel[rows][:, columns] * parts, bias[rows]


def _take_last(layer: LastConv, given: Convolution, network: Network) -> bool:
    """Only an integer mask's: the export turns and shifts the channels of scores."""
    kernel, bias = given
    used = network.output_channels * network.layers[-1].reformat ** 2
    if network.encoding != "integer" or kernel.shape != (used, *layer.conv.weight.shape[1:]):
        return False
    with torch.no_grad():
        layer.conv.weight[:used] = torch.from_numpy(kernel)
        layer.conv.bias[:used] = torch.from_numpy(bias)
    return True


def _take(layer: ConvNorm, given: Convolution) -> None:
    kernel, bias = given
    with torch.no_grad():
        layer.conv.weight.copy_(torch.from_numpy(kernel))

    def settle(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        out = layer.conv(pad_for_stride(x) if layer.conv.stride == (2, 2) else x)
        norm = layer.norm
        variance, mean = torch.var_mean(out, dim=(0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(torch.sqrt(variance + norm.eps))
        norm.bias.copy_(torch.from_numpy(bias).to(mean.device) + mean)

    layer.register_forward_pre_hook(settle)

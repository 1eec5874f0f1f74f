# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""The network to train: ``graph``'s operators in torch, with its int8 arithmetic simulated if asked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gnetseg_zoo.selfie.graph import CONVOLUTIONS, Floats, Step, Weights

Range = tuple[float, float]
"""Smallest and largest value of a tensor."""
COVERED = 0.9995
"""Share of a tensor's values above the low end and below the high end of its range. On clean val photos
int8 then gives another label than floats to .56 % of the pixels; with the extremes to 1.1 %."""
LEAST_SWISHED = -3.2
"""Below -3 hard-swish is 0: its input need not tell those values apart."""
SIGMOID = (0.0, 255 / 256)
"""The range that TFLite demands of one."""
WATCHED_VALUES = 20_000
"""Of each tensor and batch."""


class SelfieNet(nn.Module):
    """Pictures [n, channels, s, s], 0 to 1, to scores [n, 1, s, s]: a person where above 0.

    ``s`` divides by 16. Weights are held relative to the size of each kernel, so that one learning rate is a
    share of the weight whatever its scale.
    """

    def __init__(self, steps: Sequence[Step], weights: Weights) -> None:
        super().__init__()
        self.steps = list(steps)
        for k, v in weights.items():
            sizes = _mean_size(v[0], each=True) * 0.5 + _mean_size(v[0]) * 0.5 + 1e-8
            self.register_buffer(f"{k}_sizes", torch.from_numpy(sizes), persistent=False)
        self._bias_sizes = {k: float(np.sqrt((v[1] ** 2).mean())) + 1e-3 for k, v in weights.items()}
        self.kernels = nn.ParameterDict(
            {k: nn.Parameter(torch.from_numpy(v[0].copy()) / self._sizes(k)) for k, v in weights.items()}
        )
        self.biases = nn.ParameterDict(
            {k: nn.Parameter(torch.from_numpy(v[1].copy()) / self._bias_sizes[k]) for k, v in weights.items()}
        )
        self.ranges: dict[int, Range] | None = None
        """Of each tensor that int8 rounds; None: floats."""
        self.watched: dict[int, list[Tensor]] | None = None
        """Where :meth:`forward` keeps some of the values that it sees."""
        users: dict[int, list[str]] = {}
        for step in self.steps:
            for tensor in step.inputs:
                users.setdefault(tensor, []).append(step.kind)
        # TFLite fuses a ReLU with its convolution; the enlarged has its source's scale; the head stays.
        self._unrounded = {
            s.output
            for s in self.steps
            if s.kind in ("enlarge", "head") or (s.kind in CONVOLUTIONS and users.get(s.output) == ["relu"])
        }

    def weights(self) -> dict[str, tuple[Floats, Floats]]:
        """The weights as ``graph`` has them."""
        with torch.no_grad():
            return {
                k: (self._kernel(k).cpu().numpy().copy(), self._bias(k).cpu().numpy().copy())
                for k in self.kernels
            }

    def forward(self, x: Tensor) -> Tensor:
        tensors = {self.steps[0].inputs[0]: x}
        for step in self.steps:
            y = self._run(step, [tensors[i] for i in step.inputs])
            if step.output not in self._unrounded:
                y = self._round(step.output, y)
            tensors[step.output] = y
        return tensors[self.steps[-1].output]

    def _run(self, step: Step, given: list[Tensor]) -> Tensor:
        x = given[0]
        match step.kind:
            case "convolution" | "depthwise":
                return self._convolve(step, x)
            case "head":
                return functional.pixel_shuffle(
                    functional.conv2d(x, self._rounded_kernel(step.name), self._bias(step.name)), 2
                )
            case "hard_swish":
                return functional.hardswish(x)
            case "relu":
                return functional.relu(x)
            case "sigmoid":
                return torch.sigmoid(x)
            case "pool":
                return x.mean((2, 3), keepdim=True)
            case "multiply":
                return x * given[1]
            case "add":
                return x + given[1]
            case "enlarge":
                return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        raise ValueError(step.kind)

    def _convolve(self, step: Step, x: Tensor) -> Tensor:
        kernel = self._rounded_kernel(step.name)
        side = kernel.shape[-1]
        padding = side // 2
        if step.stride == 2 and side > 1:  # TensorFlow's "same": for an even side less before than after
            total = side - step.stride
            x = functional.pad(x, (total // 2, total - total // 2) * 2)
            padding = 0
        groups = kernel.shape[0] if step.kind == "depthwise" else 1
        return functional.conv2d(x, kernel, self._bias(step.name), step.stride, padding, groups=groups)

    def _kernel(self, name: str) -> Tensor:
        return self.kernels[name] * self._sizes(name)

    def _sizes(self, name: str) -> Tensor:
        out: Tensor = getattr(self, f"{name}_sizes")
        return out

    def _bias(self, name: str) -> Tensor:
        return self.biases[name] * self._bias_sizes[name]

    def _rounded_kernel(self, name: str) -> Tensor:
        kernel = self._kernel(name)
        if self.ranges is None:
            return kernel
        scales = (kernel.detach().abs().amax((1, 2, 3)) / 127).clamp_min(1e-8)
        zeros = torch.zeros(len(scales), dtype=torch.int32, device=scales.device)
        return torch.fake_quantize_per_channel_affine(kernel, scales, zeros, 0, -127, 127)

    def _round(self, tensor: int, y: Tensor) -> Tensor:
        if self.watched is not None:
            values = y.detach().flatten()
            some = values[:: max(1, len(values) // WATCHED_VALUES)]
            self.watched.setdefault(tensor, []).append(some.cpu().clone())  # a view would keep all of them
        if self.ranges is None:
            return y
        low, high = self.ranges[tensor]
        scale = (high - low) / 255
        return torch.fake_quantize_per_tensor_affine(y, scale, round(-low / scale), 0, 255)


def watch(network: SelfieNet, batches: Sequence[Tensor]) -> dict[int, Range]:
    """The ranges that int8 should cover of ``network``'s tensors, as floats, over ``batches``.

    Not the extremes, which are rare and make all other values coarse (see :data:`COVERED`).
    Raises FloatingPointError for a network that gives values which are not finite.
    """
    before, network.ranges, network.watched = network.ranges, None, {}
    with torch.no_grad():
        for batch in batches:
            network(batch)
    seen, network.watched, network.ranges = network.watched, None, before
    sigmoids = {s.output for s in network.steps if s.kind == "sigmoid"}
    swished = {s.inputs[0] for s in network.steps if s.kind == "hard_swish"}
    out: dict[int, Range] = {}
    for tensor, parts in seen.items():
        values = torch.cat(parts).sort().values
        low, high = (float(values[int(p * (len(values) - 1))]) for p in (1 - COVERED, COVERED))
        if not math.isfinite(low + high):
            raise FloatingPointError("the network gives values that are not finite; train at a lower rate")
        floor = LEAST_SWISHED if tensor in swished else -math.inf
        out[tensor] = SIGMOID if tensor in sigmoids else (min(0.0, max(low, floor)), max(high, 1e-3))
    return out


def _mean_size(kernel: Floats, *, each: bool = False) -> Floats:
    """Root mean square of the kernel, or of each output's."""
    square = kernel**2
    mean = square.mean(axis=(1, 2, 3), keepdims=True) if each else square.mean(keepdims=True)
    out: Floats = np.sqrt(mean).astype(np.float32)
    return out

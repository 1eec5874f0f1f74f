"""What a network costs: multiply-accumulates, weights and activations, by arithmetic alone."""

from __future__ import annotations

from dataclasses import dataclass

from gnetseg_zoo.networks import KERNEL, Network


@dataclass(frozen=True)
class LayerCost:
    """One major layer. Sizes are width (= height) in pixels, counts are plain numbers."""

    kind: str
    sublayers: int
    in_channels: int
    in_size: int
    out_channels: int
    out_size: int
    macs: int
    parameters: int
    largest_values: int
    """The most values that one of its convolutions reads and writes together."""


def layer_costs(network: Network) -> list[LayerCost]:
    """Costs per major layer, in order.

    A 3x3 convolution from c to d channels on an h x w output has 9*c*d*h*w
    multiply-accumulates and 9*c*d + d parameters.
    """
    costs: list[LayerCost] = []
    size = network.size
    for layer in network.layers:
        in_size, macs, parameters, largest = size, 0, 0, 0
        for conv in layer.sublayers:
            read = conv.in_channels * size * size
            size //= conv.stride
            wrote = conv.out_channels * size * size
            weights = KERNEL * KERNEL * conv.in_channels * conv.out_channels
            macs += weights * size * size
            parameters += weights + conv.out_channels
            largest = max(largest, read + wrote)
        if layer.pool:
            size //= 2
        if layer.upsample:
            size *= 2
        size *= layer.reformat
        channels = layer.sublayers[-1].out_channels // layer.reformat**2
        costs.append(
            LayerCost(
                kind=f"({layer.kind}+reformat)" if layer.reformat > 1 else layer.kind,
                sublayers=len(layer.sublayers),
                in_channels=layer.sublayers[0].in_channels,
                in_size=in_size,
                out_channels=channels,
                out_size=size,
                macs=macs,
                parameters=parameters,
                largest_values=largest,
            )
        )
    return costs


def macs(network: Network) -> int:
    """Multiply-accumulates of one frame."""
    return sum(cost.macs for cost in layer_costs(network))


def parameters(network: Network) -> int:
    """Weights and biases after batch normalisation is folded in."""
    return sum(cost.parameters for cost in layer_costs(network))

"""What the accelerator chip computes, as one table, and whether a network fits.

Needs only the standard library. *Published* numbers stand in the paper; *inferred*
ones were concluded from it and may be wrong: change them here, in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from gnetseg_zoo.costs import layer_costs, parameters
from gnetseg_zoo.networks import KERNEL, Network, size_after


@dataclass(frozen=True)
class Limit:
    """One number of the chip, its unit, and where it is from."""

    value: int
    unit: str
    published: bool
    source: str


KERNEL_SIZE = Limit(3, "pixels square", True, "section 2.2")
MAJOR_LAYERS = Limit(7, "major layers", False, "the largest network of section 2.2 has 7")
SUBLAYERS = Limit(12, "sublayers in a major layer", False, "the vendor's older parts")
FEWEST_CHANNELS = Limit(4, "channels", True, "section 2.2.1")
MOST_CHANNELS = Limit(1024, "channels", False, "the vendor's older parts")
INPUT_SIZES = (
    Limit(224, "pixels square", True, "section 2.1"),
    Limit(448, "pixels square", True, "section 2.1"),
)
ACTIVATIONS = Limit(
    96 * 224 * 224, "values read and written by a convolution", False, "96 channels at 224x224"
)
STRIDE_CORNER = Limit(
    1, "pixels right of and below its block's first", False, "that is how TFLite pads a stride of 2"
)
"""Where a convolution that halves the map is centred; another corner would move the mask by a pixel."""
WEIGHTS = Limit(
    14_714_688, "weights and biases", False, "VGG16's convolutions run on the chip before this one"
)


@dataclass(frozen=True)
class Verdict:
    """One limit applied. ``reason`` is a sentence with both numbers."""

    fits: bool
    limit: str
    reason: str
    published: bool


def check(network: Network) -> list[Verdict]:
    """Every limit applied to ``network``; it fits if all of them do."""
    channels = [s.out_channels for s in network.sublayers()]
    counted = chip_layers(network)
    most = max(counted)
    costs = layer_costs(network)
    activations = max(cost.largest_values for cost in costs)
    sizes = [limit.value for limit in INPUT_SIZES]
    strides = any(sublayer.stride > 1 for sublayer in network.sublayers())
    return [
        _verdict("input size", network.size in sizes, f"{network.size} of {sizes}", INPUT_SIZES[0]),
        _verdict(
            "kernel", KERNEL_SIZE.value == KERNEL, f"all convolutions are {KERNEL}x{KERNEL}", KERNEL_SIZE
        ),
        _at_most("major layers", len(counted), MAJOR_LAYERS),
        _at_most("sublayers", most, SUBLAYERS),
        _verdict(
            "stride corner",
            True,
            f"its strides are centred {STRIDE_CORNER.value} {STRIDE_CORNER.unit}; not checked on a chip"
            if strides
            else "it has no strides",
            STRIDE_CORNER,
        ),
        _verdict(
            "fewest channels",
            min(channels) >= FEWEST_CHANNELS.value,
            f"{min(channels)}, at least {FEWEST_CHANNELS.value} {FEWEST_CHANNELS.unit}",
            FEWEST_CHANNELS,
        ),
        _at_most("most channels", max(channels), MOST_CHANNELS),
        _at_most("activation memory", activations, ACTIVATIONS),
        _at_most("weight memory", parameters(network), WEIGHTS),
    ]


def chip_layers(network: Network) -> list[int]:
    """Sublayers of each major layer as the chip counts them.

    "Different major layers are separated either by a change of number of channels
    between sublayers, or by a change of the feature map size" (section 2.2): two neighbours of one
    width and size are one layer.
    """
    runs: list[tuple[int, int]] = []  # width of each sublayer, size of the map that its major layer enters
    size = network.size
    for layer in network.layers:
        runs += [(sublayer.out_channels, size) for sublayer in layer.sublayers]
        size = size_after(layer, size)
    return [len(list(run)) for _, run in groupby(runs)]


def _at_most(name: str, found: int, limit: Limit) -> Verdict:
    return _verdict(name, found <= limit.value, f"{found:,}, at most {limit.value:,} {limit.unit}", limit)


def _verdict(name: str, fits: bool, reason: str, limit: Limit) -> Verdict:
    origin = "published" if limit.published else "inferred"
    return Verdict(fits, name, f"{reason} ({origin}: {limit.source})", limit.published)

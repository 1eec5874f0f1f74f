"""What the accelerator chip computes, as one table, and whether a network fits.

Needs only the standard library. *Published* numbers stand in the paper; *inferred*
ones were concluded from it and may be wrong: change them here, in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from gnetseg_zoo.costs import layer_costs, parameters
from gnetseg_zoo.networks import KERNEL, Network


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
    return [
        _verdict("input size", network.size in sizes, f"{network.size} of {sizes}", INPUT_SIZES[0]),
        _verdict(
            "kernel", KERNEL_SIZE.value == KERNEL, f"all convolutions are {KERNEL}x{KERNEL}", KERNEL_SIZE
        ),
        _at_most("major layers", len(counted), MAJOR_LAYERS),
        _at_most("sublayers", most, SUBLAYERS),
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
    between sublayers, or by a change of the feature map size" (section 2.2); two NONE
    layers of one width in a row stay two, as the paper counts them in Medium and Small.
    """
    counts: list[int] = []
    for layer in network.layers:
        counts += [len(list(run)) for _, run in groupby(s.out_channels for s in layer.sublayers)]
    return counts


def _at_most(name: str, found: int, limit: Limit) -> Verdict:
    return _verdict(name, found <= limit.value, f"{found:,}, at most {limit.value:,} {limit.unit}", limit)


def _verdict(name: str, fits: bool, reason: str, limit: Limit) -> Verdict:
    origin = "published" if limit.published else "inferred"
    return Verdict(fits, name, f"{reason} ({origin}: {limit.source})", limit.published)

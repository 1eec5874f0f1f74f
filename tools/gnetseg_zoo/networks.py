"""The GnetSeg architectures as data (paper, section 2.2). Needs only the standard library.

A *sublayer* is one 3x3 convolution followed by ReLU. A *major layer* is a run of
sublayers; major layers are parted by a change of the number of channels or of the
feature map's size. DOWN halves width and height in its last sublayer (stride 2) or
after it (2x2 max pool), UP doubles them after its last sublayer (nearest
neighbour), NONE keeps them.

The *original* variant ends as its pattern reads. The *reformat* variant replaces
the decoder's last UP by NONE followed by a reformat (depth to space), which moves
channels into pixels: 4x112x112 becomes 1x224x224. Only the integer encoding has one
channel; softmax has one a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from gnetseg_zoo.errors import ZooError

Kind = Literal["DOWN", "NONE", "UP"]
Variant = Literal["original", "reformat"]
Encoding = Literal["integer", "softmax"]
InputFormat = Literal["Y", "YUV444", "RGB"]
Down = Literal["stride", "pool"]

KERNEL = 3
FEWEST_CHANNELS = 4
"""The chip computes at least 4 channels, so the last sublayer of a network that
does not reformat is padded to 4 and the host reads the first ones."""

INPUT_CHANNELS: dict[InputFormat, int] = {"Y": 1, "YUV444": 3, "RGB": 3}


class NetworkError(ZooError, ValueError):
    """A network that cannot be built; the message names the number and the remedy."""


@dataclass(frozen=True)
class Architecture:
    """One line of the paper's section 2.2.

    ``widths`` holds, per major layer, an index into the widths that the builder is
    given (the decoder mirrors the encoder); the last layer's width is what leaves it,
    since a change of channels would begin another major layer. ``sublayers`` are ours:
    the paper gives major layers only.
    """

    pattern: tuple[Kind, ...]
    widths: tuple[int | None, ...]
    sublayers: tuple[int, ...]


# fmt: off
ARCHITECTURES: dict[str, Architecture] = {
    "large": Architecture(
        pattern=  ("DOWN", "DOWN", "DOWN", "NONE", "UP", "UP", "UP"),
        widths=   (0,      1,      2,      3,      2,    1,    None),
        sublayers=(2,      2,      2,      3,      2,    2,    2),
    ),
    "medium": Architecture(
        pattern=  ("DOWN", "DOWN", "NONE", "NONE", "UP", "UP"),
        widths=   (0,      1,      2,      3,      1,    None),
        sublayers=(2,      2,      3,      3,      2,    2),
    ),
    "small": Architecture(
        pattern=  ("DOWN", "DOWN", "NONE", "NONE", "NONE"),
        widths=   (0,      1,      2,      3,      None),
        sublayers=(2,      2,      3,      3,      2),
    ),
}
# fmt: on


@dataclass(frozen=True)
class Sublayer:
    """One 3x3 convolution, padding "same", with bias, followed by ReLU."""

    in_channels: int
    out_channels: int
    stride: int = 1


@dataclass(frozen=True)
class MajorLayer:
    """Sublayers, then (for ``pool`` or ``upsample``) one change of size."""

    kind: Kind
    sublayers: tuple[Sublayer, ...]
    pool: bool = False
    upsample: bool = False
    reformat: int = 1
    """Block of the depth-to-space after the last sublayer; 1 is none."""


@dataclass(frozen=True)
class Network:
    """A whole network from camera bytes to mask; hashable, comparable, printable."""

    architecture: str
    variant: Variant
    input_format: InputFormat
    size: int
    """Width and height of the input in pixels."""
    classes: int
    encoding: Encoding
    layers: tuple[MajorLayer, ...]

    @property
    def pattern(self) -> str:
        """The major layers as the paper writes them."""
        return "-".join(
            f"({layer.kind}+reformat)" if layer.reformat > 1 else layer.kind for layer in self.layers
        )

    @property
    def output_channels(self) -> int:
        """Channels of the mask tensor that carry meaning: 1 (integer) or one a class."""
        return 1 if self.encoding == "integer" else self.classes

    @property
    def output_size(self) -> int:
        """Width and height of the mask in pixels."""
        size = self.size
        for layer in self.layers:
            size = size_after(layer, size)
        return size

    def sublayers(self) -> tuple[Sublayer, ...]:
        """All convolutions in the order of computation."""
        return tuple(s for layer in self.layers for s in layer.sublayers)


def size_after(layer: MajorLayer, size: int) -> int:
    """Width and height (pixels) that leave ``layer`` when ``size`` enters it."""
    for sublayer in layer.sublayers:
        size //= sublayer.stride
    if layer.pool:
        size //= 2
    if layer.upsample:
        size *= 2
    return size * layer.reformat


def build(
    architecture: str,
    *,
    widths: Sequence[int],
    variant: Variant = "reformat",
    input_format: InputFormat = "Y",
    size: int = 224,
    classes: int = 2,
    encoding: Encoding = "integer",
    down: Down = "stride",
    sublayers: Sequence[int] | None = None,
    last_width: int | None = None,
) -> Network:
    """Fill in one line of :data:`ARCHITECTURES`.

    ``widths``: channels from the outermost to the innermost major layer, four. ``sublayers``:
    how many a major layer has, in place of the table's numbers. ``last_width``: channels
    inside the last major layer, where a processor may have more than leave it; the chip
    would count it as two layers.

    Raises :class:`NetworkError` for an unknown name or numbers that do not fit.
    """
    if architecture not in ARCHITECTURES:
        raise NetworkError(
            f"no architecture is called {architecture!r}; there are {', '.join(ARCHITECTURES)}"
        )
    plan = ARCHITECTURES[architecture]
    counts = tuple(sublayers) if sublayers is not None else plan.sublayers
    if len(counts) != len(plan.pattern) or min(counts, default=0) < 1:
        raise NetworkError(
            f"{architecture} has {len(plan.pattern)} major layers, so it needs that many sublayer "
            f"counts, each at least 1; given {list(counts)}"
        )
    levels = max(w for w in plan.widths if w is not None) + 1
    channels = list(widths)
    if len(channels) != levels or min(channels) < 1:
        raise NetworkError(f"{architecture} takes {levels} widths, each at least 1; given {channels}")
    if input_format not in INPUT_CHANNELS:
        raise NetworkError(
            f"no input format is called {input_format!r}; there are {', '.join(INPUT_CHANNELS)}"
        )
    if not 2 <= classes <= 256:
        raise NetworkError(f"a mask has 2 to 256 classes, one byte a pixel; given {classes}")
    downs = plan.pattern.count("DOWN")
    if size < 1 or size % 2**downs:
        raise NetworkError(
            f"{architecture} halves the picture {downs} times, so the input size must be a multiple "
            f"of {2**downs}; given {size}"
        )

    last = len(plan.pattern) - 1
    wanted = 1 if encoding == "integer" else classes
    layers: list[MajorLayer] = []
    entering = INPUT_CHANNELS[input_format]
    for index, kind in enumerate(plan.pattern):
        block = 1
        if index == last and variant == "reformat":
            # Small has no UP to replace: its reformat makes up for both DOWNs.
            block = 2 if kind == "UP" else 2 ** (downs - plan.pattern.count("UP"))
            kind = "NONE"
        level = plan.widths[index]
        if level is None:
            leaving = max(wanted * block * block, FEWEST_CHANNELS)
            width = leaving if last_width is None else last_width
        else:
            leaving = width = channels[level]
        layers.append(_major_layer(kind, entering, width, leaving, counts[index], down, block))
        entering = leaving
    return Network(architecture, variant, input_format, size, classes, encoding, tuple(layers))


def _major_layer(
    kind: Kind, entering: int, width: int, leaving: int, count: int, down: Down, block: int
) -> MajorLayer:
    ends = [entering, *[width] * (count - 1), leaving]
    convolutions = [Sublayer(a, b) for a, b in pairwise(ends)]
    if kind == "DOWN" and down == "stride":
        convolutions[-1] = replace(convolutions[-1], stride=2)
    return MajorLayer(
        kind,
        tuple(convolutions),
        pool=kind == "DOWN" and down == "pool",
        upsample=kind == "UP",
        reformat=block,
    )

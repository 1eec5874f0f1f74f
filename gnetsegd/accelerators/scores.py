"""Networks of the user's own: bytes into whatever tensor they take, scores out of them into labels.

A bundle with ``mask.encoding = "scores"`` costs the host what the integer encoding saves: a pass over the
picture before the network, and one over its scores behind it. Both are numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from ..model import ModelBundle
from ..text import clean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Enter = Callable[[NDArray[Any], NDArray[np.uint8]], None]
    Decide = Callable[[NDArray[Any]], NDArray[np.uint8]]

#: Types of a picture's and of a score's values.
PICTURES = (np.float32, np.uint8, np.int8)
SCORES = (np.float32, np.uint8, np.int8)
#: A network whose last operator is an argmax gives labels at once, in a type that is wider than needed.
LABELS = (np.int64, np.int32)
#: The byte itself, where a table of 256 would change none by as much as this.
SAME = 0.01


def quantised(tensor: dict[str, Any]) -> tuple[float, int]:
    """(scale, zero point) of a tensor of ``get_input_details``; (1, 0) of one that has none."""
    scale, zero_point = tensor["quantization"]
    return (float(scale), int(zero_point)) if scale else (1.0, 0)


def table(bundle: ModelBundle, tensor: dict[str, Any]) -> NDArray[Any]:
    """What each of the 256 bytes of a picture is in the network's ``tensor``."""
    values = np.arange(256) * bundle.scale + bundle.offset
    kind = tensor["dtype"]
    if np.issubdtype(kind, np.floating):
        return np.asarray(values, kind)
    scale, zero_point = quantised(tensor)
    limits = np.iinfo(kind)
    return np.asarray(np.clip(np.rint(values / scale + zero_point), limits.min, limits.max), kind)


def entrance(bundle: ModelBundle, tensor: dict[str, Any]) -> Enter:
    """What writes a picture into the network's input: a look-up for each byte, a copy where that will do.

    Raises ``ModelError`` for a tensor that is no picture of the bundle's size.
    """
    channels = 1 if bundle.input.pixel_format == "Y" else 3
    shape = (1, bundle.input.height, bundle.input.width, channels)
    _check(bundle, "input", tensor, (shape,), PICTURES)
    bytes_to_values = table(bundle, tensor)
    if bytes_to_values.dtype == np.uint8 and np.abs(bytes_to_values - np.arange(256)).max() < SAME:
        return lambda into, pixels: np.copyto(into, pixels.reshape(shape))

    def enter(into: NDArray[Any], pixels: NDArray[np.uint8]) -> None:
        np.take(bytes_to_values, pixels.reshape(shape), out=into, mode="clip")

    return enter


def decision(bundle: ModelBundle, tensor: dict[str, Any]) -> Decide:
    """What makes labels [height, width], uint8, of the network's output.

    One score a pixel: label 1 where it is over ``bundle.threshold``. One a class: the class of the highest,
    the lowest among equals. Labels: these. Raises ``ModelError`` for an output that is neither.
    """
    height, width, classes = bundle.mask.height, bundle.mask.width, bundle.mask.classes
    one, many = ((1, height, width, 1), (1, height, width)), ((1, height, width, classes),)
    shape = tuple(int(n) for n in tensor["shape"])
    if tensor["dtype"] in LABELS:
        _check(bundle, "output", tensor, one, LABELS)
        return lambda labels: _bytes(bundle, labels.reshape(height, width))
    _check(bundle, "output", tensor, one if len(shape) == 3 or shape[-1:] == (1,) else many, SCORES)
    if shape in many and classes > 1:
        return lambda scores: scores[0].argmax(axis=-1).astype(np.uint8)
    if classes != 2:
        raise ModelError(
            f"model {bundle.id}: it gives one score a pixel, so its model.toml must name 2 classes; it names "
            f"{classes}"
        )
    limit = bundle.threshold
    if not np.issubdtype(tensor["dtype"], np.floating):
        scale, zero_point = quantised(tensor)
        limit = limit / scale + zero_point
    return lambda scores: (scores.reshape(height, width) > limit).view(np.uint8)


def _bytes(bundle: ModelBundle, labels: NDArray[Any]) -> NDArray[np.uint8]:
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest > np.iinfo(np.uint8).max:
        raise ModelError(
            f"model {bundle.id}: it gives the label {lowest if lowest < 0 else highest}; labels are 0 to 255"
        )
    return labels.astype(np.uint8)


def _check(
    bundle: ModelBundle, side: str, tensor: dict[str, Any], shapes: tuple[Any, ...], kinds: tuple[Any, ...]
) -> None:
    shape = tuple(int(n) for n in tensor["shape"])
    if tensor["dtype"] not in kinds:
        names = ", ".join(kind.__name__ for kind in kinds)
        raise ModelError(
            f"model {bundle.id}: its {side} {clean(tensor['name'])!r} is {tensor['dtype'].__name__}; "
            f"possible are {names}"
        )
    if shape not in shapes:
        raise ModelError(
            f"model {bundle.id}: its {side} has the shape {shape}, model.toml promises {shapes[0]}"
        )

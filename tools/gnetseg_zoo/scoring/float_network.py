# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""A checkpoint's averaged weights as floats, to be scored like a bundle. Needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from gnetseg_zoo.colour import to_rgb
from gnetseg_zoo.config import Config
from gnetseg_zoo.datasets.pictures import Pixels
from gnetseg_zoo.networks import NetworkError
from gnetseg_zoo.scoring.labeller import Labeller
from gnetseg_zoo.training.checkpoint import CHECKPOINT, fingerprint, load_checkpoint
from gnetseg_zoo.training.torch_model import GnetSeg, labels_of
from gnetsegd.frame import FrameSpec


def of_checkpoint(config: Config, run: Path) -> Labeller:
    """The network of ``config`` with the averaged weights that the folder ``run`` holds.

    Raises :class:`~gnetseg_zoo.training.checkpoint.CheckpointError` for a checkpoint that is missing,
    damaged or of another network, and :class:`~gnetseg_zoo.networks.NetworkError`.
    """
    model = load_average(config, run)
    return of_model(f"{config.name} (float)", model, model.network.input_format, config.network.classes)


def twin_of_checkpoint(config: Config, run: Path) -> Labeller:
    """The same for RGB in place of YUV444 (paper, section 2.1), by :mod:`gnetseg_zoo.colour`.

    Raises as :func:`of_checkpoint`, and :class:`NetworkError` for a network of another format.
    """
    if config.network.input_format != "YUV444":
        raise NetworkError(
            f"{config.name}: takes {config.network.input_format}; only a YUV444 network has an RGB twin"
        )
    model = load_average(config, run)
    make_rgb(model)
    return of_model(f"{config.name} (float, RGB twin)", model, "RGB", config.network.classes)


def load_average(config: Config, run: Path) -> GnetSeg:
    """The averaged weights of the checkpoint in ``run``, ready to be evaluated. Raises as above."""
    return averaged_model(config, load_checkpoint(run / CHECKPOINT, fingerprint(config.build_network())))


def averaged_model(config: Config, state: dict[str, Any]) -> GnetSeg:
    """The network with the averaged weights of a checkpoint's ``state``, ready to be evaluated."""
    model = GnetSeg(config.build_network())
    model.load_state_dict(state["average"])
    model.eval()
    return model


def make_rgb(model: GnetSeg) -> None:
    """Change the first convolution of a YUV444 network in place, so that it takes RGB."""
    first = model.convs[0]
    kernel, bias = (part.double().numpy() for part in first.folded())
    # The network divides its bytes by 255; the change of colours is one of bytes.
    kernel, bias = to_rgb(kernel / 255, bias)
    with torch.no_grad():
        first.conv.weight.copy_(torch.from_numpy(kernel * 255))
        # A normalisation that only adds the bias: scale 1 and mean 0.
        first.norm.weight.fill_(1.0)
        first.norm.bias.copy_(torch.from_numpy(bias))
        first.norm.running_mean.zero_()
        first.norm.running_var.fill_(1.0 - first.norm.eps)


def of_model(name: str, model: GnetSeg, input_format: str, classes: list[str]) -> Labeller:
    """``model`` as it stands, its labels chosen as the exported network chooses them."""
    network = model.network

    def labels(pixels: Pixels) -> Pixels:
        entering = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
        with torch.no_grad():
            return labels_of(model(entering)[0], network.classes)

    spec = FrameSpec(network.size, network.size, input_format)
    return Labeller(name, spec, (network.output_size, network.output_size), tuple(classes), labels)

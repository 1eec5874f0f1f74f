# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""A checkpoint's averaged weights as floats, to be scored like a bundle. Needs torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gnetseg_zoo.checkpoint import CHECKPOINT, fingerprint, load_checkpoint
from gnetseg_zoo.config import Config
from gnetseg_zoo.labeller import Labeller
from gnetseg_zoo.pictures import Pixels
from gnetseg_zoo.torch_model import GnetSeg
from gnetsegd.frame import FrameSpec


def of_checkpoint(config: Config, run: Path) -> Labeller:
    """The network of ``config`` with the averaged weights that the folder ``run`` holds.

    Raises :class:`~gnetseg_zoo.checkpoint.CheckpointError` for a checkpoint that is missing,
    damaged or of another network, and :class:`~gnetseg_zoo.networks.NetworkError`.
    """
    network = config.build_network()
    state = load_checkpoint(run / CHECKPOINT, fingerprint(network))
    model = GnetSeg(network)
    model.load_state_dict(state["average"])
    model.eval()

    def labels(pixels: Pixels) -> Pixels:
        entering = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
        with torch.no_grad():
            raw = model(entering)[0]
        if len(raw) > 1:
            chosen = raw.argmax(dim=0)
        else:
            # As the exported network does: clamped, then rounded, halves up.
            chosen = torch.floor(raw[0].clamp(0, network.classes - 1) + 0.5)
        out: Pixels = chosen.to(torch.uint8).numpy()
        return out

    spec = FrameSpec(network.size, network.size, network.input_format)
    mask = network.output_size, network.output_size
    return Labeller(f"{config.name} (float)", spec, mask, tuple(config.network.classes), labels)

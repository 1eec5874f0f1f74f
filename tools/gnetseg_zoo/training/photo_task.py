# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Persons in photos of several indices, with what nobody knows of them left out. Needs torch and OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gnetseg_zoo.config import Config, ConfigError, Stage
from gnetseg_zoo.datasets.pictures import Pixels
from gnetseg_zoo.judging.photos import TRAIN, VAL, load_photos
from gnetseg_zoo.selfie.pictures import Batches, Pictures, in_format
from gnetseg_zoo.selfie.validation import Validation
from gnetseg_zoo.training.log import PHOTO_COLUMNS
from gnetseg_zoo.training.losses import integer_loss
from gnetseg_zoo.training.torch_model import GnetSeg


class PhotoTask:
    """Targets: uint8 [batch, 2, h, w], 255 times the share of a person, and how much it counts."""

    columns: tuple[str, ...] = PHOTO_COLUMNS

    def __init__(self, config: Config, indices: Sequence[Path], teacher: Path | None) -> None:
        """``teacher``: the folder that ``selfie.teach`` wrote. Raises ConfigError or DataError."""
        if config.network.encoding != "integer" or len(config.network.classes) != 2:
            raise ConfigError(f"{config.name}: data = 'photos' trains integer masks of background and person")
        if teacher is None:
            raise ConfigError(
                f"{config.name}: name the folder of soft masks with --teacher; "
                "python -m gnetseg_zoo.selfie.teach writes it"
            )
        self._config = config
        photos = load_photos(indices, TRAIN, every_licence=True)
        largest = max(stage.size for stage in config.training.stages)
        self._pictures = Pictures(photos, teacher, config.kinds, size=largest, seed=config.seed)
        self._validation = Validation(load_photos(indices, VAL, every_licence=True), config.network.size)

    def batches(self, stage: Stage) -> Batches:
        config = self._config
        return Batches(
            self._pictures,
            {stage.size: 1.0},
            batch=config.training.batch,
            seed=config.seed,
            pixel_format=config.network.input_format,
        )

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        planes = targets.float() * (1 / 255)
        if planes.shape[-2:] != raw.shape[-2:]:
            planes = nn.functional.interpolate(planes, size=raw.shape[-2:], mode="area")
        person, weight = planes[:, :1], planes[:, 1:]
        empty = targets[:, 0].amax(dim=(1, 2)) == 0
        share = torch.where(empty, self._config.training.empty_weight, 1.0)
        return integer_loss(raw, person, 2, weight) * share

    def scores(self, model: GnetSeg, device: torch.device) -> dict[str, str]:
        def predict(pixels: Pixels) -> npt.NDArray[np.bool_]:
            planes = in_format(pixels, self._config.network.input_format).transpose(0, 3, 1, 2)
            x = torch.from_numpy(np.ascontiguousarray(planes)).to(device).float()
            with torch.no_grad():
                found: npt.NDArray[np.bool_] = (model(x)[:, 0] >= 0.5).cpu().numpy()
            return found

        found = self._validation.scores(predict)
        return {column: f"{found[column]:.4f}" for column in self.columns if column in found}

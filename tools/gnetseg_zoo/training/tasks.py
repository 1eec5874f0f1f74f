# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""What is trained for: persons, or scenes of many classes. Needs torch and OpenCV.

A task knows its pictures, its loss and its scores; ``train.py`` knows nothing of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gnetseg_zoo.config import PERSON_DATA, Config, ConfigError, Stage
from gnetseg_zoo.datasets.data import open_persons
from gnetseg_zoo.datasets.labels import IGNORE
from gnetseg_zoo.datasets.pictures import Pixels, hard_mask, network_input, open_pair
from gnetseg_zoo.datasets.samples import DataError
from gnetseg_zoo.datasets.whole_pictures import open_labelled, stretched_input, stretched_labels
from gnetseg_zoo.scoring.class_scores import ClassConfusion
from gnetseg_zoo.scoring.evaluate_classes import load_labelled
from gnetseg_zoo.scoring.scores import Scoreboard
from gnetseg_zoo.training.batches import Batches
from gnetseg_zoo.training.cache import open_cache
from gnetseg_zoo.training.log import PERSON_COLUMNS, SCENE_COLUMNS
from gnetseg_zoo.training.losses import balanced_weights, integer_loss, soft_person_loss, softmax_loss
from gnetseg_zoo.training.photo_task import PhotoTask
from gnetseg_zoo.training.scenes import SceneBatches, open_scene_cache
from gnetseg_zoo.training.teacher import Teacher
from gnetseg_zoo.training.torch_model import GnetSeg, labels_of

PERSON_CLASSES = ["background", "person"]
PHOTO_ROOM = 9 / 7
"""Shorter side of a cached photo against the network's: some room to crop."""


class Task(Protocol):
    """``columns``: the names of its scores in the log."""

    columns: tuple[str, ...]

    def batches(self, stage: Stage) -> Any:
        """Training pictures by step: (pixels, targets), uint8."""

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """One value a picture, float32 [batch], of the network's raw output and the targets."""

    def scores(self, model: GnetSeg, device: torch.device) -> dict[str, str]:
        """The scores of ``model`` on the validation split, by column, as the log prints them."""


class PersonTask:
    """Persons before a background. Targets: [batch, 1, h, w], 0 to 255."""

    columns: tuple[str, ...] = PERSON_COLUMNS

    def __init__(self, config: Config, data: Path, cache: Path, masks: Path | None) -> None:
        self._config = config
        network = config.network
        samples = open_persons(config.data, data, "train")
        if network.classes != PERSON_CLASSES:
            raise ConfigError(
                f"{config.name}: network.classes is {network.classes}; a mask of persons has {PERSON_CLASSES}"
            )
        share = config.training.distillation
        if share > 0 and masks is None:
            raise ConfigError(
                f"{config.name}: training.distillation is {share:g}; name the folder of the teacher's masks "
                "with --teacher (python -m gnetseg_zoo.peer --write-masks writes them)"
            )
        teacher = Teacher(masks, data.parent, share) if masks is not None and share > 0 else None
        if teacher is not None:
            print("a teacher's mask for {} of {} photos".format(*teacher.known(samples)), flush=True)
        room = round(network.size * PHOTO_ROOM)
        self._samples, self._photos = samples, open_cache(cache, samples, network.input_format, room, teacher)
        self._validation = []
        for sample in open_persons(config.data, data, "val"):
            photo, mask = open_pair(sample, network.input_format)
            size = config.build_network().output_size
            pixels = network_input(photo, network.size)
            self._validation.append((sample.domain, pixels, hard_mask(mask, size)))

    def batches(self, stage: Stage) -> Batches:
        config = self._config
        rates = config.augmentation.scaled(stage.strength)
        batch = config.training.batch
        return Batches(
            self._photos,
            self._samples,
            config.sources,
            rates,
            batch=batch,
            size=stage.size,
            seed=config.seed,
            yuv=config.network.input_format == "YUV444",
        )

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        person = nn.functional.interpolate(targets.float() * (1 / 255), size=raw.shape[-2:], mode="area")
        if self._config.network.encoding == "softmax":
            error = soft_person_loss(raw, person)
        else:
            error = integer_loss(raw, person, 2)
        empty = targets.amax(dim=(1, 2, 3)) == 0
        return error * torch.where(empty, self._config.training.empty_weight, 1.0)

    def scores(self, model: GnetSeg, device: torch.device) -> dict[str, str]:
        board = Scoreboard()
        for domain, pixels, truth in self._validation:
            board.add(domain, labels(model, pixels, device) == 1, truth)
        out = {name: f"{c.miou:.4f}" for name, c in board.domains.items() if name in self.columns}
        out["persons"] = f"{board.persons.miou:.4f}"
        out["false_person"] = f"{board.false_person:.4f}" if board.false_person is not None else ""
        return out


class SceneTask:
    """Scenes of many classes. Targets: [batch, h, w], class labels or IGNORE."""

    columns: tuple[str, ...] = SCENE_COLUMNS

    def __init__(self, config: Config, data: Path, cache: Path) -> None:
        self._config = config
        network = config.network
        training, validation = load_labelled(data, "train"), load_labelled(data, "val")
        try:
            classes = training.classes.in_order(network.classes)
        except ValueError as error:
            raise DataError(
                f"{data}: {error}; write them into network.classes of {config.name}'s configuration, "
                "in any order"
            ) from None
        self._scenes = open_scene_cache(cache, training.photos, classes, network.input_format, network.size)
        shares = torch.tensor(self._scenes.shares(len(classes.names)))
        self._weights = balanced_weights(shares) if config.training.balanced else None
        self._validation = []
        size = config.build_network().output_size
        for photo in validation.photos:
            picture, truth = open_labelled(photo, classes, network.input_format)
            pixels = stretched_input(picture, network.size, network.size)
            self._validation.append((pixels, stretched_labels(truth, size, size)))

    def batches(self, stage: Stage) -> SceneBatches:
        config = self._config
        rates = config.augmentation.scaled(stage.strength)
        batch = config.training.batch
        return SceneBatches(
            self._scenes,
            rates,
            batch=batch,
            size=stage.size,
            zoom=stage.zoom,
            seed=config.seed,
            yuv=config.network.input_format == "YUV444",
        )

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        label = nn.functional.interpolate(targets[:, None], size=raw.shape[-2:], mode="nearest")
        if self._config.network.encoding == "softmax":
            weights = None if self._weights is None else self._weights.to(raw.device)
            return softmax_loss(raw, label[:, 0].long(), weights)
        known = label != IGNORE
        return integer_loss(raw, label.float(), len(self._config.network.classes), known)

    def scores(self, model: GnetSeg, device: torch.device) -> dict[str, str]:
        board = ClassConfusion(len(self._config.network.classes))
        for pixels, truth in self._validation:
            board.add(labels(model, pixels, device), truth)
        return {column: f"{board.summary()[column]:.4f}" for column in self.columns}


def labels(model: GnetSeg, pixels: Pixels, device: torch.device) -> Pixels:
    """uint8 [h, w] class labels that ``model`` gives for ``pixels``, uint8 [s, s, channels]."""
    x = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32)).to(device)
    with torch.no_grad():
        return labels_of(model(x)[0], model.network.classes)


def open_task(config: Config, data: str | Path, cache: Path, masks: Path | None) -> Task:
    """The task of ``config.data``; ``masks`` are a teacher's. Raises DataError or ConfigError."""
    if config.data == "photos":
        return PhotoTask(config, [Path(part) for part in str(data).split(",")], masks)
    if config.data in PERSON_DATA:
        return PersonTask(config, Path(data), cache, masks)
    return SceneTask(config, Path(data), cache)

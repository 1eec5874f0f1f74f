"""What an export takes from the photos: frames to calibrate with, their sources, the scores.

Needs numpy, Pillow and, for scores, a TFLite runtime.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from gnetseg_zoo import evaluate
from gnetseg_zoo.config import PERSON_DATA, Config
from gnetseg_zoo.datasets.data import open_persons
from gnetseg_zoo.datasets.pictures import Pixels, network_input, open_photo
from gnetseg_zoo.datasets.samples import DataError, source_key
from gnetseg_zoo.datasets.whole_pictures import stretched_input
from gnetseg_zoo.judging.judge import judge
from gnetseg_zoo.judging.photos import TRAIN, VAL, load_photos
from gnetseg_zoo.scoring.evaluate_classes import load_labelled, score_classes
from gnetseg_zoo.scoring.labeller import of_bundle
from gnetsegd.model import ModelBundle

CALIBRATION_FRAMES = 150
SCENE_LICENCES = {
    "camvid": "CC-BY-NC-4.0 (repository; personal and research use); citation asked (Brostow et al. 2008)",
    "cityscapes": "research use, see its authors (Cordts et al. 2016)",
}
Scores = dict[str, dict[str, float | int]]
T = TypeVar("T")


class ExportData(ABC):
    """One data set as an export sees it."""

    def __init__(self, config: Config, path: Path) -> None:
        """``path``: what ``--data`` names. Raises :class:`DataError`."""
        self.config, self.path = config, path

    @abstractmethod
    def frames(self) -> list[Pixels]:
        """Frames of the training photos, uint8 [size, size, channels] each, evenly spread."""

    @abstractmethod
    def sources(self) -> list[dict[str, str | int]]:
        """name, photos and licence of everything that the network was trained on."""

    @abstractmethod
    def score(self, bundle: ModelBundle) -> Scores:
        """Scores of ``bundle`` on the validation split."""


class Persons(ExportData):
    """Photos of persons; the centre square is what the network sees."""

    def __init__(self, config: Config, path: Path) -> None:
        super().__init__(config, path)
        self.used = open_persons(config.data, path, "train")
        if config.sources:
            self.used = [s for s in self.used if config.sources.get(source_key(s), 0) > 0]

    def frames(self) -> list[Pixels]:
        network = self.config.network
        photos = (open_photo(s.image, network.input_format) for s in evenly(self.used))
        return [network_input(photo, network.size) for photo in photos]

    def sources(self) -> list[dict[str, str | int]]:
        counts = Counter((s.source, s.licence) for s in self.used)
        return [
            {"name": source, "photos": photos, "licence": licence}
            for (source, licence), photos in sorted(counts.items())
        ]

    def score(self, bundle: ModelBundle) -> Scores:
        return evaluate.score(bundle, open_persons(self.config.data, self.path, "val"))


class Photos(ExportData):
    """Photos of several indices, whatever their licence; the centre square is what the network sees."""

    def __init__(self, config: Config, indices: Sequence[Path]) -> None:
        super().__init__(config, indices[0])
        self._indices = indices
        self.used = load_photos(indices, TRAIN, every_licence=True)

    def frames(self) -> list[Pixels]:
        network = self.config.network
        photos = (open_photo(p.sample.image, network.input_format) for p in evenly(self.used))
        return [network_input(photo, network.size) for photo in photos]

    def sources(self) -> list[dict[str, str | int]]:
        counts = Counter((p.sample.source, p.sample.licence) for p in self.used)
        return [{"name": name, "photos": n, "licence": how} for (name, how), n in sorted(counts.items())]

    def score(self, bundle: ModelBundle) -> Scores:
        photos = load_photos(self._indices, VAL, every_licence=True)
        (found,) = judge([of_bundle(bundle)], photos, ())
        persons = evaluate.score(bundle, [p.sample for p in photos])["persons"]
        domains: Scores = found["domains"]
        return {"persons": persons | {"headline": found["headline"]}} | domains


class Scenes(ExportData):
    """Scenes of several classes, stretched to the network's square."""

    def __init__(self, config: Config, path: Path) -> None:
        super().__init__(config, path)
        self.used = load_labelled(path, "train").photos

    def frames(self) -> list[Pixels]:
        network = self.config.network
        photos = (open_photo(p.image, network.input_format) for p in evenly(self.used))
        return [stretched_input(photo, network.size, network.size) for photo in photos]

    def sources(self) -> list[dict[str, str | int]]:
        name = self.config.data
        return [{"name": name, "photos": len(self.used), "licence": SCENE_LICENCES[name]}]

    def score(self, bundle: ModelBundle) -> Scores:
        validation = load_labelled(self.path, "val")
        return score_classes(bundle, validation.photos, validation.classes)


def export_data(config: Config, data: str | Path) -> ExportData:
    """The data set that the configuration names, at ``data``. Raises :class:`DataError`."""
    if config.data == "photos":
        return Photos(config, [Path(part) for part in str(data).split(",")])
    return Persons(config, Path(data)) if config.data in PERSON_DATA else Scenes(config, Path(data))


def calibration_frames(data: ExportData) -> list[Pixels]:
    """The data's frames; raises :class:`DataError` unless black and white both occur.

    Else the input's scale would not come out as 1.
    """
    frames = data.frames()
    if not frames or min(f.min() for f in frames) > 0 or max(f.max() for f in frames) < 255:
        raise DataError("the calibration frames have no black or no white pixel; train on more photos")
    return frames


def evenly(photos: Sequence[T]) -> Sequence[T]:
    """About :data:`CALIBRATION_FRAMES` of ``photos``, evenly spread."""
    return photos[:: max(1, len(photos) // CALIBRATION_FRAMES)]

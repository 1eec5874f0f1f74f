# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Random training pictures of scenes with many classes. Needs numpy, OpenCV and Pillow.

A scene is stretched to the network's square, as the daemon's ``camera.geometry =
"stretch"`` does; training sees random parts of that square.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from gnetseg_zoo.datasets.labels import IGNORE, ClassMap, LabelledPhoto
from gnetseg_zoo.datasets.pictures import Pixels
from gnetseg_zoo.datasets.whole_pictures import open_labelled, stretched_input, stretched_labels
from gnetseg_zoo.training.augment import Frame, shape_light, warp
from gnetseg_zoo.training.cache import filled, stamp
from gnetseg_zoo.training.rates import Rates

SMALLEST, LARGEST = 0.6, 1.6
"""How much smaller or larger than asked for a random part is taken."""
BEYOND = 1.1
"""Side of the largest part against the scene's: beyond its edges it is mirrored, without labels."""


class SceneCache:
    """Scenes stretched to a square, and their labels, in two memory-mapped files."""

    def __init__(self, place: Path) -> None:
        """Open the finished cache in the folder ``place``; see :func:`open_scene_cache`."""
        self._place = place
        self._photos = np.load(place / "photos.npy", mmap_mode="r")
        self._labels = np.load(place / "labels.npy", mmap_mode="r")

    def __reduce__(self) -> tuple[type[SceneCache], tuple[Path]]:
        """Another process opens the same files; nothing is copied."""
        return SceneCache, (self._place,)

    def __len__(self) -> int:
        return len(self._photos)

    def photo(self, index: int) -> Pixels:
        """uint8 [size, size] for Y, else [size, size, 3]; read-only."""
        return np.asarray(self._photos[index])

    def label(self, index: int) -> Pixels:
        """uint8 [size, size], class labels or ``IGNORE``; read-only."""
        return np.asarray(self._labels[index])

    def shares(self, classes: int) -> list[float]:
        """The share (0..1) of all labelled pixels that each class covers."""
        counts = np.bincount(np.asarray(self._labels).ravel(), minlength=IGNORE + 1)[:classes]
        return [float(n) for n in counts / counts.sum()]


def open_scene_cache(
    folder: Path, photos: Sequence[LabelledPhoto], classes: ClassMap, input_format: str, size: int
) -> SceneCache:
    """The cache of ``photos`` at ``size`` pixels under ``folder``, built first if it is not there.

    Raises :class:`DataError` for a photo or labels that cannot be used, or a full disk.
    """
    files = [[stamp(p.image), stamp(p.label)] for p in photos]
    what = [size, input_format, list(classes.names), files]
    place = folder / hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    if not place.is_dir():
        with filled(place) as beside:
            pairs = [_opened(p, classes, input_format, size) for p in photos]
            np.save(beside / "photos.npy", np.stack([pixels for pixels, _ in pairs]))
            np.save(beside / "labels.npy", np.stack([labels for _, labels in pairs]))
    return SceneCache(place)


def _opened(photo: LabelledPhoto, classes: ClassMap, input_format: str, size: int) -> tuple[Pixels, Pixels]:
    picture, labels = open_labelled(photo, classes, input_format)
    pixels = stretched_input(picture, size, size)
    return pixels[..., 0] if input_format == "Y" else pixels, stretched_labels(labels, size, size)


class SceneBatches:
    """``batches[step]`` gives pixels and labels of one training step; seeded by (seed, step)."""

    def __init__(
        self,
        cache: SceneCache,
        rates: Rates,
        *,
        batch: int,
        size: int,
        zoom: float,
        seed: int,
        yuv: bool = False,
    ) -> None:
        """``size``: pixels a side of the pictures; ``zoom``: scene pixels to a picture's pixel, on average.

        At ``zoom`` 1 a picture shows a part of the scene in full detail, at 2 a part twice
        as wide with half the detail.
        """
        self._cache, self._rates = cache, rates
        self._batch, self._size, self._zoom, self._seed, self._yuv = batch, size, zoom, seed, yuv

    def __getitem__(self, step: int) -> tuple[Pixels, Pixels]:
        """(pixels [batch, channels, size, size], labels [batch, size, size]), uint8."""
        rng = np.random.default_rng((self._seed, step))
        pairs = [self._picture(rng) for _ in range(self._batch)]
        pixels = np.stack([p if p.ndim == 3 else p[..., None] for p, _ in pairs]).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(pixels), np.stack([label for _, label in pairs])

    def _picture(self, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        index = int(rng.integers(len(self._cache)))
        photo, label = self._cache.photo(index), self._cache.label(index)
        scene = photo.shape[0]
        side = self._size * self._zoom * math.exp(rng.uniform(math.log(SMALLEST), math.log(LARGEST)))
        side = min(side, scene * BEYOND)
        slack = abs(scene - side) / 2
        x, y = (scene / 2 + float(rng.uniform(-1, 1)) * slack for _ in range(2))
        turn = float(rng.normal(0, 3)) if rng.random() < self._rates.rotate else 0.0
        frame = Frame(x, y, side, turn, bool(rng.random() < self._rates.flip))
        picture = warp(photo, frame, self._size)
        labels = warp(label, frame, self._size, cv2.BORDER_CONSTANT, cv2.INTER_NEAREST, IGNORE)
        return shape_light(rng, picture, self._rates, yuv=self._yuv), labels

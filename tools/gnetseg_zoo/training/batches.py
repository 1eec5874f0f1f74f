"""Random training batches, the same for the same seed and step. Needs numpy and OpenCV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gnetseg_zoo.datasets.pictures import Pixels
from gnetseg_zoo.datasets.samples import EMPTY, DataError, Sample, source_key
from gnetseg_zoo.training.augment import Frame, composite, pick_far_frame, pick_frame, shape_light, warp
from gnetseg_zoo.training.cache import PhotoCache
from gnetseg_zoo.training.rates import Rates

FULL_BODY = "fullbody"
GROUP_HEIGHTS = (0.28, 1.2)
"""Heights of a group's persons, smallest and largest, against the picture's."""
NOWHERE = 0
"""cv2.BORDER_CONSTANT: beyond its photo a cut-out person ends."""


class Batches:
    """``batches[step]`` gives pixels and targets of one training step.

    Seeded by (seed, step): a resumed run goes on with the pictures that it would have
    seen, whatever the number of loading processes.
    """

    def __init__(
        self,
        cache: PhotoCache,
        samples: Sequence[Sample],
        weights: Mapping[str, float],
        rates: Rates,
        *,
        batch: int,
        size: int,
        seed: int,
        yuv: bool = False,
    ) -> None:
        """``weights``: the share of pictures that begin with a photo of each source; ``yuv``: the
        cache holds YUV444.

        Raises :class:`DataError` for a weight of an unknown source.
        """
        sources = [source_key(s) for s in samples]
        unknown = set(weights) - set(sources)
        if unknown:
            raise DataError(
                f"sources names {', '.join(sorted(unknown))}, which the index lacks; "
                f"it has {', '.join(sorted(set(sources)))}"
            )
        self._cache, self._samples, self._rates = cache, samples, rates
        self._batch, self._size, self._seed, self._yuv = batch, size, seed, yuv
        self._names = list(weights)
        total = sum(weights.values())
        self._shares = [weights[name] / total for name in self._names]
        self._of = {name: [i for i, s in enumerate(sources) if s == name] for name in self._names}
        # What no weight names is not trained on, neither cut out nor as a background.
        used = [i for i, name in enumerate(sources) if weights.get(name, 0) > 0]
        self._empty = [i for i in used if samples[i].domain == EMPTY]
        self._persons = [i for i in used if samples[i].domain != EMPTY]
        self._standing = [i for i in used if samples[i].domain == FULL_BODY]

    def __getitem__(self, step: int) -> tuple[Pixels, Pixels]:
        """(pixels [batch, channels, size, size], targets [batch, 1, size, size] 0..255), uint8."""
        rng = np.random.default_rng((self._seed, step))
        pairs = [self._picture(rng) for _ in range(self._batch)]
        pixels = np.stack([p if p.ndim == 3 else p[..., None] for p, _ in pairs]).transpose(0, 3, 1, 2)
        targets = np.stack([m for _, m in pairs])[:, None]
        return np.ascontiguousarray(pixels), targets

    def _picture(self, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        name = self._names[int(rng.choice(len(self._names), p=self._shares))]
        index = int(rng.choice(self._of[name]))
        sample = self._samples[index]
        if sample.domain == EMPTY:
            picture = self._background(rng, index)
            if self._persons and rng.random() < self._rates.decoy:
                picture = composite(rng, self._background(rng), self._outline(rng), picture, yuv=self._yuv)
            mask = np.zeros(picture.shape[:2], np.uint8)
        elif sample.domain == FULL_BODY and self._empty and rng.random() < self._rates.group:
            picture, mask = self._group(rng)
        else:
            picture, mask = self._person(rng, index, sample)
        return shape_light(rng, picture, self._rates, yuv=self._yuv), mask

    def _person(self, rng: np.random.Generator, index: int, sample: Sample) -> tuple[Pixels, Pixels]:
        cut_out = bool(rng.random() < self._rates.composite) and bool(self._empty)
        mask = self._cache.mask(index)
        frame = pick_frame(rng, mask, self._rates, full_body=sample.domain == FULL_BODY, whole=cut_out)
        picture = warp(self._cache.photo(index), frame, self._size)
        if not cut_out:
            return picture, warp(mask, frame, self._size)
        shape = warp(mask, frame, self._size, NOWHERE)
        return composite(rng, picture, shape, self._background(rng), yuv=self._yuv), shape

    def _group(self, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        picture = self._background(rng)
        mask = np.zeros(picture.shape[:2], np.uint8)
        # The far ones first: who is near stands before them.
        low, high = np.log(GROUP_HEIGHTS)
        for height in sorted(np.exp(rng.uniform(low, high, rng.integers(1, 5)))):
            index = int(rng.choice(self._standing))
            frame = pick_far_frame(rng, self._cache.mask(index), float(height))
            shape = warp(self._cache.mask(index), frame, self._size, NOWHERE)
            person = warp(self._cache.photo(index), frame, self._size)
            picture = composite(rng, person, shape, picture, yuv=self._yuv)
            mask = np.maximum(mask, shape)
        return picture, mask

    def _background(self, rng: np.random.Generator, index: int | None = None) -> Pixels:
        if index is None:
            index = int(rng.choice(self._empty))
        photo = self._cache.photo(index)
        height, width = photo.shape[:2]
        side = min(height, width) * float(rng.uniform(0.45, 1.05))
        x = width / 2 + float(rng.uniform(-1, 1)) * abs(width - side) / 2
        y = height / 2 + float(rng.uniform(-1, 1)) * abs(height - side) / 2
        turn = float(rng.normal(0, 8)) if rng.random() < self._rates.rotate else 0.0
        return warp(photo, Frame(x, y, side, turn, bool(rng.random() < 0.5)), self._size)

    def _outline(self, rng: np.random.Generator) -> Pixels:
        """Somebody's outline, for a decoy."""
        index = int(rng.choice(self._persons))
        mask = self._cache.mask(index)
        frame = pick_frame(rng, mask, self._rates, full_body=True, whole=True)
        return warp(mask, frame, self._size, NOWHERE)

# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Random training pictures of clean photos. Needs numpy and OpenCV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from gnetseg_zoo.datasets.pictures import PERSON_FROM, Pixels
from gnetseg_zoo.datasets.samples import EMPTY, DataError
from gnetseg_zoo.judging.photos import FULL_BODY, GROUP, MIXED, PORTRAIT, SCENE, Photo, open_all, open_soft

Floats = npt.NDArray[np.float32]
AGREED = 0.8
"""From this intersection over union on, the selfie network's mask of a scene is as good as the drawn one."""
HALF_LENGTH = "half-length"
"""Heads to waists out of full-body photos: portraits, of which few have a clean licence."""
COMPOSED = "composed"
"""Persons stood up in other pictures."""


@dataclass(frozen=True)
class Known:
    """A photo in memory: uint8 pixels [h, w, 3], target [h, w] 0..255, its weight [h, w] 0..255, its box."""

    pixels: Pixels
    target: Pixels
    weight: Pixels
    box: tuple[int, int, int, int] | None


def know(photo: Photo, teacher: Path) -> Known:
    """``photo`` with what the drawn mask and the selfie network's say of it together.

    Full bodies: CCP draws bags and hats in, the network leaves them out: their mean, and
    where they differ a third of the weight. Portraits drawn by hand likewise, more of the hand.
    Scenes: COCO's outlines are coarse, the network's are good where both mean the same person.
    """
    pixels, mask, unknown = open_all(photo)
    target = mask.astype(np.float32) / 255
    weight = np.ones_like(target)
    soft = open_soft(teacher, photo)
    taught = soft.astype(np.float32) / 255 if soft is not None else None
    if photo.domain == FULL_BODY and taught is not None:
        weight -= 0.7 * np.abs(taught - target)
        target = 0.4 * target + 0.6 * taught
    elif photo.domain == PORTRAIT and photo.sample.label_kind == "hand" and taught is not None:
        weight -= 0.7 * np.abs(taught - target)
        target = 0.6 * target + 0.4 * taught
    elif photo.domain in (SCENE, GROUP, MIXED):
        near = _outline(mask)
        weight[near] = 0.5
        if taught is not None and (_agreement(mask, taught) >= AGREED or photo.domain != SCENE):
            differ = np.abs(taught - target)
            if photo.domain == SCENE:
                target = 0.5 * target + 0.5 * taught
                weight[near] = 1.0
                weight -= 0.5 * differ
            else:  # the network misses many in a group: it only makes the other teacher's outlines finer
                target = np.where(near, 0.5 * target + 0.5 * taught, target)
    if unknown is not None:
        weight[unknown] = 0
    drawn = mask >= PERSON_FROM
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) if len(rows) > 4 else None
    return Known(pixels, _bytes(target), _bytes(weight), box)


class Pictures:
    """Random pictures for training; ``shares`` of kinds: a domain, HALF_LENGTH, COMPOSED or empty."""

    def __init__(
        self, photos: Sequence[Photo], teacher: Path, shares: dict[str, float], *, size: int, seed: int
    ) -> None:
        """Read all ``photos`` (some 350 MB for 2,000). ``size``: the largest picture asked for.

        Raises :class:`DataError` without full bodies, scenes and empty pictures to compose of.
        """
        cv2.setNumThreads(1)
        self.rng = np.random.default_rng(seed)
        self._kinds = list(shares)
        self._shares = np.array([shares[k] for k in self._kinds]) / sum(shares.values())
        self._of: dict[str, list[Known]] = {}
        for photo in photos:
            known = know(photo, teacher)
            if photo.domain == EMPTY or known.box is not None:
                self._of.setdefault(photo.domain, []).append(known)
        missing = {FULL_BODY, SCENE, EMPTY, *self._kinds} - {HALF_LENGTH, COMPOSED, *self._of}
        if missing:
            raise DataError(
                f"no training photo is of {', '.join(sorted(missing))}; give an index that has some"
            )
        self._noise = self.rng.normal(0, 32, (4, size + 64, size + 64, 3)).astype(np.int16)

    def counts(self) -> dict[str, int]:
        """How many photos there are of each domain."""
        return {k: len(v) for k, v in self._of.items()}

    def batch(self, count: int, size: int) -> tuple[Pixels, Pixels, Pixels]:
        """(RGB [n, s, s, 3], target [n, s, s], weight [n, s, s]), uint8."""
        made = [self._picture(size) for _ in range(count)]
        pixels, targets, weights = (np.stack(part) for part in zip(*made, strict=True))
        return pixels, targets, weights

    def _picture(self, size: int) -> tuple[Pixels, Pixels, Pixels]:
        rng = self.rng
        kind = self._kinds[int(rng.choice(len(self._kinds), p=self._shares))]
        if kind == EMPTY:
            pixels = self._nobody(size)
            target, weight = np.zeros((size, size), np.uint8), np.full((size, size), 255, np.uint8)
        elif kind == COMPOSED:
            pixels, target, weight = self._composed(size)
        else:
            half = kind == HALF_LENGTH
            known = self._any(FULL_BODY if half else kind)
            matrix = self._half_length(known, size) if half else self._part(known, size)
            pixels, target, weight = _warp(known, matrix, size, rng.random() < 0.5)
            if kind in (HALF_LENGTH, PORTRAIT) and rng.random() < 0.3:
                pixels, target, weight = self._moved(known, matrix, size)
        return self._light(pixels), target, weight

    def _any(self, domain: str) -> Known:
        among = self._of[domain]
        return among[int(self.rng.integers(len(among)))]

    def _part(self, known: Known, size: int) -> Floats:
        """The centre square (as the camera has it), or any square, or the person's surroundings."""
        rng = self.rng
        height, width = known.pixels.shape[:2]
        short, chance = min(height, width), rng.random()
        if chance < 0.3:
            side = short * rng.uniform(0.9, 1.0)
            x = width / 2 + (width - side) / 2 * rng.uniform(-0.3, 0.3)
            y = height / 2 + (height - side) / 2 * rng.uniform(-0.3, 0.3)
        elif chance < 0.85 or known.box is None:
            side = short * rng.uniform(0.5, 1.25)
            x = rng.uniform(min(side / 2, width / 2), max(width - side / 2, width / 2))
            y = rng.uniform(min(side / 2, height / 2), max(height - side / 2, height / 2))
        else:
            return self._half_length(known, size)
        return self._matrix(x, y, side, size)

    def _half_length(self, known: Known, size: int) -> Floats:
        rng = self.rng
        height, width = known.pixels.shape[:2]
        left, top, right, bottom = known.box or (0, 0, width, height)
        broad, tall = right - left, bottom - top
        side = max(24.0, max(broad, tall * rng.uniform(0.35, 0.9)) * rng.uniform(0.95, 1.6))
        side = min(side, max(height, width) * 1.2)
        x = (left + right) / 2 + broad * rng.uniform(-0.3, 0.3)
        return self._matrix(x, top + side * rng.uniform(0.33, 0.55), side, size)

    def _matrix(self, x: float, y: float, side: float, size: int) -> Floats:
        rng = self.rng
        turn = math.radians(rng.normal(0, 7)) if rng.random() < 0.5 else 0.0
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        aspect = math.exp(rng.normal(0, 0.06))
        scale, c, s = size / side, math.cos(turn), math.sin(turn)
        out = np.array(
            [
                [scale * aspect * c * mirror, -scale * aspect * s * mirror, 0],
                [scale / aspect * s, scale / aspect * c, 0],
            ],
            np.float32,
        )
        out[:, 2] = size / 2 - out[:, 0] * x - out[:, 1] * y
        return out

    def _moved(self, known: Known, matrix: Floats, size: int) -> tuple[Pixels, Pixels, Pixels]:
        """The person of ``known`` before another background."""
        return self._stand(known, matrix, self._nobody(size), np.zeros((size, size), np.uint8))

    def _composed(self, size: int) -> tuple[Pixels, Pixels, Pixels]:
        """One to three standing persons, the far ones first, in an empty picture or in a scene."""
        rng = self.rng
        weight = np.full((size, size), 255, np.uint8)
        if rng.random() < 0.5:
            pixels, target = self._nobody(size), np.zeros((size, size), np.uint8)
        else:
            known = self._any(SCENE)
            pixels, target, weight = _warp(known, self._part(known, size), size, False)
        heights = np.exp(rng.uniform(math.log(0.3), math.log(1.3), int(rng.integers(1, 4))))
        for height in sorted(heights):
            known = self._any(FULL_BODY)
            left, top, right, bottom = known.box or (0, 0, 1, 1)
            side = (bottom - top) / height
            x = (left + right) / 2 + rng.uniform(-0.45, 0.45) * side
            y = bottom + (0.5 - min(1.0, 0.5 + height * rng.uniform(0.35, 0.7))) * side
            matrix = self._matrix(x, y, side, size)
            pixels, target, here = self._stand(known, matrix, pixels, target)
            weight = np.where(here < 255, np.minimum(here, weight), weight)
        return pixels, target, weight

    def _stand(
        self, known: Known, matrix: Floats, background: Pixels, target: Pixels
    ) -> tuple[Pixels, Pixels, Pixels]:
        """Cut ``known``'s person out and put it before ``background``, whose own target is ``target``."""
        rng = self.rng
        edge = cv2.BORDER_CONSTANT
        source = cv2.blur(known.pixels, (2, 2)) if abs(matrix[0, 0]) < 0.6 else known.pixels
        front = cv2.warpAffine(
            source, matrix, (size := target.shape[0], size), borderMode=cv2.BORDER_REPLICATE
        )
        mine = cv2.warpAffine(known.target, matrix, (size, size), borderMode=edge)
        sure = cv2.warpAffine(known.weight, matrix, (size, size), borderMode=edge, borderValue=255)
        # What only one of the two masks has (a bag) comes along, and counts little.
        alpha = np.clip((mine.astype(np.float32) - 60) / 120, 0, 1)[..., None]
        person = front.astype(np.float32)
        if rng.random() < 0.6 and (inside := mine >= PERSON_FROM).any():
            person += (background.mean() - front[inside].mean()) * rng.uniform(0, 0.6)
        pixels = np.clip(background + alpha * (person - background), 0, 255).astype(np.uint8)
        out = np.maximum(mine, (target * (1 - alpha[..., 0])).astype(np.uint8))
        weight = np.where(mine > 25, sure, 255).astype(np.uint8)
        return pixels, out, weight

    def _nobody(self, size: int) -> Pixels:
        """A picture without a person: an empty photo, or a part of another beside its persons."""
        rng = self.rng
        if rng.random() < 0.45:
            for _ in range(20):
                known = self._any(FULL_BODY if rng.random() < 0.4 else SCENE)
                height, width = known.pixels.shape[:2]
                side = min(height, width) * rng.uniform(0.25, 0.8)
                left, top = int(rng.uniform(0, width - side)), int(rng.uniform(0, height - side))
                part = (slice(top, top + int(side)), slice(left, left + int(side)))
                if known.target[part].max() < 40 and known.weight[part].min() > 100:
                    matrix = self._matrix(left + side / 2, top + side / 2, side, size)
                    return _warp(known, matrix, size, True)[0]
        known = self._any(EMPTY)
        return _warp(known, self._part(known, size), size, rng.random() < 0.5)[0]

    def _light(self, pixels: Pixels) -> Pixels:
        """Colour, tone, low light, blur and noise as cameras make them."""
        rng = self.rng
        size = pixels.shape[0]
        table = np.repeat(np.arange(256, dtype=np.float32)[:, None], 3, 1)
        if rng.random() < 0.4:
            table *= np.exp(rng.normal(0, 0.15, 3)).astype(np.float32)
        if rng.random() < 0.7:
            table = (table - 128) * math.exp(rng.normal(0, 0.2)) + 128 + rng.normal(0, 18)
        if rng.random() < 0.3:
            table = 255 * (np.clip(table, 0, 255) / 255) ** math.exp(rng.normal(0, 0.35))
        if rng.random() < 0.12:
            table = table * rng.uniform(0.2, 0.6)
        pixels = cv2.LUT(pixels, _bytes(table / 255).reshape(256, 1, 3))
        if rng.random() < 0.2:
            colour = rng.uniform(0, 1)
            grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            pixels = cv2.addWeighted(grey, 1 - colour, pixels, colour, 0)
        if rng.random() < 0.2:
            pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.6))
        if rng.random() < 0.3:
            top, left = rng.integers(0, 64, 2)
            grain = self._noise[rng.integers(4)][top : top + size, left : left + size]
            wide = cv2.addWeighted(
                pixels.astype(np.int16), 1.0, np.ascontiguousarray(grain), rng.uniform(1, 9) / 32, 0
            )
            pixels = np.clip(wide, 0, 255).astype(np.uint8)
        return pixels


class Batches:
    """``batches[step]`` gives the pixels [n, channels, s, s] of a step, and target and weight [n, 2, s, s].

    All uint8. Seeded by (seed, step): a resumed run goes on with the pictures that it would have seen.
    ``sizes``: sides with their shares; a step has one of them.
    """

    def __init__(
        self, pictures: Pictures, sizes: Mapping[int, float], *, batch: int, seed: int, pixel_format: str
    ) -> None:
        self._pictures, self._sizes, self._batch = pictures, list(sizes), batch
        self._shares = np.array(list(sizes.values())) / sum(sizes.values())
        self._seed, self._format = seed, pixel_format

    def __getitem__(self, step: int) -> tuple[Pixels, Pixels]:
        rng = self._pictures.rng = np.random.default_rng((self._seed, step))
        size = self._sizes[int(rng.choice(len(self._sizes), p=self._shares))]
        pixels, targets, weights = self._pictures.batch(self._batch, size)
        planes = in_format(pixels, self._format).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(planes), np.stack([targets, weights], 1)


def in_format(pixels: Pixels, pixel_format: str) -> Pixels:
    """uint8 [n, s, s, channels] of RGB bytes [n, s, s, 3]; Y and YUV444 are BT.601, full range."""
    out = pixels
    if pixel_format == "Y":
        out = np.stack([cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in pixels])[..., None]
    elif pixel_format == "YUV444":
        out = np.stack([cv2.cvtColor(p, cv2.COLOR_RGB2YCrCb) for p in pixels])[..., (0, 2, 1)]
    return out


def _warp(known: Known, matrix: Floats, size: int, mirror_edges: bool) -> tuple[Pixels, Pixels, Pixels]:
    edge = cv2.BORDER_REFLECT if mirror_edges else cv2.BORDER_REPLICATE
    # What is finer than the new pixels would come out as a pattern.
    source = cv2.blur(known.pixels, (2, 2)) if abs(matrix[0, 0]) < 0.6 else known.pixels
    pixels = cv2.warpAffine(source, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=edge)
    target = cv2.warpAffine(known.target, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=edge)
    weight = cv2.warpAffine(known.weight, matrix, (size, size), flags=cv2.INTER_NEAREST, borderMode=edge)
    return np.asarray(pixels), np.asarray(target), np.asarray(weight)


def _outline(mask: Pixels) -> npt.NDArray[np.bool_]:
    hard, box = (mask >= PERSON_FROM).astype(np.uint8), np.ones((5, 5), np.uint8)
    return np.asarray(cv2.dilate(hard, box) != cv2.erode(hard, box))


def _agreement(mask: Pixels, taught: Floats) -> float:
    a, b = mask >= PERSON_FROM, taught >= 0.5
    return float((a & b).sum() / max(1, (a | b).sum()))


def _bytes(values: Floats) -> Pixels:
    out: Pixels = np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
    return out

"""Filters over the integer masks of successive frames: a study, the daemon has none. Needs numpy.

Each is a function that takes the labels of one frame, uint8 [rows, columns], and gives those
to show. For two classes only: background 0 and person 1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gnetseg_zoo.datasets.pictures import PERSON_FROM, Pixels, open_pair
from gnetseg_zoo.datasets.samples import EMPTY, DataError, load_index
from gnetseg_zoo.scoring.labeller import Labeller
from gnetseg_zoo.scoring.scores import Confusion

Step = Callable[[Pixels], Pixels]


def exponential(share: float) -> Step:
    """The running mean of the labels, in which the newest counts ``share`` (0..1), cut at one half."""
    mean: npt.NDArray[np.float32] | None = None

    def step(labels: Pixels) -> Pixels:
        nonlocal mean
        new = labels.astype(np.float32)
        mean = new if mean is None else mean + share * (new - mean)
        return (mean >= 0.5).astype(np.uint8)

    return step


def hold(frames: int) -> Step:
    """Hysteresis: a label changes when ``frames`` frames in a row disagree with it."""
    shown: Pixels | None = None
    against: npt.NDArray[np.uint8] | None = None

    def step(labels: Pixels) -> Pixels:
        nonlocal shown, against
        if shown is None or against is None:
            shown, against = labels.copy(), np.zeros_like(labels)
            return shown.copy()
        against = np.where(labels == shown, 0, against + 1).astype(np.uint8)
        turned = against >= frames
        shown = np.where(turned, labels, shown).astype(np.uint8)
        against[turned] = 0
        return shown.copy()

    return step


FILTERS: dict[str, Callable[[], Step]] = {
    "none": lambda: lambda labels: labels,
    "mean 0.4": lambda: exponential(0.4),
    "mean 0.2": lambda: exponential(0.2),
    "hold 2": lambda: hold(2),
    "hold 3": lambda: hold(3),
}

SPEEDS = (1, 4)
"""Pixels of the mask that the picture moves in a frame; a walking person at 30 frames/s moves 1 to 4."""
PAN_FRAMES = 12


def lag(network: Labeller, index: Path, split: str) -> dict[str, dict[str, float]]:
    """mIoU of each filter while the camera pans over photos of persons, by speed ("1 px").

    The window is the network's square, it moves along the photo's longer side; only photos with
    room for that are used. Raises :class:`DataError` if none is.
    """
    counts = {name: {speed: Confusion() for speed in SPEEDS} for name in FILTERS}
    person, size, times = network.person(), network.input.width, network.enlargement()
    used = 0
    for sample in load_index(index, split):
        if sample.domain == EMPTY:
            continue
        photo, mask = open_pair(sample, network.input.pixel_format)
        scale = size / min(photo.size)
        shape = round(photo.width * scale), round(photo.height * scale)
        room = max(shape) - size
        if room < max(SPEEDS) * PAN_FRAMES:
            continue
        used += 1
        pixels = np.asarray(photo.resize(shape), np.uint8).reshape(shape[1], shape[0], -1)
        truth = np.asarray(mask.resize(shape)) >= PERSON_FROM
        for speed in SPEEDS:
            filters = {name: make() for name, make in FILTERS.items()}
            begin = (room - speed * PAN_FRAMES) // 2
            for n in range(PAN_FRAMES):
                moved = slice(begin + n * speed, begin + n * speed + size)
                part = (slice(size), moved) if shape[0] > shape[1] else (moved, slice(size))
                raw = network.labels(np.ascontiguousarray(pixels[part]))
                found = (raw == person).astype(np.uint8).repeat(times, axis=0).repeat(times, axis=1)
                for name, step in filters.items():
                    counts[name][speed].add(step(found) == 1, truth[part])
    if not used:
        raise DataError(f"{index}: no photo of split {split} is long enough to pan over; give others")
    return {
        name: {f"{speed} px": round(count.miou, 4) for speed, count in by_speed.items()}
        for name, by_speed in counts.items()
    }

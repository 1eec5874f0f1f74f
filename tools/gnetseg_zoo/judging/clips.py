"""Empty floors and flicker: what clips show and photos do not. Needs numpy and PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gnetseg_zoo.flicker import flicker_of, frames
from gnetseg_zoo.scoring.labeller import Labeller

FLOORS: dict[str, tuple[tuple[int, int], ...]] = {
    "one_by_one_person_detection.mp4": (
        (0, 50),
        (200, 216),
        (452, 492),
        (705, 734),
        (875, 913),
        (1200, 1225),
        (1363, 1393),
    ),
    "people_detection.mp4": ((0, 22),),
}
"""First and last of the frames whose centre square is a floor and walls: never trained on."""
STILL_CLIPS = ("asl_again.mp4", "asl_bird.mp4", "asl_no.mp4", "asl_please.mp4", "bedroom.mp4")
"""A camera that stands still before somebody who moves, in real video."""


def clips(names: Sequence[str], folders: Sequence[Path]) -> list[Path]:
    """Those of ``names`` that are there in ``FOLDER/video``."""
    paths = [folder / "video" / name for folder in folders for name in names]
    return [path for path in paths if path.is_file()]


def floor_share(network: Labeller, folders: Sequence[Path]) -> dict[str, float | int]:
    """The mean share of the picture that is called a person on empty floors; empty without the clips.

    Raises GnetsegError for a clip that cannot be read.
    """
    shares: list[float] = []
    for clip in clips(tuple(FLOORS), folders):
        runs = FLOORS[clip.name]
        for number, (pixels, _) in enumerate(frames(clip, network)):
            if any(first <= number <= last for first, last in runs):
                shares.append(float((network.labels(pixels) == network.person()).mean()))
    return {"false_person": round(float(np.mean(shares)), 5), "frames": len(shares)} if shares else {}


def mean_flicker(network: Labeller, folders: Sequence[Path]) -> dict[str, float | int]:
    """The mean over clips of the share of still pixels that change label; empty without the clips."""
    found = [flicker_of(clip, network)["none"] for clip in clips(STILL_CLIPS, folders)]
    if not found:
        return {}
    mean = float(np.mean([f.summary()["flicker"] for f in found]))
    return {"flicker": round(mean, 6), "pairs": sum(f.pairs for f in found)}

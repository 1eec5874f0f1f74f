"""How much a network's mask flickers: ``python -m gnetseg_zoo.flicker --model BUNDLE --clip FILE.mp4``.

Flicker is the share of *still* pixels whose label changes from one frame to the next, over
all pairs of frames of a clip. A pixel is still where luminance changes by at most
:data:`STILL_LEVELS` in all of the :data:`NEIGHBOURHOOD` pixels around it: there no edge has
moved, so the label has no reason to change, and the best network scores 0 on any clip. It
is the temporal consistency of Varghese et al. 2020 ("Unsupervised Temporal Consistency
Metric for Video Segmentation in Highly-Automated Driving"), which warps the former mask by
optical flow, reduced to where the flow is nothing: so it needs no other network.

A mask that never changes also scores 0: read it beside mIoU. ``--smoothing`` shows what
filters over the masks of successive frames would gain; with ``--data`` also what they cost
when the camera pans. Needs numpy, PyAV (the extra ``video``) and a TFLite runtime.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gnetseg_zoo.datasets.pictures import Pixels
from gnetseg_zoo.datasets.samples import DataError
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.scoring.labeller import Labeller, of_bundle
from gnetseg_zoo.scoring.smoothing import FILTERS, lag
from gnetsegd.cameras.clips import Clip, Picture
from gnetsegd.cameras.scale import Scaler
from gnetsegd.errors import GnetsegError, PermanentError
from gnetsegd.model import load_bundle

STILL_LEVELS = 8
"""Of 256: above the noise of a camera and of video compression, below any edge worth the name."""
NEIGHBOURHOOD = 9
"""Side in pixels of the square that must be still; a network blurs about so far around an edge."""

GEOMETRY = "center-crop"


@dataclass
class Flicker:
    """Counts over a clip."""

    pairs: int = 0
    still: int = 0
    changed_still: int = 0
    changed: int = 0
    pixels: int = 0

    def add(self, still: npt.NDArray[np.bool_], before: Pixels, now: Pixels) -> None:
        """Count one pair of frames; ``before`` and ``now`` are labels of the shape of ``still``."""
        differ = before != now
        self.pairs += 1
        self.pixels += differ.size
        self.changed += int(np.count_nonzero(differ))
        self.still += int(np.count_nonzero(still))
        self.changed_still += int(np.count_nonzero(differ & still))

    def summary(self) -> dict[str, float | int]:
        """Shares (0..1): still pixels that change label, any that do, still ones; and pairs of frames."""
        return {
            "flicker": round(self.changed_still / self.still, 6) if self.still else 0.0,
            "changed": round(self.changed / self.pixels, 6) if self.pixels else 0.0,
            "still": round(self.still / self.pixels, 4) if self.pixels else 0.0,
            "pairs": self.pairs,
        }


def still_pixels(before: Pixels, now: Pixels) -> npt.NDArray[np.bool_]:
    """bool [height, width], true where nothing moves; both uint8 [height, width] luminance."""
    moved = np.abs(now.astype(np.int16) - before) > STILL_LEVELS
    reach = NEIGHBOURHOOD // 2
    for axis in (0, 1):  # the maximum of a square is that of its rows' maxima
        spread = moved.copy()
        for step in range(1, reach + 1):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            spread[tuple(ahead)] |= moved[tuple(behind)]
            spread[tuple(behind)] |= moved[tuple(ahead)]
        moved = spread
    still: npt.NDArray[np.bool_] = ~moved
    return still


def frames(clip: Path, network: Labeller) -> Iterator[tuple[Pixels, Pixels]]:
    """(input [height, width, channels], luminance [rows, columns] at the mask's size) of every frame.

    Scaled as the daemon does. Raises :class:`GnetsegError` for a clip that cannot be read.
    """
    try:
        clip.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise PermanentError(
            f"{clip}: there is no such file; give --clip a video or a folder of pictures", os.EX_NOINPUT
        ) from None
    except OSError:
        pass  # opening it says why
    spec = network.input
    scaler = Scaler(spec, GEOMETRY)
    for picture in Clip(str(clip)).pictures():
        if not isinstance(picture, Picture):
            continue  # lost
        pixels = np.empty(spec.shape, np.uint8)
        scaler.scale(picture.image, pixels, picture.view)
        yield pixels.reshape(spec.height, spec.width, -1), luminance(pixels, network)


def luminance(pixels: Pixels, network: Labeller) -> Pixels:
    """uint8 [rows, columns] of the mask, from uint8 pixels of the network's input."""
    if network.input.pixel_format == "RGB":
        plane = (pixels @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
    else:
        plane = pixels if pixels.ndim == 2 else pixels[:, :, 0]
    columns, rows = network.mask
    down, across = network.input.height // rows, network.input.width // columns
    out: Pixels = plane[::down, ::across]
    return out


def flicker_of(clip: Path, network: Labeller, names: Iterable[str] = ("none",)) -> dict[str, Flicker]:
    """The flicker of ``network`` on ``clip`` behind each of the named :data:`FILTERS`."""
    filters = {name: FILTERS[name]() for name in names}
    counts = {name: Flicker() for name in filters}
    former: tuple[Pixels, dict[str, Pixels]] | None = None
    for pixels, plane in frames(clip, network):
        raw = network.labels(pixels)
        labels = {name: step(raw) for name, step in filters.items()}
        if former is not None:
            still = still_pixels(former[0], plane)
            for name, count in counts.items():
                count.add(still, former[1][name], labels[name])
        former = plane, labels
    if former is None or not next(iter(counts.values())).pairs:
        raise DataError(f"{clip}: has fewer than two frames; give a longer clip")
    return counts


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.flicker", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of the bundle, or the name of a shipped one")
    parser.add_argument("--clip", type=Path, action="append", required=True, help="video; may be repeated")
    parser.add_argument("--smoothing", action="store_true", help="also behind filters over the masks")
    parser.add_argument("--data", type=Path, help="index.csv: also what the filters cost when panning")
    parser.add_argument("--split", default="val")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args(arguments)
    names = list(FILTERS) if given.smoothing or given.data else ["none"]
    try:
        network = of_bundle(load_bundle(given.model))
        if len(names) > 1 and len(network.classes) > 2:
            raise DataError(
                f"{network.name}: has {len(network.classes)} classes, and the filters are for two; leave "
                f"--smoothing and --data out"
            )
        clips = {}
        namesakes = Counter(clip.name for clip in given.clip)
        for clip in given.clip:
            title = clip.name if namesakes[clip.name] == 1 else str(clip)
            found = flicker_of(clip, network, names)
            clips[title] = {name: count.summary() for name, count in found.items()}
            for name, numbers in clips[title].items():
                words = "  ".join(f"{key} {value}" for key, value in numbers.items())
                print(f"{title}  {name:10}  {words}")
        costs = lag(network, given.data, given.split) if given.data else {}
    except (GnetsegError, ZooError) as error:
        return told(error)
    for name, by_speed in costs.items():
        print(f"panning  {name:10}  " + "  ".join(f"{speed} miou {miou}" for speed, miou in by_speed.items()))
    if given.json:
        print(json.dumps({"model": network.name, "clips": clips, "panning": costs}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

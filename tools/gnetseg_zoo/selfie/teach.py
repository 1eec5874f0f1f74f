# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Soft masks of MediaPipe's own network: ``python -m gnetseg_zoo.selfie.teach``.

For every clean training photo with a person: the network's probabilities over squares of
several sizes, mirrored too, averaged. A selfie network sees a standing person best when it
fills the square, so heads and upper bodies are looked at apart. Needs torch and OpenCV, and
ai-edge-litert to read MediaPipe's file. ``--weights`` takes what was trained from it in its
place, ``--research`` looks at the photos with other licences; masks that are there stay.
``--part 0/2`` does every second photo, for two processes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from gnetseg_zoo.datasets.pictures import PERSON_FROM, Pixels
from gnetseg_zoo.datasets.samples import EMPTY
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.judging.photos import FULL_BODY, SCENE, TRAIN, load_photos, open_all
from gnetseg_zoo.selfie.graph import cheaper, load_weights, read_tflite
from gnetseg_zoo.selfie.torch_model import SelfieNet

SIZE = 256
RIM = 0.12
"""Share of a side: nearer to its rim a square counts less, as half of the surroundings is not in it."""
Square = tuple[int, int, int]
"""Top, left, side."""


def squares(mask: Pixels, *, closer: bool) -> list[Square]:
    """Squares along the photo's longer side; ``closer``: also around its person, and its upper half."""
    height, width = mask.shape
    short = min(height, width)
    out = [(0, 0, short)]
    if max(height, width) >= 1.08 * short:
        out += [((height - short) // 2, (width - short) // 2, short), (height - short, width - short, short)]
    drawn = mask >= PERSON_FROM
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    if closer and len(rows):
        tall, broad = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
        for share in (0.45, 0.75) if tall > 1.3 * broad else (1.0,):
            side = int(min(short, max(48, broad * 1.15, tall * share * 1.15)))
            top = int(np.clip(rows[0] - side * 0.08, 0, height - side))
            left = int(np.clip(columns[0] + broad / 2 - side / 2, 0, width - side))
            out.append((top, left, side))
    return out


def soft_mask(network: SelfieNet, pixels: Pixels, looked: list[Square]) -> Pixels:
    """uint8 [h, w], 255 times the probability of a person, of RGB ``pixels``."""
    height, width = pixels.shape[:2]
    parts = [
        cv2.resize(pixels[t : t + s, x : x + s], (SIZE, SIZE), interpolation=_how(s)) for t, x, s in looked
    ]
    batch = np.stack([*parts, *(p[:, ::-1] for p in parts)])
    with torch.no_grad():
        x = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float().div_(255)
        found = torch.sigmoid(network(x.contiguous(memory_format=torch.channels_last)))[:, 0].numpy()
    total = np.zeros((height, width), np.float32)
    weight = np.full((height, width), 1e-6, np.float32)
    for (top, left, side), here, mirrored in zip(looked, found, found[len(parts) :], strict=False):
        counts = _rim(side) * (2 if side < 0.95 * min(height, width) else 1)
        place = (slice(top, top + side), slice(left, left + side))
        total[place] += cv2.resize((here + mirrored[:, ::-1]) / 2, (side, side)) * counts
        weight[place] += counts
    out: Pixels = np.rint(total / weight * 255).astype(np.uint8)
    return out


def _how(side: int) -> int:
    return int(cv2.INTER_AREA if side > SIZE else cv2.INTER_LINEAR)


def _rim(side: int) -> npt.NDArray[np.float32]:
    inwards = np.minimum(np.arange(side) + 1, side - np.arange(side))
    ramp = np.clip(inwards / (RIM * side), 0.05, 1).astype(np.float32)
    out: npt.NDArray[np.float32] = ramp[:, None] * ramp[None]
    return out


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.selfie.teach", description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="MediaPipe's selfie_segmentation.tflite")
    parser.add_argument("--data", required=True, help="index.csv of the photos, several parted by commas")
    parser.add_argument("--output", type=Path, required=True, help="folder of the masks")
    parser.add_argument("--weights", type=Path, help="weights.npz for RGB, in place of MediaPipe's own")
    parser.add_argument("--research", action="store_true", help="every licence, not only the clean ones")
    parser.add_argument("--part", default="0/1", help="which of how many parts, for several processes")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    part, parts = (int(number) for number in given.part.split("/"))
    try:
        steps, weights = read_tflite(given.source)
        if given.weights is not None:
            weights = load_weights(given.weights)
        network = SelfieNet(cheaper(steps), weights).eval()
        given.output.mkdir(parents=True, exist_ok=True)
        indices = [Path(d) for d in given.data.split(",")]
        photos = load_photos(indices, TRAIN, every_licence=given.research)
        photos = [p for p in photos if p.domain != EMPTY and not (given.output / f"{p.key}.png").is_file()]
        for photo in photos[part::parts]:
            pixels, mask, _ = open_all(photo)
            looked = squares(mask, closer=photo.domain in (FULL_BODY, SCENE))
            Image.fromarray(soft_mask(network, pixels, looked)).save(given.output / f"{photo.key}.png")
    except ZooError as error:
        return told(error)
    except OSError as error:
        print(f"error: {error.filename or given.output}: {error.strerror or error}", file=sys.stderr)
        return os.EX_IOERR
    print(f"{given.output}: {len(photos[part::parts])} masks")
    return 0


if __name__ == "__main__":
    sys.exit(main())

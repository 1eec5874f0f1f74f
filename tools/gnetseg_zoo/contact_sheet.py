"""The best and the worst photos of a split as one picture.

``python -m gnetseg_zoo.contact_sheet --model BUNDLE --data index.csv --output sheet.jpg``.
Needs numpy, Pillow and a TFLite runtime. Only photos of sources that may be passed on
are shown (:data:`SHOWN`).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gnetseg_zoo.datasets.samples import DOMAINS, EMPTY, DataError, load_index
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.evaluate import Result, results
from gnetseg_zoo.scoring.labeller import of_bundle
from gnetseg_zoo.scoring.scores import Scoreboard
from gnetsegd.errors import ModelError
from gnetsegd.model import ModelBundle, load_bundle

SHOWN = ("ccp_hand", "ccp_teacher", "us_officials", "synthetic_portraits")
"""Sources under Apache-2.0 or MIT; the others are for research use or state no licence."""

TILE_PX = 150
CAPTION_PX = 14
PERSON = np.array([40, 200, 120])
MISSED = np.array([230, 60, 60])
INVENTED = np.array([250, 170, 20])
LARGEST_BYTES = 150_000
QUALITIES = (80, 65, 50, 35)
"""Of JPEG, tried in this order until the picture is small enough for a repository."""
LEGEND = "green: person found   red: person missed   orange: background taken for a person"


def coloured(
    seen: NDArray[np.uint8], predicted: NDArray[np.bool_], truth: NDArray[np.bool_], words: str, side_px: int
) -> Image.Image:
    """One photo with its mask in colour, and ``words`` below; ``seen``: (height, width, 3), RGB."""
    shown = seen.astype(np.float32)
    for where, colour in (
        (predicted & truth, PERSON),
        (truth & ~predicted, MISSED),
        (predicted & ~truth, INVENTED),
    ):
        shown[where] = 0.55 * shown[where] + 0.45 * colour
    out = Image.new("RGB", (side_px, side_px + CAPTION_PX), "white")
    out.paste(Image.fromarray(shown.astype(np.uint8)).resize((side_px, side_px), Image.Resampling.BOX))
    ImageDraw.Draw(out).text((3, side_px), words, fill="black", font=ImageFont.load_default(size=11))
    return out


def tile(result: Result, pixel_format: str) -> Image.Image:
    """One photo as the network saw it, with its score."""
    seen = result.pixels
    if pixel_format == "YUV444":
        seen = np.asarray(Image.fromarray(seen, "YCbCr").convert("RGB"))
    elif pixel_format == "Y":
        seen = seen.repeat(3, axis=2)
    return coloured(
        seen, result.predicted, result.truth, f"{result.sample.domain} {result.score:.3f}", TILE_PX
    )


def sheet(chosen: list[tuple[str, list[Result]]], columns: int, pixel_format: str) -> Image.Image:
    """Rows of tiles, each under its heading; ``pixel_format``: of the network's input."""
    heading = 20
    height = sum(heading + -(-len(r) // columns) * (TILE_PX + CAPTION_PX) for _, r in chosen) + heading
    out = Image.new("RGB", (columns * TILE_PX, height), "white")
    draw, font, y = ImageDraw.Draw(out), ImageFont.load_default(size=13), 0
    for words, found in chosen:
        draw.text((3, y + 2), words, fill="black", font=font)
        y += heading
        for n, result in enumerate(found):
            place = n % columns * TILE_PX, y + n // columns * (TILE_PX + CAPTION_PX)
            out.paste(tile(result, pixel_format), place)
        y += -(-len(found) // columns) * (TILE_PX + CAPTION_PX)
    draw.text((3, y + 2), LEGEND, fill="black", font=font)
    return out


def draw(bundle: ModelBundle, index: Path, split: str, output: Path, columns: int = 8) -> None:
    """Draw the best and the worst photos of ``split`` into ``output``, a .jpg or .png.

    Raises :class:`ModelError`, :class:`DataError` without a photo that may be shown, and
    :class:`OSError` or :class:`ValueError` for a file that cannot be written.
    """
    samples = [s for s in load_index(index, split) if s.source in SHOWN and s.domain != EMPTY]
    if not samples:
        raise DataError(f"{index}: split {split} has no photo of {', '.join(SHOWN)}")
    found = list(results(of_bundle(bundle), samples, Scoreboard()))
    rows: list[tuple[str, list[Result]]] = []
    for domain in DOMAINS:
        of = sorted((r for r in found if r.sample.domain == domain), key=lambda r: r.score)
        if of:
            rows.append((f"{domain}: best of {len(of)} (mIoU of the photo)", of[: -columns - 1 : -1]))
            rows.append((f"{domain}: worst", of[:columns]))
    picture = sheet(rows, columns, bundle.input.pixel_format)
    for quality in QUALITIES:
        picture.save(output, quality=quality)
        if output.stat().st_size <= LARGEST_BYTES:
            break


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.contact_sheet", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of the bundle, or the name of a shipped one")
    parser.add_argument("--data", type=Path, required=True, help="index.csv of the photos")
    parser.add_argument("--split", default="val")
    parser.add_argument("--output", type=Path, required=True, help="the picture to write, .jpg or .png")
    parser.add_argument("--columns", type=int, default=8)
    given = parser.parse_args(arguments)
    if given.columns < 1:
        parser.error(f"--columns takes a number from 1 on; given {given.columns}")
    try:
        draw(load_bundle(given.model), given.data, given.split, given.output, given.columns)
    except (ModelError, ZooError) as error:
        return told(error)
    except (OSError, ValueError) as error:
        print(f"error: {given.output}: cannot be written ({error}); name a .jpg or .png", file=sys.stderr)
        return os.EX_CANTCREAT
    return 0


if __name__ == "__main__":
    sys.exit(main())

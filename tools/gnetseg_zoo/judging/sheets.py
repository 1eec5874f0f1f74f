"""The worst photos of each domain as pictures: ``python -m gnetseg_zoo.judging.sheets --model BUNDLE``.

Writes ``docs/img/models/BUNDLE-DOMAIN.jpg``. Only photos that may be passed on are shown, so
they are of the clean val split: nothing learnt from them, but they chose. Needs numpy, Pillow
and a TFLite runtime.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gnetseg_zoo.contact_sheet import CAPTION_PX, LARGEST_BYTES, LEGEND, QUALITIES, coloured
from gnetseg_zoo.datasets.samples import EMPTY
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.judging.judge import Judged, judge
from gnetseg_zoo.judging.photos import VAL, load_photos
from gnetseg_zoo.scoring.labeller import of_bundle
from gnetsegd.errors import ModelError
from gnetsegd.model import load_bundle

WORST = 20
COLUMNS = 10
TILE_PX = 112
PICTURES = Path("docs/img/models")


def tile(judged: Judged, grey: bool) -> Image.Image:
    """One photo as the network saw it, with its score."""
    picture = judged.picture.convert("L") if grey else judged.picture
    seen = np.asarray(picture.convert("RGB"))
    return coloured(seen, judged.predicted, judged.truth, f"{judged.score:.3f}", TILE_PX)


def sheet(worst: Sequence[Judged], grey: bool) -> Image.Image:
    """Rows of tiles, the worst first, and the legend."""
    rows = -(-len(worst) // COLUMNS)
    out = Image.new("RGB", (COLUMNS * TILE_PX, rows * (TILE_PX + CAPTION_PX) + 18), "white")
    for n, judged in enumerate(worst):
        place = n % COLUMNS * TILE_PX, n // COLUMNS * (TILE_PX + CAPTION_PX)
        out.paste(tile(judged, grey), place)
    ImageDraw.Draw(out).text((3, out.height - 17), LEGEND, fill="black", font=ImageFont.load_default(12))
    return out


def draw(name: str, indices: Sequence[Path], folder: Path) -> list[Path]:
    """Write the sheets of the bundle ``name`` into ``folder``; gives their paths.

    Raises :class:`ModelError`, :class:`DataError` and OSError.
    """
    bundle = load_bundle(name)
    seen: dict[str, list[Judged]] = {}
    photos = load_photos(indices, VAL)
    judge([of_bundle(bundle)], photos, (), lambda j: seen.setdefault(j.photo.domain, []).append(j))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for domain, found in sorted(seen.items()):
        worst = sorted(found, key=lambda j: -j.score if domain == EMPTY else j.score)[:WORST]
        picture = sheet(worst, bundle.input.pixel_format == "Y")
        path = folder / f"{bundle.id}-{domain}.jpg"
        for quality in QUALITIES:
            picture.save(path, quality=quality)
            if path.stat().st_size <= LARGEST_BYTES:
                break
        paths.append(path)
    return paths


def main(arguments: list[str] | None = None) -> int:
    """The command, run in the repository's folder; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.judging.sheets", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of the bundle, or the name of a shipped one")
    parser.add_argument("--data", required=True, help="index.csv of the photos, several parted by commas")
    parser.add_argument("--output", type=Path, default=PICTURES, help=f"folder of the pictures ({PICTURES})")
    given = parser.parse_args(arguments)
    try:
        for path in draw(given.model, [Path(part) for part in given.data.split(",")], given.output):
            print(path)
    except (ModelError, ZooError) as error:
        return told(error)
    except OSError as error:
        print(f"error: {given.output}: {error.strerror or error}; it was not written", file=sys.stderr)
        return os.EX_CANTCREAT
    return 0


if __name__ == "__main__":
    sys.exit(main())

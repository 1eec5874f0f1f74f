"""A tiny made-up set of photos in the layout of ``index.csv``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEADER = "image,mask,domain,source,licence,label_kind,group,split"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """The index of four portraits with a bright person in the middle, and one empty room."""
    folder, photos = tmp_path, 4
    rng = np.random.default_rng(1)
    lines = [HEADER]
    for n in range(photos):
        pixels = rng.integers(0, 60, (64, 48, 3), dtype=np.uint8)
        mask = np.zeros((64, 48), np.uint8)
        mask[16:, 12:36] = 255
        pixels[mask > 0] += 190
        Image.fromarray(pixels).save(folder / f"{n}.png")
        Image.fromarray(mask).convert("1").save(folder / f"{n}_mask.png")
        split = "val" if n == photos - 1 else "train"
        lines.append(f"{n}.png,{n}_mask.png,portrait,made_up,CC0,hand,g{n},{split}")
    Image.fromarray(rng.integers(0, 60, (40, 50, 3), dtype=np.uint8)).save(folder / "room.png")
    lines.append("room.png,,empty,rooms,CC0,none,room,train")
    path = folder / "index.csv"
    path.write_text("\n".join(lines) + "\n")
    return path

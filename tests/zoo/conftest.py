"""A tiny made-up set of photos in the layout of ``index.csv``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEADER = "image,mask,domain,source,licence,label_kind,group,split"
APACHE, NC = "Apache-2.0 (repository)", "photo CC BY-NC 2.0 (Flickr); annotation CC BY 4.0 (COCO)"
MIXED_PX = 32


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


def _photo(folder: Path, name: str) -> None:
    """A grey photo whose left half is a bright person."""
    for part in ("images", "masks"):
        (folder / part).mkdir(exist_ok=True)
    pixels = np.full((MIXED_PX, MIXED_PX, 3), 40, np.uint8)
    pixels[:, : MIXED_PX // 2] = 220
    Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
    Image.fromarray((pixels[..., 0] > 100).astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """An index with photos of each kind of licence, and one with a mask of others."""
    rows = [
        ("a", "portrait", "eg1800", "none for photos (Flickr)", "hand", "train"),
        ("b", "portrait", "us_officials", "MIT (repository); official portraits", "teacher", "train"),
        ("c", "fullbody", "ccp_hand", APACHE, "hand", "train"),
        ("d", "fullbody", "ccp_hand", APACHE, "hand", "val"),
        ("e", "crowd", "coco_one_nc", NC, "hand", "train"),
        ("f", "crowd", "coco_one", "photo CC BY 2.0 (Flickr)", "hand", "train"),
        ("g", "crowd", "coco_many_nc", NC, "hand", "val"),
        ("h", "crowd", "coco_group_nc", NC, "teacher", "train"),
        ("i", "indoor", "nyu", "none stated", "hand", "train"),
        ("j", "empty", "houses", "none stated", "none", "train"),
        ("k", "empty", "nyu_hard", "none stated", "hand", "train"),
    ]
    lines = [HEADER]
    for name, domain, source, licence, kind, split in rows:
        _photo(tmp_path, name)
        mask = "" if domain == "empty" else f"masks/{name}.png"
        lines.append(f'images/{name}.png,{mask},{domain},{source},"{licence}",{kind},{name},{split}')
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "index.csv"

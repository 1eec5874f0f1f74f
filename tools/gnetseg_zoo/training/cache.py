"""Decoded, pre-shrunk photos in two memory-mapped files. Needs numpy and Pillow.

Decoding JPEGs would cost more than the convolutions of a small network, so it is done
once. All photos lie end to end in ``photos.bin``, all masks in ``masks.bin``; the page
cache shares them between processes.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from gnetseg_zoo.datasets.pictures import Pixels, open_pair
from gnetseg_zoo.datasets.samples import DataError, Sample
from gnetseg_zoo.training.teacher import Teacher


class PhotoCache:
    """The photos and masks of an index, in its order, as uint8 arrays."""

    def __init__(self, place: Path, channels: int) -> None:
        """Open the finished cache in the folder ``place``; see :func:`open_cache`."""
        self._place, self._channels = place, channels
        sizes = json.loads((place / "sizes.json").read_text())
        self._sizes = sizes
        self._starts = [0, *np.cumsum([h * w for h, w in sizes]).tolist()]
        self._photos = np.memmap(place / "photos.bin", np.uint8, "r")
        self._masks = np.memmap(place / "masks.bin", np.uint8, "r")

    def __reduce__(self) -> tuple[type[PhotoCache], tuple[Path, int]]:
        """Another process opens the same files; nothing is copied."""
        return PhotoCache, (self._place, self._channels)

    def __len__(self) -> int:
        return len(self._sizes)

    def photo(self, index: int) -> Pixels:
        """uint8 [height, width] for Y, else [height, width, 3]; read-only."""
        height, width = self._sizes[index]
        start, end = self._starts[index] * self._channels, self._starts[index + 1] * self._channels
        shape = (height, width) if self._channels == 1 else (height, width, self._channels)
        return np.asarray(self._photos[start:end]).reshape(shape)

    def mask(self, index: int) -> Pixels:
        """uint8 [height, width], 0..255; read-only."""
        start, end = self._starts[index], self._starts[index + 1]
        return np.asarray(self._masks[start:end]).reshape(self._sizes[index])


def open_cache(
    folder: Path,
    samples: Sequence[Sample],
    input_format: str,
    short_side: int,
    teacher: Teacher | None = None,
) -> PhotoCache:
    """The cache of ``samples`` under ``folder``, built first if it is not there.

    Photos are shrunk until their shorter side has at most ``short_side`` pixels. Masks are
    mixed with those of ``teacher``. Raises :class:`DataError` for a photo or mask that
    cannot be used, or a full disk.
    """
    what = [short_side, input_format, [_stamp(s, teacher) for s in samples], str(teacher)]
    place = folder / hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    if not place.is_dir():
        with filled(place) as beside:
            _fill(beside, samples, input_format, short_side, teacher)
    return PhotoCache(place, 1 if input_format == "Y" else 3)


@contextmanager
def filled(place: Path) -> Iterator[Path]:
    """A folder beside ``place`` to fill, which becomes ``place`` whole or not at all.

    Two runs may fill it at once: the first to end wins. Raises :class:`DataError` for a full disk.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=place.parent, ignore_cleanup_errors=True) as beside:
            inner = Path(beside) / "cache"
            inner.mkdir()
            yield inner
            with suppress(FileExistsError):
                inner.rename(place)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            return  # the other run was first
        raise DataError(f"{place}: the photo cache cannot be written ({error}); make room there") from error


def stamp(path: Path | None) -> list[object]:
    """What changes when the file at ``path`` does: its path, size and time of change."""
    if path is None or not path.is_file():
        return []
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def _stamp(sample: Sample, teacher: Teacher | None) -> list[object]:
    taught = teacher.path(sample) if teacher is not None else None
    return [stamp(sample.image), stamp(sample.mask), stamp(taught)]


def _fill(
    place: Path, samples: Sequence[Sample], input_format: str, short_side: int, teacher: Teacher | None
) -> None:
    sizes: list[tuple[int, int]] = []
    with (place / "photos.bin").open("wb") as photos, (place / "masks.bin").open("wb") as masks:
        for sample in samples:
            photo, mask = open_pair(sample, input_format)
            if teacher is not None:
                mask = teacher.target(sample, mask)
            photo, mask = (_shrunk(p, short_side) for p in (photo, mask))
            photos.write(photo.tobytes())
            masks.write(mask.tobytes())
            sizes.append((photo.height, photo.width))
    (place / "sizes.json").write_text(json.dumps(sizes))


def _shrunk(picture: Image.Image, short_side: int) -> Image.Image:
    scale = short_side / min(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)

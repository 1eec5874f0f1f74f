"""``gnetsegctl segment``: the masks of films and photos, every picture of them, without a daemon.

In the folder of the results ``segment.json`` says what was made of what; what is there is not made again.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np

from ..cameras import CaptureRequest
from ..cameras.clips import PICTURE_SUFFIXES
from ..cameras.video import VideoCamera, VideoOptions
from ..config import from_dict
from ..errors import ConfigError, EndOfVideo, GnetsegError, NotYet, PermanentError
from ..files import read_regular, write_whole
from ..frame import Frame, Mask
from ..message import unpack_mask
from ..process.parts import make_network, make_setup
from ..process.prove import prove
from ..text import clean
from .overlay import palette, resize_labels
from .png import encode_png

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

    from ..frame import Geometry, ModelInfo

RECORD = "segment.json"
_RECORD_MAX_BYTES = 64 << 20
#: A picture is searched for, and a mask waited for, no longer.
PICTURE_LIMIT_S = 60.0


class Wish(NamedTuple):
    """``form``: png or npz; ``full_size``: masks of the picture's size in place of the network's."""

    model: str
    form: str
    full_size: bool
    threads: int


class Segmenter:
    """One network on this machine's processor, one picture at a time."""

    def __init__(self, wish: Wish) -> None:
        tables = {
            "accelerator": {"driver": "standin", "standin": {"threads": wish.threads}},
            "model": {"bundle": wish.model},
        }
        setup = make_setup(from_dict(tables, "--model"), False)
        prove(setup.bundles.main, setup.config.accelerator, lambda: None)
        self._network = make_network(setup)
        self._accelerator = self._network.accelerator
        self.info: ModelInfo = self._accelerator.open()
        self._frame = Frame(self._network.input, self._network.mask_bytes, self._accelerator.room)

    def close(self) -> None:
        self._accelerator.close()

    def masks(self, path: Path, lost: dict[str, int], there: set[int]) -> Iterator[Made]:
        """Of each whole picture of a film, or of a photo, but for the numbers in ``there``.

        ``EndOfVideo`` with 65 where its end is damaged; ``lost`` is filled at the end.
        """
        if _is_missing(path):
            # The camera's own sentence names a key of the daemon's configuration.
            raise PermanentError(f"{clean(str(path))}: there is no such file; name another", os.EX_NOINPUT)
        camera = VideoCamera(VideoOptions(path=str(path), rate="max", loop=False))
        try:
            camera.open(CaptureRequest(self._network.input, 0.0, "letterbox", PICTURE_LIMIT_S))
            while True:
                try:
                    camera.capture(self._frame)
                except NotYet:
                    continue
                assert camera.info is not None
                geometry = camera.info.geometry
                is_new = self._frame.sequence not in there
                labels = _without_padding(self._infer(), geometry) if is_new else None
                yield Made(self._frame.sequence, labels, geometry)
        except EndOfVideo as end:
            if end.exit_code:
                raise
        finally:
            lost.update(camera.lost)
            camera.close()

    def _infer(self) -> NDArray[np.uint8]:
        accelerator = self._accelerator
        if not accelerator.wait_for_credit(PICTURE_LIMIT_S):
            raise PermanentError("the network takes no more pictures; report this")
        accelerator.submit(self._frame)
        answer = accelerator.collect(PICTURE_LIMIT_S)
        if not isinstance(answer, Mask):
            raise PermanentError(f"the network gave no mask: {clean(getattr(answer, 'reason', 'none came'))}")
        return unpack_mask(answer.payload, answer.info.mask).copy()


class Made(NamedTuple):
    """``labels`` is None where it was there already."""

    sequence: int
    labels: NDArray[np.uint8] | None
    geometry: Geometry


class Result(NamedTuple):
    """Of one file: its exit code (sysexits.h), its pictures that were whole, those lost, what was wrong."""

    file: str
    exit: int
    pictures: int
    lost: int
    words: str
    was_there: bool = False


def segment(files: list[Path], out: Path, wish: Wish) -> list[Result]:
    """All of ``files`` (folders stand for their pictures) into ``out``.

    One that cannot be read ends nothing: its result says why. ``ConfigError`` before anything is done, for
    names that would collide and for a folder with another network's masks.
    """
    sources = _sources(files)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(out, error) from None
    segmenter = Segmenter(wish)
    try:
        record = _Record(out, wish, segmenter.info)
        with click.progressbar(list(sources), file=sys.stderr, item_show_func=_named) as bar:
            return [_one(path, out, wish, segmenter, record) for path in bar]
    finally:
        segmenter.close()


def _not_written(out: Path, error: OSError) -> PermanentError:
    return PermanentError(
        f"{clean(str(out))}: cannot be written: {error.strerror}; name another folder with --out",
        os.EX_CANTCREAT,
    )


def _named(path: Path | None) -> str:
    return "" if path is None else clean(path.name, 40)


def _sources(files: list[Path]) -> list[Path]:
    found: list[Path] = []
    for file in files:
        if file.is_dir():
            found += sorted(each for each in file.iterdir() if each.suffix.lower() in PICTURE_SUFFIXES)
        else:
            found.append(file)
    names: dict[str, Path] = {}
    for path in found:
        other = names.setdefault(path.name, path)
        if other != path:
            raise ConfigError(
                f"{clean(str(other))} and {clean(str(path))} have the same name; give each a folder of its "
                "own with --out",
                os.EX_USAGE,
            )
    if not found:
        raise ConfigError("there are no pictures in what was named", os.EX_NOINPUT)
    return list(dict.fromkeys(found))


class _Record:
    """``segment.json``: by file its size and time, and what came of it (null while it is made)."""

    def __init__(self, out: Path, wish: Wish, info: ModelInfo) -> None:
        self._path = out / RECORD
        self._made = {
            "model": info.model_id,
            "sha256": info.model_hash.hex(),
            "labels": list(info.labels),
            "format": wish.form,
            "full_size": wish.full_size,
        }
        self._files: dict[str, Any] = {}
        try:
            before = json.loads(read_regular(self._path, _RECORD_MAX_BYTES))
            self._files = dict(before.pop("files"))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{clean(str(self._path))} cannot be read ({clean(str(error))}); remove it"
            ) from None
        if before != self._made:
            raise ConfigError(
                f"{clean(str(out))} holds masks of another network or form; name another folder with --out",
                os.EX_USAGE,
            )

    def of(self, path: Path) -> tuple[bool, dict[str, Any] | None]:
        """Whether this very file was begun before, and what came of it, if it was done."""
        entry = self._files.get(path.name)
        if not isinstance(entry, dict) or entry.get("source") != _stamp(path):
            return False, None
        result = entry.get("result")
        return True, result if isinstance(result, dict) else None

    def write(self, path: Path, result: dict[str, Any] | None) -> None:
        self._files[path.name] = {"source": _stamp(path), "result": result}
        data = json.dumps(self._made | {"files": self._files}, indent=1)
        write_whole(self._path, data.encode())


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass  # it is there, and the camera says what is the matter with it
    return False


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _one(path: Path, out: Path, wish: Wish, segmenter: Segmenter, record: _Record) -> Result:
    name = clean(str(path))
    begun, done = record.of(path)
    if done is not None:
        return Result(name, int(done["exit"]), int(done["pictures"]), int(done["lost"]), done["words"], True)
    lost: dict[str, int] = {}
    pictures, code, words = 0, int(os.EX_OK), ""
    target: _Pngs | _Npz = _Pngs(path, out, begun, wish) if wish.form == "png" else _Npz(path, out, wish)
    try:
        record.write(path, None)
        for made in segmenter.masks(path, lost, target.there):
            pictures += 1
            if made.labels is not None:
                target.add(made)
    except EndOfVideo as end:
        code, words = end.exit_code, str(end)
    except OSError as error:
        raise _not_written(out, error) from None
    except GnetsegError as error:
        code, words = error.exit_code, str(error)
    target.finish()
    all_lost = sum(lost.values())
    result = {"exit": code, "pictures": pictures, "lost": all_lost, "words": words}
    # What is missing, or may not be read today, may be there tomorrow.
    if pictures or code == os.EX_DATAERR:
        record.write(path, result)
    return Result(name, code, pictures, all_lost, words)


class _Pngs:
    """A photo's mask is ``NAME.png``, those of a film ``NAME/000000.png`` and so on; pixels are labels."""

    def __init__(self, path: Path, out: Path, begun: bool, wish: Wish) -> None:
        self._wish = wish
        self._is_photo = path.suffix.lower() in PICTURE_SUFFIXES
        self._place = out / (f"{path.name}.png" if self._is_photo else path.name)
        self.there: set[int] = set()
        if not self._is_photo and begun:
            self.there = {int(each.stem) for each in self._place.glob("*.png") if each.stem.isdecimal()}

    def add(self, made: Made) -> None:
        labels = _sized(made, self._wish)
        place = self._place
        if not self._is_photo:
            place.mkdir(exist_ok=True)
            place /= f"{made.sequence:06}.png"
        write_whole(place, encode_png(labels, palette(max(2, int(labels.max()) + 1))))

    def finish(self) -> None: ...


class _Npz:
    """``NAME.npz`` with ``masks`` (pictures, height, width) and ``sequence``, both uint8 and int64."""

    there: set[int] = set()  # noqa: RUF012 - never written to

    def __init__(self, path: Path, out: Path, wish: Wish) -> None:
        self._wish = wish
        self._place = out / f"{path.name}.npz"
        # A film's masks may be larger than the memory.
        self._masks: BinaryIO = tempfile.TemporaryFile(dir=out)  # noqa: SIM115 - closed by finish
        self._shape: tuple[int, ...] = ()
        self._sequences: list[int] = []

    def add(self, made: Made) -> None:
        labels = _sized(made, self._wish)
        self._shape = self._shape or labels.shape
        if labels.shape != self._shape:
            raise PermanentError(
                "its pictures change their size, which one NPZ cannot hold; use --format png", os.EX_DATAERR
            )
        self._masks.write(labels.tobytes())
        self._sequences.append(made.sequence)

    def finish(self) -> None:
        with self._masks:
            if self._sequences:
                self._write()

    def _write(self) -> None:
        shape = (len(self._sequences), *self._shape)
        self._masks.seek(0)
        temporary = self._place.with_name(f".{self._place.name}.part")
        try:
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as made:
                with made.open("masks.npy", "w", force_zip64=True) as file:
                    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
                    while piece := self._masks.read(1 << 20):
                        file.write(piece)
                numbers = io.BytesIO()
                np.save(numbers, np.array(self._sequences, np.int64))
                made.writestr("sequence.npy", numbers.getvalue())
            temporary.replace(self._place)
        finally:
            temporary.unlink(missing_ok=True)


def _sized(made: Made, wish: Wish) -> NDArray[np.uint8]:
    assert made.labels is not None
    if not wish.full_size:
        return made.labels
    return resize_labels(made.labels, made.geometry.sensor_height, made.geometry.sensor_width)


def _without_padding(labels: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    """The part of a letterboxed mask that shows the picture."""
    height, width = labels.shape
    left, top = -geometry.x / geometry.width * width, -geometry.y / geometry.height * height
    right, bottom = left + width / geometry.width, top + height / geometry.height
    return labels[max(0, round(top)) : round(bottom), max(0, round(left)) : round(right)]


def told(result: Result) -> str:
    """One line about a file."""
    if result.exit and not result.pictures:
        return result.words
    words = f"{result.file}: {result.pictures} masks"
    if result.lost:
        words += f", {result.lost} pictures lost"
    if result.was_there:
        words += " (were there)"
    return f"{words}; {result.words}" if result.words else words

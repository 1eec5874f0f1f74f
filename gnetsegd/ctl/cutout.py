"""``gnetsegctl cutout``: the persons of one photo, cut out once. Needs no daemon."""

from __future__ import annotations

import io
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PermanentError
from ..files import check_replaceable, write_whole
from ..model import load_bundle
from ..text import clean
from . import stdout
from .segment import Segmenter, Wish

#: A photo of more pixels is refused.
MAX_PIXELS = 200 << 20


def cut_out(source: Path, target: Path, bundle: str, threads: int) -> float:
    """Write ``target``, a PNG with alpha, or to stdout for ``-``, and return the share of person, 0 to 1.

    ``PermanentError`` for a photo or a file that cannot be, or a network that knows no persons.
    """
    image_module, ops = _pillow()
    shown = clean(str(target))
    _check(target, shown)
    if source.is_dir():
        raise PermanentError(f"{clean(str(source))}: is a folder; name one photo", os.EX_DATAERR)
    persons = load_bundle(bundle).persons
    if not persons:
        raise PermanentError(f"the network {bundle} knows no persons; name another with --model")
    segmenter = Segmenter(Wish(bundle, "png", False, threads))
    try:
        made = next(segmenter.masks(source, {}, set()), None)
        labels = segmenter.info.labels
    finally:
        segmenter.close()
    if made is None or made.labels is None:
        raise PermanentError(f"{clean(str(source))}: no picture is in it; name a photo", os.EX_DATAERR)
    person = np.isin(made.labels, [number for number, label in enumerate(labels) if label in persons])
    try:
        with image_module.open(source) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise PermanentError(f"{clean(str(source))}: it is too large; shrink it", os.EX_DATAERR)
            photo = ops.exif_transpose(opened).convert("RGBA")
    except PermanentError:
        raise
    except image_module.UnidentifiedImageError:
        raise PermanentError(
            f"{clean(str(source))}: is no photo; name one (gnetsegctl segment takes films)",
            os.EX_DATAERR,
        ) from None
    except Exception as error:  # Pillow raises whatever a damaged file leads to
        raise PermanentError(f"{clean(str(source))}: {clean(str(error))}", os.EX_DATAERR) from None
    alpha = image_module.fromarray(person.astype(np.uint8) * 255).resize(photo.size, image_module.BILINEAR)
    photo.putalpha(alpha)
    file = io.BytesIO()
    photo.save(file, "PNG")
    if target == stdout.STDOUT:
        stdout.write(file.getvalue())
        return float(person.mean())
    try:
        write_whole(target, file.getvalue())
    except (OSError, ValueError) as error:
        words = clean(str(getattr(error, "strerror", None) or error))
        raise PermanentError(
            f"{shown}: cannot be written: {words}; name a file in a folder that you may write to",
            os.EX_CANTCREAT,
        ) from None
    return float(person.mean())


def _check(target: Path, shown: str) -> None:
    """``PermanentError`` for a target that will not be written to, before anything is computed."""
    if target == stdout.STDOUT:
        stdout.refuse_terminal()
        return
    if target.suffix.lower() in (".jpg", ".jpeg"):
        raise PermanentError(f"{shown}: a JPEG knows no alpha; name a .png", os.EX_USAGE)
    try:
        check_replaceable(target)
    except ValueError as error:
        raise PermanentError(f"{shown}: {error}; name another file", os.EX_CANTCREAT) from None


def _pillow() -> tuple[Any, Any]:
    try:
        return import_module("PIL.Image"), import_module("PIL.ImageOps")
    except ImportError:
        raise PermanentError("this needs Pillow: apt install python3-pil, or pip install pillow") from None

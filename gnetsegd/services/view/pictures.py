"""Pictures made here, for programs that take no more: overlay, mask, and words in place of one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from ...text import clean
from ..painting import painted

if TYPE_CHECKING:
    from .feed import Shown

QUALITY = 80
#: A picture of words.
WORDS_SIZE = (640, 360)
_LINE_CHARACTERS = 60


def overlay(shown: Shown) -> bytes:
    """JPEG of the picture with the person tinted and outlined; without a picture, of the mask alone."""
    mask, person = shown.mask, shown.person
    assert mask is not None
    assert person is not None
    if mask.picture is None:
        grey = np.where(person, 230, 40).astype(np.uint8)
        return _jpeg(Image.fromarray(grey))
    inside = mask.on_picture(person)
    return _jpeg(Image.fromarray(painted(mask.picture, inside)))


def mask_png(shown: Shown) -> bytes:
    """PNG of one bit a pixel: white where a person is."""
    assert shown.person is not None
    file = io.BytesIO()
    Image.fromarray(shown.person.astype(np.uint8) * 255).convert("1").save(file, "PNG")
    return file.getvalue()


def words(sentence: str) -> bytes:
    """JPEG that says why there is no picture: a picture that stands still would say that all is well."""
    image = Image.new("RGB", WORDS_SIZE, (34, 34, 34))
    text, lines = clean(sentence, 400), []
    while text:
        cut = text.rfind(" ", 0, _LINE_CHARACTERS) if len(text) > _LINE_CHARACTERS else len(text)
        cut = cut if cut > 0 else _LINE_CHARACTERS
        lines.append(text[:cut])
        text = text[cut:].strip()
    # The font that Pillow has built in knows Latin letters only.
    shown = "\n".join(lines).encode("latin-1", "replace").decode("latin-1")
    ImageDraw.Draw(image).multiline_text((20, 20), shown, fill=(240, 200, 120), spacing=8)
    return _jpeg(image)


def _jpeg(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()

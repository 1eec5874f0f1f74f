# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Random training pictures from cached photos. Needs numpy and OpenCV.

Everything works on uint8 and costs about a millisecond a picture, so that the
processor's time goes to the convolutions. ``rng`` decides everything: the same seed
gives the same picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from gnetseg_zoo.datasets.pictures import PERSON_FROM, Pixels
from gnetseg_zoo.training.rates import Rates


@dataclass(frozen=True)
class Frame:
    """A square of a photo: centre and side in pixels, turn in degrees, mirrored or not."""

    x: float
    y: float
    side: float
    turn: float
    mirror: bool


def pick_frame(
    rng: np.random.Generator, mask: Pixels, rates: Rates, *, full_body: bool, whole: bool
) -> Frame:
    """A random square of a photo with this mask (uint8 [h, w]).

    ``full_body``: the photo shows a standing person, half-length crops make sense.
    ``whole``: the person will be cut out, so it may as well be small.
    """
    height, width = mask.shape
    short = min(height, width)
    turn = float(rng.normal(0, 8)) if rng.random() < rates.rotate else 0.0
    mirror = bool(rng.random() < rates.flip)
    if full_body and rng.random() < rates.half_length:
        box = _box(mask)
        if box is not None:
            left, top, right, bottom = box
            side = min((bottom - top) * rng.uniform(0.28, 0.7), short * 1.1)
            x = (left + right) / 2 + rng.normal(0, 0.12) * side
            y = top + side * rng.uniform(0.28, 0.5)
            return Frame(x, y, side, turn, mirror)
    if full_body and whole:
        side = short * math.exp(rng.uniform(math.log(0.7), math.log(1.6)))
    else:
        side = short * math.exp(rng.uniform(math.log(0.68), math.log(1.12)))
    # Centred on the photo's centre square, free to slide as far as there is picture.
    slack_x, slack_y = abs(width - side) / 2, abs(height - side) / 2
    x = width / 2 + float(rng.uniform(-1, 1)) * slack_x
    y = height / 2 + float(rng.uniform(-1, 1)) * slack_y
    return Frame(x, y, side, turn, mirror)


def pick_far_frame(rng: np.random.Generator, mask: Pixels, height: float) -> Frame:
    """A square in which the person of ``mask`` (uint8 [h, w]) is ``height`` times the square high.

    It stands somewhere on the lower part, the higher the farther, as on a floor seen from
    eye level; who is near is cut off below.
    """
    left, top, right, bottom = _box(mask) or (0, 0, mask.shape[1], mask.shape[0])
    side = (bottom - top) / height
    across = rng.uniform(0.05, 0.95)
    feet = 0.5 + height * rng.uniform(0.4, 0.8)
    x = (left + right) / 2 + (0.5 - across) * side
    y = bottom + (0.5 - feet) * side
    return Frame(x, y, side, float(rng.normal(0, 3)), bool(rng.random() < 0.5))


def warp(
    picture: Pixels,
    frame: Frame,
    size: int,
    border: int = cv2.BORDER_REFLECT_101,
    how: int = cv2.INTER_LINEAR,
    beyond: int = 0,
) -> Pixels:
    """``frame`` of ``picture`` (uint8 [h, w] or [h, w, 3]) as a square of ``size`` pixels.

    ``border`` and ``how`` are OpenCV's names; ``beyond`` is what BORDER_CONSTANT puts outside.
    """
    scale = size / frame.side
    if scale < 0.6 and how == cv2.INTER_LINEAR:
        # Or what is finer than the new pixels would come out as a pattern.
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.4 / scale), dtype=np.uint8)
    matrix = cv2.getRotationMatrix2D((frame.x, frame.y), frame.turn, scale)
    matrix[0, 2] += size / 2 - frame.x
    matrix[1, 2] += size / 2 - frame.y
    if frame.mirror:
        matrix[0] = -matrix[0]
        matrix[0, 2] += size - 1
    out = cv2.warpAffine(picture, matrix, (size, size), flags=how, borderMode=border, borderValue=beyond)
    return np.asarray(out, dtype=np.uint8)


def composite(
    rng: np.random.Generator, person: Pixels, mask: Pixels, background: Pixels, *, yuv: bool = False
) -> Pixels:
    """``person`` where ``mask`` (uint8 [s, s]) says so, else ``background``; same sizes, uint8."""
    alpha = cv2.GaussianBlur(mask, (3, 3), 0).astype(np.float32) / 255
    if person.ndim == 3:
        alpha = alpha[..., None]
    front = person.astype(np.float32)
    if rng.random() < 0.6:
        # Another scene has other light: move the person's mean a part of the way.
        inside = mask >= PERSON_FROM
        if inside.any():
            light = (slice(None), slice(None), 0) if yuv else ()  # of YUV444 the Y alone
            shift = float(background[light].mean()) - float(person[light][inside].mean())
            front[light] += np.float32(shift * rng.uniform(0, 0.6))
    mixed = background + alpha * (front - background)
    out: Pixels = np.clip(mixed, 0, 255).astype(np.uint8)
    return out


def shape_light(rng: np.random.Generator, picture: Pixels, rates: Rates, *, yuv: bool = False) -> Pixels:
    """Tone, shade, low light, blur, noise and compression as cameras make them; uint8 to uint8.

    ``yuv``: ``picture`` is YUV444: light is changed as RGB, where it means the same to each channel.
    """
    if yuv:
        rgb = np.asarray(Image.fromarray(picture, "YCbCr").convert("RGB"))
        shaped = Image.fromarray(shape_light(rng, rgb, rates))
        return np.asarray(shaped.convert("YCbCr"), dtype=np.uint8)
    size = picture.shape[0]
    dark = rng.random() < rates.low_light
    if dark or rng.random() < rates.tone:
        picture = cv2.LUT(picture, _tone_curve(rng, dark))
    if rng.random() < rates.shade:
        picture = _shade(rng, picture)
    if rng.random() < rates.blur:
        picture = _blur(rng, picture, size)
    if dark or rng.random() < rates.noise:
        grain = rng.standard_normal((size, size), dtype=np.float32) * np.float32(rng.uniform(2, 14))
        if rng.random() < 0.4:
            grain = cv2.blur(grain, (2, 2))
        if picture.ndim == 3:
            grain = grain[..., None]
        picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
    if rng.random() < rates.jpeg:
        quality = int(rng.integers(20, 70))
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        how = cv2.IMREAD_GRAYSCALE if picture.ndim == 2 else cv2.IMREAD_COLOR
        picture = np.asarray(cv2.imdecode(data, how), dtype=np.uint8)
    return picture


def _tone_curve(rng: np.random.Generator, dark: bool) -> Pixels:
    x = np.arange(256, dtype=np.float32) / 255
    x = x ** math.exp(rng.uniform(-0.6, 0.6))
    x = (x - 0.5) * rng.uniform(0.6, 1.35) + 0.5 + rng.uniform(-0.15, 0.15)
    if dark:
        x = x * rng.uniform(0.15, 0.5)
    curve: Pixels = np.clip(x * 255, 0, 255).astype(np.uint8)
    return curve


def _shade(rng: np.random.Generator, picture: Pixels) -> Pixels:
    """Light that falls off from one side to the other."""
    size = picture.shape[0]
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.7)
    ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    field = 1 + strength * (math.cos(angle) * ramp[None, :] + math.sin(angle) * ramp[:, None])
    if picture.ndim == 3:
        field = field[..., None]
    out: Pixels = np.clip(picture * field.astype(np.float32), 0, 255).astype(np.uint8)
    return out


def _blur(rng: np.random.Generator, picture: Pixels, size: int) -> Pixels:
    if rng.random() < 0.5:
        sigma = float(rng.uniform(0.5, 1.8)) * size / 224
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.uint8)
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    ends = rng.integers(0, length, 2)
    cv2.line(kernel, (0, int(ends[0])), (length - 1, int(ends[1])), 1.0)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), dtype=np.uint8)


def _box(mask: Pixels) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom) of the person in pixels, None if there is none."""
    rows = np.flatnonzero((mask >= PERSON_FROM).any(axis=1))
    columns = np.flatnonzero((mask >= PERSON_FROM).any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

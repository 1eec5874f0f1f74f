"""Films and pictures as people have them, made from one clip: turned, stretched, damaged, joined.

Each maker writes into a folder and returns the path that a camera is given. Pictures are RGB arrays.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gnetsegd.cameras.turn import Turn, inverse

Picture = NDArray[np.uint8]

CLIP = Path(__file__).parents[1] / "demo" / "clip.mp4"
#: So many of the clip's pictures, which are all different, at half its size.
COUNT, SIZE = 21, (320, 240)
FPS = 10
#: Distance of key frames.
GROUP = 7


def pictures() -> list[Picture]:
    """What every source shows: 21 pictures of 320x240."""
    with av.open(str(CLIP)) as container:
        decoded = [image.to_image().resize(SIZE) for image in islice(container.decode(video=0), COUNT)]
    return [np.asarray(image) for image in decoded]


def turned(turn: Turn, picture: Picture) -> Picture:
    """The picture, mirrored left to right if so, then turned clockwise."""
    return np.ascontiguousarray(
        np.rot90(picture[:, ::-1] if turn.mirrored else picture, -turn.rotation // 90)
    )


def lying(turn: Turn, picture: Picture) -> Picture:
    """The picture as it must be stored so that ``turn`` makes it upright."""
    return turned(inverse(turn), picture)


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def film(
    path: Path,
    shown: Sequence[Picture],
    codec: str = "libx264",
    *,
    form: str | None = None,
    aspect: Fraction | None = None,
    times: Sequence[int] | None = None,
    fps: int = FPS,
    pix_fmt: str = "yuv420p",
    b_frames: int = 2,
    mux: dict[str, str] | None = None,
) -> Path:
    """Encode; ``times`` are in frames."""
    lossy = {
        "libx264": {"crf": "10", "g": str(GROUP), "bf": str(b_frames), "threads": "1", "sc_threshold": "0"},
        "libx265": {"x265-params": f"crf=10:keyint={GROUP}:min-keyint={GROUP}:log-level=none:pools=1"},
        "mpeg4": {"qscale": "2", "g": str(GROUP), "bf": str(b_frames)},
        "mpeg2video": {"qscale": "2", "g": str(GROUP), "bf": str(b_frames)},
        "libvpx": {"crf": "5", "b": "4M", "g": str(GROUP), "cpu-used": "8"},
        "libvpx-vp9": {"crf": "10", "b": "0", "g": str(GROUP), "cpu-used": "8"},
    }
    with av.open(str(path), "w", format=form, options=mux or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = shown[0].shape[1], shown[0].shape[0], pix_fmt
        stream.codec_context.time_base = Fraction(1, fps)
        stream.codec_context.options = lossy.get(codec, {})
        if codec in ("mpeg4", "mpeg2video", "mjpeg"):
            stream.bit_rate = 8_000_000
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for index, picture in enumerate(shown):
            image = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
            image.pts = index if times is None else times[index]
            image.time_base = Fraction(1, fps)
            for packet in stream.encode(image):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def matrix(turn: Turn) -> bytes:
    """The matrix of an MP4's track (big endian, 16.16)."""
    x, y = ((-1, 0) if turn.mirrored else (1, 0)), (0, 1)
    for _ in range(turn.rotation // 90):
        x, y = (-x[1], x[0]), (-y[1], y[0])
    values = [x[0] << 16, x[1] << 16, 0, y[0] << 16, y[1] << 16, 0, 0, 0, 1 << 30]
    return struct.pack(">9i", *values)


def phone_film(path: Path, shown: Sequence[Picture], turn: Turn, **options: Any) -> Path:
    """An MP4 that lies, with a track header that says how to turn it."""
    film(path, [lying(turn, picture) for picture in shown], **options)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = matrix(turn)
    path.write_bytes(data)
    return path


def packets(path: Path) -> list[tuple[int, int]]:
    """Where each picture of an MP4 lies: (start, bytes)."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def keys(path: Path) -> list[int]:
    """The numbers of the packets that are key frames."""
    with av.open(str(path)) as container:
        found = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    return [number for number, is_key in enumerate(found) if is_key]


def overwrite(path: Path, start: int, size: int) -> None:
    data = bytearray(path.read_bytes())
    data[start : start + size] = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    path.write_bytes(data)


def exif(orientation: int, order: str = "<") -> bytes:
    """EXIF with nothing but an orientation."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + head + struct.pack(f"{order}H", 1) + entry + bytes(4)


def photo(picture: Picture, kind: str, orientation: int = 1, order: str = "<", mode: str = "RGB") -> bytes:
    """A picture file as a phone or a camera writes it (``picture`` as it is to be stored)."""
    data, image = BytesIO(), Image.fromarray(picture).convert(mode)
    if kind == "TIFF":
        image.save(data, kind, tiffinfo={0x0112: orientation})
    elif kind == "JPEG":
        image.save(data, kind, quality=95, exif=exif(orientation, order))
    elif kind == "WEBP":
        image.save(data, kind, lossless=True, exif=exif(orientation, order))
    elif kind == "PNG" and orientation != 1:
        image.save(data, kind, exif=exif(orientation, order))
    else:
        image.save(data, kind)
    return data.getvalue()


def song(path: Path, cover: bytes) -> Path:
    """FLAC with a cover picture."""
    plain = BytesIO()
    with av.open(plain, "w", format="flac") as container:
        sound = container.add_stream("flac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8192), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        for packet in [*sound.encode(silence), *sound.encode(None)]:
            container.mux(packet)
    block = struct.pack(">II", 3, 10) + b"image/jpeg" + struct.pack(">5I", 0, *SIZE, 24, 0)
    block += struct.pack(">I", len(cover)) + cover
    data, head = plain.getvalue(), 4 + 4 + 34
    path.write_bytes(
        data[:4] + bytes([data[4] & 0x7F]) + data[5:head] + struct.pack(">I", 6 << 24 | len(block)) + block
        + data[head:]
    )  # fmt: skip
    return path


def huge_png(side: int) -> bytes:
    """The head of a PNG of ``side`` x ``side`` pixels, and nothing of them."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")

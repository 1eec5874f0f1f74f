"""Which of a webcam's modes to take, and how its pixels lie in memory."""

from __future__ import annotations

import errno
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from . import v4l2_ioctl as v4l2

if TYPE_CHECKING:
    from ..frame import FrameSpec


class Layout(NamedTuple):
    """An uncompressed pixel format.

    ``av_name`` is FFmpeg's name, None where it has none; ``planes`` are, in FFmpeg's order, (number
    of the plane in memory, its width and height over those of the picture, bytes of one sample);
    ``luma`` is (offset of the first luminance byte, distance of two), None for RGB.
    """

    av_name: str
    planes: tuple[tuple[int, int, int, int], ...]
    luma: tuple[int, int] | None


_PLANAR_420 = ((0, 1, 1, 1), (1, 2, 2, 1), (2, 2, 2, 1))
_SWAPPED_420 = ((0, 1, 1, 1), (2, 2, 2, 1), (1, 2, 2, 1))
_SEMI_420 = ((0, 1, 1, 1), (1, 2, 2, 2))
_SEMI_422 = ((0, 1, 1, 1), (1, 2, 1, 2))
_PLANAR_422 = ((0, 1, 1, 1), (1, 2, 1, 1), (2, 2, 1, 1))

#: In the order in which they are preferred: least work first.
LAYOUTS = {
    "GREY": Layout("gray", ((0, 1, 1, 1),), (0, 1)),
    "NV12": Layout("nv12", _SEMI_420, (0, 1)),
    "YU12": Layout("yuv420p", _PLANAR_420, (0, 1)),
    "NV21": Layout("nv21", _SEMI_420, (0, 1)),
    "YV12": Layout("yuv420p", _SWAPPED_420, (0, 1)),
    "NV16": Layout("nv16", _SEMI_422, (0, 1)),
    "422P": Layout("yuv422p", _PLANAR_422, (0, 1)),
    "Y16 ": Layout("gray16le", ((0, 1, 1, 2),), (1, 2)),
    "YUYV": Layout("yuyv422", ((0, 1, 1, 2),), (0, 2)),
    "UYVY": Layout("uyvy422", ((0, 1, 1, 2),), (1, 2)),
    "YVYU": Layout("yvyu422", ((0, 1, 1, 2),), (0, 2)),
    "RGB3": Layout("rgb24", ((0, 1, 1, 3),), None),
    "BGR3": Layout("bgr24", ((0, 1, 1, 3),), None),
    "XR24": Layout("bgr0", ((0, 1, 1, 4),), None),
    "BGR4": Layout("bgr0", ((0, 1, 1, 4),), None),
}
#: Those that hold nothing but luminance.
GREYS = ("GREY", "Y16 ")

#: Taken only when there is nothing else that fits. Of JPEG each picture stands for itself; most of H.264 are
#: made from others.
COMPRESSED = ("MJPG", "JPEG", "H264")

#: A driver's list is read up to here; none is as long, but one that is broken may never end.
ENTRIES_MAX = 256
#: As many modes are looked at; a webcam has some dozens.
MODES_MAX = 1024


class Mode(NamedTuple):
    """What a device offers; ``fps`` is the fastest rate, infinite where it does not say."""

    pixel_format: str
    width: int
    height: int
    fps: float


class PlaneInMemory(NamedTuple):
    """Where a plane lies in a driver's buffer, in bytes."""

    offset: int
    stride: int
    width_bytes: int
    height: int


def planes_in_memory(layout: Layout, width: int, height: int, stride: int) -> list[PlaneInMemory]:
    """The planes of a buffer in FFmpeg's order, when rows of the first take ``stride`` bytes."""
    found: dict[int, PlaneInMemory] = {}
    offset = 0
    for number, over_x, over_y, sample_bytes in sorted(layout.planes):
        # V4L2: a chroma plane's rows are as much shorter as they have fewer bytes.
        rows, row_bytes = height // over_y, stride * sample_bytes // over_x
        if len(layout.planes) == 1:
            row_bytes = stride
        found[number] = PlaneInMemory(offset, row_bytes, width // over_x * sample_bytes, rows)
        offset += row_bytes * rows
    return [found[number] for number, *_ in layout.planes]


def is_fast_enough(fps: float, wanted: float) -> bool:
    return fps >= wanted * 0.99  # 29.97 will do for 30


def choose(modes: list[Mode], spec: FrameSpec, fps: float, size: tuple[int, int] = (0, 0)) -> Mode | None:
    """The mode with the least work that covers the frame and is fast enough, or comes nearest to it; of
    those with this ``size`` (width, height) where there are any.
    """
    order = [*LAYOUTS, *COMPRESSED]
    modes = [mode for mode in modes if (mode.width, mode.height) == size] or modes

    def cost(mode: Mode) -> tuple[Any, ...]:
        covers = mode.width >= spec.width and mode.height >= spec.height
        fast = is_fast_enough(mode.fps, fps)
        colourless = mode.pixel_format in GREYS and spec.pixel_format != "Y"
        area = mode.width * mode.height
        return (
            not covers,
            not fast,
            0.0 if fast else -mode.fps,
            colourless,
            mode.pixel_format in COMPRESSED,
            area if covers else -area,
            order.index(mode.pixel_format),
        )

    return min((mode for mode in modes if mode.pixel_format in order), key=cost, default=None)


def modes_of(device: v4l2.Device, width: int, height: int) -> list[Mode]:
    """Every mode of the device; of sizes in steps the one that is nearest to ``width`` x ``height``."""
    modes: list[Mode] = []
    for pixel_format in _enumerate(device, v4l2.ENUM_FMT, v4l2.FmtDesc(type=v4l2.BUF_TYPE_VIDEO_CAPTURE)):
        number = pixel_format.pixelformat
        for size in _sizes(device, number, width, height):
            if len(modes) == MODES_MAX:
                return modes
            modes.append(Mode(v4l2.fourcc_name(number), *size, _fastest(device, number, *size)))
    return modes


def _enumerate(device: v4l2.Device, request: int, entry: Any) -> Any:
    """Fill ``entry`` with each of a list that ends with an error; it is the same object each time."""
    for index in range(ENTRIES_MAX):
        entry.index = index
        try:
            device.ioctl(request, entry)
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise  # unplugged: the list has no end of its own
            return
        yield entry


def _sizes(device: v4l2.Device, number: int, width: int, height: int) -> list[tuple[int, int]]:
    sizes = []
    for entry in _enumerate(device, v4l2.ENUM_FRAMESIZES, v4l2.FrmSizeEnum(pixel_format=number)):
        if entry.type == v4l2.FRMSIZE_DISCRETE:
            sizes.append((entry.size[0], entry.size[1]))
        else:
            return [(_stepped(width, *entry.size[:3]), _stepped(height, *entry.size[3:]))]
    return sizes or [(width, height)]


def _stepped(wanted: int, least: int, most: int, step: int) -> int:
    steps = math.ceil((wanted - least) / max(1, step))
    return max(least, min(most, least + steps * max(1, step)))


def _fastest(device: v4l2.Device, number: int, width: int, height: int) -> float:
    entries = v4l2.FrmIvalEnum(pixel_format=number, width=width, height=height)
    fastest = 0.0
    for entry in _enumerate(device, v4l2.ENUM_FRAMEINTERVALS, entries):
        shortest = entry.interval[0]  # also of a range: its minimum comes first
        if shortest.numerator:
            fastest = max(fastest, shortest.denominator / shortest.numerator)
        if entry.type != v4l2.FRMIVAL_DISCRETE:
            break
    return fastest or math.inf


def range_of(pix: v4l2.PixFormat) -> str:
    """full or limited, by the rules of V4L2 for what the driver leaves open."""
    if pix.quantization == v4l2.QUANTIZATION_DEFAULT:
        return "full" if pix.colorspace == v4l2.COLORSPACE_JPEG else "limited"
    return "full" if pix.quantization == v4l2.QUANTIZATION_FULL_RANGE else "limited"


def matrix_of(pix: v4l2.PixFormat) -> str:
    """bt601, bt709 or bt2020, by the rules of V4L2 for what the driver leaves open."""
    encoding = pix.ycbcr_enc
    if encoding == v4l2.YCBCR_ENC_DEFAULT:
        if pix.colorspace in (v4l2.COLORSPACE_REC709, v4l2.COLORSPACE_DCI_P3):
            return "bt709"
        return "bt2020" if pix.colorspace == v4l2.COLORSPACE_BT2020 else "bt601"
    if encoding in (v4l2.YCBCR_ENC_709, v4l2.YCBCR_ENC_XV709):
        return "bt709"
    return "bt2020" if encoding == v4l2.YCBCR_ENC_BT2020 else "bt601"

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

#: In the order in which they are preferred: least work first.
LAYOUTS = {
    "GREY": Layout("gray", ((0, 1, 1, 1),), (0, 1)),
    "NV12": Layout("nv12", _SEMI_420, (0, 1)),
    "YU12": Layout("yuv420p", _PLANAR_420, (0, 1)),
    "NV21": Layout("nv21", _SEMI_420, (0, 1)),
    "YV12": Layout("yuv420p", _SWAPPED_420, (0, 1)),
    "YUYV": Layout("yuyv422", ((0, 1, 1, 2),), (0, 2)),
    "UYVY": Layout("uyvy422", ((0, 1, 1, 2),), (1, 2)),
    "RGB3": Layout("rgb24", ((0, 1, 1, 3),), None),
    "BGR3": Layout("bgr24", ((0, 1, 1, 3),), None),
}

#: Every frame a JPEG picture; taken only when there is nothing else that fits.
COMPRESSED = ("MJPG", "JPEG")


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


def choose(modes: list[Mode], spec: FrameSpec, fps: float) -> Mode | None:
    """The mode with the least work that covers the frame and is fast enough, or comes nearest to it."""
    order = [*LAYOUTS, *COMPRESSED]

    def cost(mode: Mode) -> tuple[Any, ...]:
        covers = mode.width >= spec.width and mode.height >= spec.height
        fast = mode.fps >= fps * 0.99  # 29.97 will do for 30
        colourless = mode.pixel_format == "GREY" and spec.pixel_format != "Y"
        area = mode.width * mode.height
        return (
            not covers,
            not fast,
            colourless,
            mode.pixel_format in COMPRESSED,
            area if covers else -area,
            order.index(mode.pixel_format),
        )

    return min((mode for mode in modes if mode.pixel_format in order), key=cost, default=None)


def modes_of(device: v4l2.Device, spec: FrameSpec) -> list[Mode]:
    """Every mode of the device; of sizes in steps the one that is nearest to the frame's."""
    modes: list[Mode] = []
    for pixel_format in _enumerate(device, v4l2.ENUM_FMT, v4l2.FmtDesc(type=v4l2.BUF_TYPE_VIDEO_CAPTURE)):
        number = pixel_format.pixelformat
        for width, height in _sizes(device, number, spec):
            if len(modes) == MODES_MAX:
                return modes
            fps = _fastest(device, number, width, height)
            modes.append(Mode(v4l2.fourcc_name(number), width, height, fps))
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


def _sizes(device: v4l2.Device, number: int, spec: FrameSpec) -> list[tuple[int, int]]:
    sizes = []
    for entry in _enumerate(device, v4l2.ENUM_FRAMESIZES, v4l2.FrmSizeEnum(pixel_format=number)):
        if entry.type == v4l2.FRMSIZE_DISCRETE:
            sizes.append((entry.size[0], entry.size[1]))
        else:
            return [(_stepped(spec.width, *entry.size[:3]), _stepped(spec.height, *entry.size[3:]))]
    return sizes or [(spec.width, spec.height)]


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

"""Video4Linux2 as the kernel speaks it: structures, request numbers, and the device behind them.

The layouts are those of <linux/videodev2.h> on 64-bit machines and, with 64-bit time, on 32-bit
ARM (kernel 5.6 and later). ``structures`` takes the size of a pointer, so that both are tested on
either.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import select
from ctypes import c_char, c_int32, c_int64, c_uint8, c_uint32, c_uint64
from types import SimpleNamespace
from typing import Any, Protocol

BUF_TYPE_VIDEO_CAPTURE = 1
MEMORY_MMAP = 1
FIELD_NONE = 1

CAP_VIDEO_CAPTURE = 0x00000001
CAP_VIDEO_CAPTURE_MPLANE = 0x00001000
CAP_STREAMING = 0x04000000
CAP_DEVICE_CAPS = 0x80000000
CAP_TIMEPERFRAME = 0x1000

BUF_FLAG_ERROR = 0x00000040
BUF_FLAG_TIMESTAMP_MASK = 0x0000E000
BUF_FLAG_TIMESTAMP_MONOTONIC = 0x00002000

FRMSIZE_DISCRETE = 1
FRMIVAL_DISCRETE = 1

COLORSPACE_SMPTE170M = 1
COLORSPACE_SMPTE240M = 2
COLORSPACE_REC709 = 3
COLORSPACE_JPEG = 7
COLORSPACE_BT2020 = 10
COLORSPACE_DCI_P3 = 12
YCBCR_ENC_DEFAULT, YCBCR_ENC_601, YCBCR_ENC_709 = 0, 1, 2
YCBCR_ENC_XV709, YCBCR_ENC_BT2020, YCBCR_ENC_SMPTE240M = 4, 6, 8
QUANTIZATION_DEFAULT, QUANTIZATION_FULL_RANGE, QUANTIZATION_LIM_RANGE = 0, 1, 2


class Fract(ctypes.Structure):
    """struct v4l2_fract"""

    _fields_ = [("numerator", c_uint32), ("denominator", c_uint32)]


class Capability(ctypes.Structure):
    """struct v4l2_capability"""

    _fields_ = [
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class FmtDesc(ctypes.Structure):
    """struct v4l2_fmtdesc"""

    _fields_ = [
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class FrmSizeEnum(ctypes.Structure):
    """struct v4l2_frmsizeenum; ``size``: width, height, or min, max, step of each."""

    _fields_ = [
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("size", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    ]


class FrmIvalEnum(ctypes.Structure):
    """struct v4l2_frmivalenum; ``interval``: one, or min, max, step."""

    _fields_ = [
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("interval", Fract * 3),
        ("reserved", c_uint32 * 2),
    ]


class PixFormat(ctypes.Structure):
    """struct v4l2_pix_format"""

    _fields_ = [
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("colorspace", c_uint32),
        ("priv", c_uint32),
        ("flags", c_uint32),
        ("ycbcr_enc", c_uint32),
        ("quantization", c_uint32),
        ("xfer_func", c_uint32),
    ]


#: ``PixFormat.priv`` that says the fields behind it are filled in.
PIX_FMT_PRIV_MAGIC = 0xFEEDCAFE


class CaptureParm(ctypes.Structure):
    """struct v4l2_captureparm"""

    _fields_ = [
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("timeperframe", Fract),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("reserved", c_uint32 * 4),
    ]


class _ParmUnion(ctypes.Union):
    _fields_ = [("capture", CaptureParm), ("raw_data", c_uint8 * 200)]


class StreamParm(ctypes.Structure):
    """struct v4l2_streamparm"""

    _fields_ = [("type", c_uint32), ("parm", _ParmUnion)]


class RequestBuffers(ctypes.Structure):
    """struct v4l2_requestbuffers"""

    _fields_ = [
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    ]


class Timecode(ctypes.Structure):
    """struct v4l2_timecode"""

    _fields_ = [("type", c_uint32), ("flags", c_uint32), ("frames_to_userbits", c_uint8 * 8)]


class QueryCtrl(ctypes.Structure):
    """struct v4l2_queryctrl"""

    _fields_ = [
        ("id", c_uint32),
        ("type", c_uint32),
        ("name", c_char * 32),
        ("minimum", c_int32),
        ("maximum", c_int32),
        ("step", c_int32),
        ("default_value", c_int32),
        ("flags", c_uint32),
        ("reserved", c_uint32 * 2),
    ]


class Control(ctypes.Structure):
    """struct v4l2_control"""

    _fields_ = [("id", c_uint32), ("value", c_int32)]


CTRL_FLAG_DISABLED, CTRL_FLAG_READ_ONLY, CTRL_FLAG_NEXT_CTRL = 0x1, 0x4, 0x80000000
#: Kinds of controls that have a number: integer, boolean, menu, bit mask, menu of integers.
CTRL_TYPES_WITH_VALUE = (1, 2, 3, 8, 9)


def structures(pointer_bytes: int) -> SimpleNamespace:
    """``Format`` (struct v4l2_format) and ``Buffer`` (struct v4l2_buffer), which hold pointers."""
    word = {4: c_uint32, 8: c_uint64}[pointer_bytes]

    class FormatUnion(ctypes.Union):
        _fields_ = [("pix", PixFormat), ("aligned_as_pointers", word * (200 // pointer_bytes))]

    class Format(ctypes.Structure):
        _fields_ = [("type", c_uint32), ("fmt", FormatUnion)]

    class BufferUnion(ctypes.Union):
        _fields_ = [("offset", c_uint32), ("userptr", word), ("fd", c_int32)]

    class Buffer(ctypes.Structure):
        _fields_ = [
            ("index", c_uint32),
            ("type", c_uint32),
            ("bytesused", c_uint32),
            ("flags", c_uint32),
            ("field", c_uint32),
            # struct timeval with 64-bit time, also on 32-bit machines
            ("timestamp_s", c_int64),
            ("timestamp_us", c_int64),
            ("timecode", Timecode),
            ("sequence", c_uint32),
            ("memory", c_uint32),
            ("m", BufferUnion),
            ("length", c_uint32),
            ("reserved2", c_uint32),
            ("request_fd", c_int32),
        ]

    return SimpleNamespace(Format=Format, Buffer=Buffer)


_native = structures(ctypes.sizeof(ctypes.c_void_p))
Format: Any = _native.Format
Buffer: Any = _native.Buffer

_WRITE, _READ = 1, 2


def request_number(direction: int, number: int, structure: Any) -> int:
    """The ioctl request of the family V; ``direction`` is 1 (to the kernel), 2 (from it) or 3."""
    return direction << 30 | ctypes.sizeof(structure) << 16 | ord("V") << 8 | number


QUERYCAP = request_number(_READ, 0, Capability)
ENUM_FMT = request_number(_READ | _WRITE, 2, FmtDesc)
S_FMT = request_number(_READ | _WRITE, 5, Format)
REQBUFS = request_number(_READ | _WRITE, 8, RequestBuffers)
QUERYBUF = request_number(_READ | _WRITE, 9, Buffer)
QBUF = request_number(_READ | _WRITE, 15, Buffer)
DQBUF = request_number(_READ | _WRITE, 17, Buffer)
STREAMON = request_number(_WRITE, 18, c_int32)
STREAMOFF = request_number(_WRITE, 19, c_int32)
G_PARM = request_number(_READ | _WRITE, 21, StreamParm)
S_PARM = request_number(_READ | _WRITE, 22, StreamParm)
S_CTRL = request_number(_READ | _WRITE, 28, Control)
QUERYCTRL = request_number(_READ | _WRITE, 36, QueryCtrl)
S_INPUT = request_number(_READ | _WRITE, 39, c_int32)
ENUM_FRAMESIZES = request_number(_READ | _WRITE, 74, FrmSizeEnum)
ENUM_FRAMEINTERVALS = request_number(_READ | _WRITE, 75, FrmIvalEnum)


def fourcc(name: str) -> int:
    """The number of a pixel format, such as ``NV12``."""
    return int.from_bytes(name.encode("ascii"), "little")


def fourcc_name(number: int) -> str:
    """The four letters of a pixel format."""
    return (number & 0x7FFFFFFF).to_bytes(4, "little").decode("latin-1")


class Device(Protocol):
    """The boundary that a fake replaces: everything that reaches the kernel."""

    def ioctl(self, request: int, argument: Any) -> None:
        """Fill ``argument``, a structure; ``OSError`` as the kernel says."""

    def map(self, length: int, offset: int) -> Any:
        """Memory of a driver's buffer: readable by ``numpy.frombuffer``, with ``close()``.

        ``close`` raises ``BufferError`` while there is a view of it.
        """

    def wait(self, timeout_s: float) -> bool:
        """Whether a buffer is ready before the time is over; ``OSError`` when none can come."""

    def close(self) -> None: ...


#: Signals may interrupt one ioctl so many times before it counts as failed.
INTERRUPTIONS_MAX = 100


class CharacterDevice:
    """A device node such as /dev/video0, opened without blocking."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def ioctl(self, request: int, argument: Any) -> None:
        for _ in range(INTERRUPTIONS_MAX):
            try:
                fcntl.ioctl(self._fd, request, argument, True)
                return
            except InterruptedError:
                continue
        raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))

    def map(self, length: int, offset: int) -> Any:
        return mmap.mmap(self._fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)

    def wait(self, timeout_s: float) -> bool:
        # Errors of the queue make it ready, too: DQBUF then says which.
        return bool(self._poll.poll(max(0.0, timeout_s) * 1000))

    def close(self) -> None:
        os.close(self._fd)

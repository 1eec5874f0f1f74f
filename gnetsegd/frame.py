"""The words of the road: what goes in (a Frame) and what comes out (a Mask).

Nothing else flows between the rooms. A frame is a *slot*: its two buffers are allocated once, when
the road is built, and handed from thread to thread; only the one who holds it writes to it.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bytes kept free in front of the mask in a frame's reply buffer, for the header of the ZeroMQ
#: message (``message.HEADER_SIZE``), so that a mask is published from the place it was received in.
HEADROOM = 128


class Room(NamedTuple):
    """What an accelerator's transport needs around the picture and the mask, in bytes.

    ``request_head`` and ``request_tail`` stand before and behind the pixels. An answer is received from
    ``reply_head`` bytes before the mask on (inside ``HEADROOM``) and may be ``reply_tail`` bytes longer
    than the mask; what is received into is a multiple of ``reply_multiple``.
    """

    request_head: int = 0
    request_tail: int = 0
    reply_head: int = 0
    reply_tail: int = 0
    reply_multiple: int = 1


NO_ROOM = Room()


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """What a network takes: ``width`` x ``height`` pixels in ``pixel_format``.

    ``pixel_format`` and the shape of ``Frame.pixels`` (always uint8, BT.601 full range):

    ========  ======================  ==========================================
    Y         (height, width)         luminance
    YUV420    (height * 3/2, width)   planar I420: Y, then U, then V
    YUV444    (height, width, 3)      interleaved Y, U, V
    RGB       (height, width, 3)      interleaved R, G, B
    ========  ======================  ==========================================
    """

    width: int
    height: int
    pixel_format: str = "Y"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of ``Frame.pixels``; ``KeyError`` for an unknown pixel format."""
        return {
            "Y": (self.height, self.width),
            "YUV420": (self.height * 3 // 2, self.width),
            "YUV444": (self.height, self.width, 3),
            "RGB": (self.height, self.width, 3),
        }[self.pixel_format]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape)


PIXEL_FORMATS = ("Y", "YUV420", "YUV444", "RGB")


@dataclass(frozen=True, slots=True)
class MaskFormat:
    """One integer label a pixel, ``bits`` wide (8, 4, 2 or 1), rows of ``stride`` bytes.

    Within a byte the leftmost pixel is in the most significant bits (as ``numpy.packbits``).
    """

    width: int
    height: int
    bits: int
    classes: int

    @property
    def stride(self) -> int:
        """Bytes of one row."""
        return (self.width * self.bits + 7) // 8

    @property
    def size_bytes(self) -> int:
        return self.stride * self.height


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What an opened accelerator promises about every mask that it gives.

    ``model_hash`` is the SHA-256 of the network's file; ``fallback`` is True where a backend stands
    in for the one that the configuration prefers; ``depth_frames`` is how many frames may be in
    flight at once; ``runtime`` names the software that runs the network here, if any.
    """

    backend: str
    model_id: str
    model_hash: bytes
    input: FrameSpec
    mask: MaskFormat
    labels: tuple[str, ...]
    depth_frames: int = 1
    fallback: bool = False
    runtime: str = ""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The part of the sensor's picture that the frame shows, in fractions of its width and height.

    ``x, y, width, height`` is the region of the *sensor* that fills the whole mask. With
    ``letterbox`` it reaches beyond the sensor (negative ``x`` or ``y``, size over 1): those parts
    of the mask are padding. The sensor's picture is the upright one, with square pixels: ``rotation``
    (degrees clockwise) and ``mirrored`` (left to right, before that) tell what made it upright.
    """

    mode: str
    x: float
    y: float
    width: float
    height: float
    sensor_width: int
    sensor_height: int
    rotation: int = 0
    mirrored: bool = False


class Memory:
    """Where a buffer lies: what libusb's Python bindings ask of an ``array`` (address and size).

    ``size`` bytes from ``offset`` of ``buffer``, which cannot be resized meanwhile.
    """

    __slots__ = ("_address", "_keep", "itemsize", "pointer", "size")

    def __init__(self, buffer: bytearray, offset: int, size: int) -> None:
        self._keep = (ctypes.c_char * size).from_buffer(buffer, offset)
        self._address = ctypes.addressof(self._keep)
        #: The same address, ready-made as an argument of a C function.
        self.pointer = ctypes.byref(self._keep)
        self.size = size
        self.itemsize = 1

    def view(self) -> memoryview:
        """The ``size`` bytes themselves."""
        return memoryview(self._keep).cast("B")[: self.size]

    def buffer_info(self) -> tuple[int, int]:
        """(address, number of items), as ``array.array.buffer_info``."""
        return self._address, self.size


class Frame:
    """One picture on its way through the road; a slot that is used again and again.

    Attributes
    ----------
    pixels : uint8 array of ``spec.shape``, C-contiguous; it lies in ``request``
    room : what a transport wanted around the picture and the mask
    request : what a transport sends: ``room.request_head`` bytes, the pixels, ``room.request_tail`` bytes
    sequence : the camera's own frame number; it counts frames that the camera lost, too
    sensor_timestamp_ns : CLOCK_MONOTONIC time of the exposure, in ns
    dropped_camera : how many frames before this one the camera lost, since the daemon started
    dropped_daemon : how many frames before this one gave way to a newer one in the mailbox
    reply : the buffer of the answer: ``HEADROOM`` bytes for the message's header, then the mask.
        A transport receives into the last ``room.reply_head`` bytes of the headroom and what follows,
        so that the mask comes to stand where it is published from.
    reply_view : memoryview of ``reply``
    request_memory, reply_memory : where these two transfers lie
    """

    __slots__ = (
        "dropped_camera",
        "dropped_daemon",
        "pixels",
        "reply",
        "reply_memory",
        "reply_view",
        "request",
        "request_memory",
        "room",
        "sensor_timestamp_ns",
        "sequence",
        "spec",
    )

    def __init__(self, spec: FrameSpec, mask_bytes: int, room: Room = NO_ROOM) -> None:
        self.spec = spec
        self.room = room
        size = spec.size_bytes
        self.request = bytearray(room.request_head + size + room.request_tail)
        self.pixels: NDArray[np.uint8] = np.frombuffer(self.request, np.uint8, size, room.request_head)
        self.pixels = self.pixels.reshape(spec.shape)
        longest = room.reply_head + mask_bytes + room.reply_tail
        received = -(-longest // room.reply_multiple) * room.reply_multiple
        self.reply = bytearray(HEADROOM - room.reply_head + received)
        self.reply_view = memoryview(self.reply)
        self.request_memory = Memory(self.request, 0, len(self.request))
        self.reply_memory = Memory(self.reply, HEADROOM - room.reply_head, received)
        self.sequence = 0
        self.sensor_timestamp_ns = 0
        self.dropped_camera = 0
        self.dropped_daemon = 0


@dataclass(slots=True)
class Mask:
    """The answer to one frame: the encoded mask stands in ``frame.reply`` behind the headroom.

    Valid until the frame's slot goes back to the pool. ``info`` tells the format, the backend
    and the model that made it.
    """

    frame: Frame
    info: ModelInfo

    @property
    def payload(self) -> memoryview:
        """The mask exactly as the network gave it, ``info.mask.size_bytes`` bytes."""
        return self.frame.reply_view[HEADROOM : HEADROOM + self.info.mask.size_bytes]


class Loss(NamedTuple):
    """A frame that was submitted and will get no mask; ``reason`` says why."""

    frame: Frame
    reason: str

"""The ZeroMQ messages: one part each, little-endian, described in docs/messages.md.

Every message begins with its topic, padded with NUL to ``TOPIC_SIZE`` bytes. ``mask`` and
``frame`` go on with a binary header; ``info`` and ``status`` with JSON. No I/O here: the publisher
and every client share this file.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import MessageError
from .frame import HEADROOM, MaskFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOPIC_SIZE = 16
TOPICS = ("mask", "info", "status", "frame")
#: ``status/`` leaves eight characters and one NUL of the topic's sixteen bytes.
CAMERA_NAME = re.compile(r"[a-z0-9_-]{1,8}")

MAGIC = b"GSEG"
MAJOR = 1
MINOR = 0
#: topic, magic, major, minor, header size, flags, bits, classes, width, height, stride, reserved,
#: sequence, session, sensor time, publish time, dropped by camera, dropped here, backend,
#: first 16 bytes of the model's SHA-256, payload size, reserved
HEADER = struct.Struct("<16s4sBBHIBBHHHIQQQQII16s16sI12x")
HEADER_SIZE = HEADER.size

#: Set in ``flags`` when a backend stands in for the preferred one.
FLAG_FALLBACK = 1

if HEADER_SIZE != HEADROOM:  # pragma: no cover - the two constants are one promise
    raise AssertionError(f"the header has {HEADER_SIZE} bytes, the reply buffers keep {HEADROOM}")


def topic(kind: str, camera: str) -> bytes:
    """The first ``TOPIC_SIZE`` bytes of a message: ``kind/camera`` padded with NUL.

    ``ValueError`` for a kind that is not in ``TOPICS`` or a camera's name that does not fit.
    """
    if kind not in TOPICS:
        raise ValueError(f"no topic {kind!r}; there are {', '.join(TOPICS)}")
    if not CAMERA_NAME.fullmatch(camera):
        raise ValueError(f"camera name {camera!r} is not 1 to 8 of a-z, 0-9, '_' and '-'")
    return f"{kind}/{camera}".encode("ascii").ljust(TOPIC_SIZE, b"\0")


@dataclass(frozen=True, slots=True)
class MaskHeader:
    """The header of a ``mask`` (or ``frame``) message; docs/messages.md gives each field's place.

    Times are CLOCK_MONOTONIC in ns on the daemon's machine.
    """

    camera: str
    format: MaskFormat
    sequence: int
    session: int
    sensor_timestamp_ns: int
    publish_timestamp_ns: int
    dropped_camera: int
    dropped_daemon: int
    backend: str
    model_hash: bytes
    fallback: bool
    payload_offset: int
    payload_size: int
    minor: int = MINOR

    @property
    def latency_ns(self) -> int:
        """From the sensor's exposure to the send, in ns."""
        return self.publish_timestamp_ns - self.sensor_timestamp_ns


def parse_header(data: bytes | bytearray | memoryview) -> MaskHeader:
    """Read the header of a ``mask`` or ``frame`` message.

    Raises ``MessageError`` for anything that is not one: too short, another magic, another major
    version, sizes that contradict each other or the length of the message.
    """
    if len(data) < HEADER_SIZE:
        raise MessageError(f"a message of {len(data)} bytes is shorter than the header's {HEADER_SIZE}")
    (
        name, magic, major, minor, header_size, flags, bits, classes, width, height, stride, _,
        sequence, session, sensor_ns, publish_ns, dropped_camera, dropped_daemon,
        backend, model_hash, payload_size,
    ) = HEADER.unpack_from(data)  # fmt: skip
    if magic != MAGIC:
        raise MessageError(f"the message's magic is {magic!r}, not {MAGIC!r}: not a mask of gnetsegd")
    if major != MAJOR:
        raise MessageError(
            f"the message has major version {major}, this reader knows {MAJOR}: use a matching client"
        )
    if header_size < HEADER_SIZE:
        raise MessageError(f"the message claims a header of {header_size} bytes, less than {HEADER_SIZE}")
    if bits not in (1, 2, 4, 8):
        raise MessageError(f"the mask has {bits} bits a pixel; known are 1, 2, 4 and 8")
    mask = MaskFormat(width, height, bits, classes)
    if stride != mask.stride or payload_size != mask.size_bytes:
        raise MessageError(
            f"a {width}x{height} mask of {bits} bits has rows of {mask.stride} bytes and "
            f"{mask.size_bytes} in all, the message says {stride} and {payload_size}"
        )
    if len(data) != header_size + payload_size:
        raise MessageError(
            f"the message has {len(data)} bytes, its header promises {header_size + payload_size}"
        )
    kind, _, camera = name.rstrip(b"\0").partition(b"/")
    if kind not in (b"mask", b"frame"):
        raise MessageError(f"topic {name!r} is neither mask/ nor frame/")
    try:
        camera_name, backend_name = camera.decode("ascii"), backend.rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError:
        raise MessageError(f"topic {name!r} or backend {backend!r} is not ASCII") from None
    return MaskHeader(
        camera=camera_name,
        format=mask,
        sequence=sequence,
        session=session,
        sensor_timestamp_ns=sensor_ns,
        publish_timestamp_ns=publish_ns,
        dropped_camera=dropped_camera,
        dropped_daemon=dropped_daemon,
        backend=backend_name,
        model_hash=model_hash,
        fallback=bool(flags & FLAG_FALLBACK),
        payload_offset=header_size,
        payload_size=payload_size,
        minor=minor,
    )


def unpack_mask(
    payload: bytes | bytearray | memoryview, mask: MaskFormat
) -> NDArray[np.uint8]:
    """Labels as a uint8 array of shape (height, width), from any of the encodings.

    For 8 bits a view of ``payload``, else a new array. ``MessageError`` when the size is wrong.
    """
    if len(payload) != mask.size_bytes:
        raise MessageError(f"the mask has {len(payload)} bytes, its format needs {mask.size_bytes}")
    rows = np.frombuffer(payload, np.uint8).reshape(mask.height, mask.stride)
    if mask.bits == 8:
        return rows
    if mask.bits == 1:
        return np.unpackbits(rows, axis=1, count=mask.width)
    shifts = np.arange(8 - mask.bits, -1, -mask.bits, dtype=np.uint8)
    labels = (rows[:, :, None] >> shifts) & np.uint8((1 << mask.bits) - 1)
    return labels.reshape(mask.height, -1)[:, : mask.width]


def pack_mask(labels: NDArray[np.uint8], bits: int) -> bytes:
    """The inverse of ``unpack_mask``: labels of shape (height, width) to rows of packed bits.

    ``ValueError`` for a label that needs more than ``bits`` bits.
    """
    if bits not in (1, 2, 4, 8):
        raise ValueError(f"{bits} bits a pixel; known are 1, 2, 4 and 8")
    if labels.size and int(labels.max()) >> bits:
        raise ValueError(f"label {int(labels.max())} does not fit in {bits} bits")
    if bits == 8:
        return labels.tobytes()
    if bits == 1:
        return np.packbits(labels, axis=1).tobytes()
    per_byte = 8 // bits
    padded = np.pad(labels, ((0, 0), (0, -labels.shape[1] % per_byte)))
    grouped = padded.reshape(labels.shape[0], -1, per_byte)
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    return np.bitwise_or.reduce(grouped << shifts, axis=2).astype(np.uint8).tobytes()


def pack_json(kind: str, camera: str, body: dict[str, Any]) -> bytes:
    """An ``info`` or ``status`` message."""
    return topic(kind, camera) + json.dumps(body, separators=(",", ":"), sort_keys=True).encode()


def parse_json(data: bytes) -> tuple[str, str, dict[str, Any]]:
    """(kind, camera, body) of an ``info`` or ``status`` message; ``MessageError`` if it is none."""
    try:
        kind, _, camera = data[:TOPIC_SIZE].rstrip(b"\0").decode("ascii").partition("/")
        body = json.loads(data[TOPIC_SIZE:])
    except ValueError as error:
        raise MessageError(f"not an info or status message: {error}") from None
    if kind not in ("info", "status") or not isinstance(body, dict):
        raise MessageError(f"topic {kind!r} with {type(body).__name__} is no info or status message")
    return kind, camera, body

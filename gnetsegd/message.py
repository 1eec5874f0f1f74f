"""The ZeroMQ messages: one part each, little-endian, described in docs/messages.md.

Every message begins with its topic, padded with NUL to ``TOPIC_SIZE`` bytes. ``mask``, ``frame`` and
``image`` go on with a binary header; ``info`` and ``status`` with JSON. No I/O here: the publisher
and every client share this file.
"""

from __future__ import annotations

import json
import os
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import MessageError
from .frame import HEADROOM, MaskFormat
from .text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Bytes = bytes | bytearray | memoryview

TOPIC_SIZE = 16
TOPICS = ("mask", "info", "status", "frame", "image")
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
#: What the header of an ``image`` has behind that: the part of the sensor's picture that it shows.
REGION = struct.Struct("<4d")
IMAGE_HEADER_SIZE = HEADER_SIZE + REGION.size
#: Of its numbers, which are fractions; over 1 only with letterbox.
REGION_MAX = 1e6
#: What a JPEG begins with.
JPEG_START = b"\xff\xd8\xff"

#: Set in ``flags`` when a backend stands in for the preferred one.
FLAG_FALLBACK = 1

#: The longest text in ``info`` and ``status``, and how deep tables in tables go.
TEXT_CHARACTERS = 1000
MAX_DEPTH = 8

#: ``schema`` of the JSON in ``info`` and ``status``.
INFO_SCHEMA = 1
STATUS_SCHEMA = 1

#: What ``status`` may say in ``state``; a later version may add to them.
STATES = ("starting", "running", "idle", "no-camera", "no-accelerator", "no-masks", "stopping")

#: The fields that ``info`` always has, with their types; ``float`` takes whole numbers too.
INFO_FIELDS: dict[str, Any] = {
    "schema": int,
    "version": str,
    "camera": str,
    "session": int,
    "backend": str,
    "model": {"id": str, "sha256": str, "title": str, "licence": str},
    "labels": [str],
    "persons": [int],
    "input": {"width": int, "height": int, "pixel_format": str},
    "mask": {"width": int, "height": int, "bits": int, "stride": int},
    "geometry": {
        "mode": str,
        "x": float,
        "y": float,
        "width": float,
        "height": float,
        "sensor_width": int,
        "sensor_height": int,
    },
    "fps_nominal": float,
    "monotonic_to_wall_offset_ns": int,
}
#: The same for ``status``; ``dict`` is a table without fixed keys.
STATUS_FIELDS: dict[str, Any] = {
    "schema": int,
    "camera": str,
    "session": int,
    "state": str,
    "reason": str,
    "backend": str,
    "fallback": bool,
    "fps": float,
    "subscribers": bool,
    "uptime_s": float,
    "timestamp_ns": int,
    "counters": {
        "frames": int,
        "masks": int,
        "dropped_camera": int,
        "dropped_daemon": int,
        "losses": int,
        "camera_reopens": int,
        "accelerator_reopens": int,
    },
    "camera_device": {"driver": str, "description": str, "fps": float},
    "accelerator": dict,
}

if HEADER_SIZE != HEADROOM:  # pragma: no cover - the two constants are one promise
    raise AssertionError(f"the header has {HEADER_SIZE} bytes, the reply buffers keep {HEADROOM}")


def new_session() -> int:
    """A random number that names one run of the daemon, from 1 up to 2**53 - 1.

    No more, since JSON readers such as JavaScript's hold whole numbers only up to there.
    """
    return (int.from_bytes(os.urandom(8), "little") >> 11) or 1


def topic(kind: str, camera: str) -> bytes:
    """The first ``TOPIC_SIZE`` bytes of a message: ``kind/camera`` padded with NUL.

    ``ValueError`` for a kind that is not in ``TOPICS`` or a camera's name that does not fit.
    """
    if kind not in TOPICS:
        raise ValueError(f"no topic {kind!r}; there are {', '.join(TOPICS)}")
    if not CAMERA_NAME.fullmatch(camera):
        raise ValueError(f"camera name {camera!r} is not 1 to 8 of a-z, 0-9, '_' and '-'")
    return f"{kind}/{camera}".encode("ascii").ljust(TOPIC_SIZE, b"\0")


def parse_topic(data: Bytes) -> tuple[str, str]:
    """(kind, camera) of any message; ``MessageError`` if it does not begin with a known topic."""
    name = bytes(data[:TOPIC_SIZE])
    kind, _, camera = name.rstrip(b"\0").decode("ascii", "replace").partition("/")
    if len(name) < TOPIC_SIZE or kind not in TOPICS or not CAMERA_NAME.fullmatch(camera):
        raise MessageError(f"{name!r} is not a topic of gnetsegd padded with NUL to {TOPIC_SIZE} bytes")
    return kind, camera


@dataclass(frozen=True, slots=True)
class MaskHeader:
    """The header of a ``mask`` (or ``frame``) message; docs/messages.md gives each field's place.

    Times are CLOCK_MONOTONIC in ns on the daemon's machine. A ``frame`` has the ``format`` of its
    luminance: 8 bits, 0 classes.
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
    kind: str = "mask"

    @property
    def latency_ns(self) -> int:
        """From the sensor's exposure to the send, in ns."""
        return self.publish_timestamp_ns - self.sensor_timestamp_ns


def pack_header(header: MaskHeader) -> bytes:
    """The ``HEADER_SIZE`` bytes of ``header``, in this version; the inverse of ``parse_header``.

    ``payload_offset`` and ``minor`` are not taken from it. ``ValueError`` for a name that does not fit.
    """
    if len(header.backend) > 16:
        raise ValueError(f"backend {header.backend!r} has more than 16 characters")
    mask = header.format
    return HEADER.pack(
        topic(header.kind, header.camera), MAGIC, MAJOR, MINOR, HEADER_SIZE,
        FLAG_FALLBACK if header.fallback else 0, mask.bits, mask.classes,
        mask.width, mask.height, mask.stride, 0,
        header.sequence, header.session, header.sensor_timestamp_ns, header.publish_timestamp_ns,
        header.dropped_camera & 0xFFFFFFFF, header.dropped_daemon & 0xFFFFFFFF,
        header.backend.encode("ascii"), header.model_hash[:16], mask.size_bytes,
    )  # fmt: skip


def parse_header(data: Bytes) -> MaskHeader:
    """Read the header of a ``mask`` or ``frame`` message.

    Raises ``MessageError`` for anything that is not one: too short, another magic, another major
    version, sizes that contradict each other or the length of the message.
    """
    header, stride = _common_header(data, HEADER_SIZE)
    if header.kind not in ("mask", "frame"):
        raise MessageError(f"topic {header.kind}/{header.camera} has no mask's header")
    mask = header.format
    if mask.bits not in (1, 2, 4, 8):
        raise MessageError(f"the mask has {mask.bits} bits a pixel; known are 1, 2, 4 and 8")
    if not mask.size_bytes:
        raise MessageError(
            f"a {mask.width}x{mask.height} mask has no pixels; no data is never sent as an empty mask"
        )
    if stride != mask.stride or header.payload_size != mask.size_bytes:
        raise MessageError(
            f"a {mask.width}x{mask.height} mask of {mask.bits} bits has rows of {mask.stride} bytes and "
            f"{mask.size_bytes} in all, the message says {stride} and {header.payload_size}"
        )
    return _whole(header, data)


def _common_header(data: Bytes, least: int) -> tuple[MaskHeader, int]:
    """(the header of any binary message, its stride); ``least``: its bytes. Sizes are not yet looked at."""
    if len(data) < least:
        raise MessageError(f"a message of {len(data)} bytes is shorter than the header's {least}")
    (
        _name, magic, major, minor, header_size, flags, bits, classes, width, height, stride, _reserved,
        sequence, session, sensor_ns, publish_ns, dropped_camera, dropped_daemon,
        backend, model_hash, payload_size,
    ) = HEADER.unpack_from(data)  # fmt: skip
    if magic != MAGIC:
        raise MessageError(f"the message's magic is {magic!r}, not {MAGIC!r}: not a mask of gnetsegd")
    if major != MAJOR:
        raise MessageError(
            f"the message has major version {major}, this reader knows {MAJOR}: use a matching client"
        )
    kind, camera = parse_topic(data)
    if header_size < least:
        raise MessageError(f"the message claims a header of {header_size} bytes, less than {least}")
    backend_name = backend.rstrip(b"\0").decode("ascii", "replace")
    header = MaskHeader(
        camera=camera,
        format=MaskFormat(width, height, bits, classes),
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
        kind=kind,
    )
    return header, stride


def _whole(header: MaskHeader, data: Bytes) -> MaskHeader:
    """``header``, once the message is as long as it says and its texts can be shown."""
    promised = header.payload_offset + header.payload_size
    if len(data) != promised:
        raise MessageError(f"the message has {len(data)} bytes, its header promises {promised}")
    if not (header.backend.isascii() and header.backend.isprintable()):
        # It is shown on terminals: no control characters from the network.
        raise MessageError(f"backend {header.backend!r} is not printable ASCII padded with NUL")
    return header


class Region(NamedTuple):
    """A part of the sensor's picture, in fractions of its width and height, as in ``Geometry``."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The header of an ``image`` message: that of its mask, and what the picture shows.

    ``width`` and ``height`` are those of the upright picture, in pixels. ``mask`` has its mask's fields, and
    the message's own ``publish_timestamp_ns``, ``payload_offset`` and ``payload_size``.
    """

    mask: MaskHeader
    width: int
    height: int
    region: Region

    @property
    def camera(self) -> str:
        return self.mask.camera

    @property
    def session(self) -> int:
        return self.mask.session

    @property
    def sequence(self) -> int:
        return self.mask.sequence

    @property
    def payload_offset(self) -> int:
        """Where the JPEG begins."""
        return self.mask.payload_offset


def image_header(
    mask_header: Bytes, width: int, height: int, region: Region, sent_ns: int, size: int
) -> bytes:
    """The ``IMAGE_HEADER_SIZE`` bytes in front of the JPEG of ``size`` bytes that belongs to a mask.

    ``mask_header`` are the first ``HEADER_SIZE`` bytes of the mask's message, ``sent_ns`` is the time of now.
    ``struct.error`` for a picture beyond 65535 pixels a side.
    """
    fields = list(HEADER.unpack_from(mask_header))
    _, camera = parse_topic(mask_header)
    fields[0], fields[4] = topic("image", camera), IMAGE_HEADER_SIZE
    fields[6:11] = [0, 0, width, height, 0]
    fields[15], fields[20] = sent_ns, size
    return HEADER.pack(*fields) + REGION.pack(*region)


def parse_image(data: Bytes) -> ImageHeader:
    """Read the header of an ``image`` message; ``MessageError`` for anything that is not one.

    The JPEG behind it is not decoded: it begins as one, and may still be damaged.
    """
    header, _ = _common_header(data, IMAGE_HEADER_SIZE)
    if header.kind != "image":
        raise MessageError(f"topic {header.kind}/{header.camera} has no picture's header")
    width, height = header.format.width, header.format.height
    if header.format.bits or not (width and height):
        raise MessageError(
            f"a picture of {width}x{height} pixels and {header.format.bits} bits is none: it is a JPEG, "
            "whose bits are 0 in the header"
        )
    _whole(header, data)
    start = bytes(data[header.payload_offset : header.payload_offset + len(JPEG_START)])
    if start != JPEG_START:
        raise MessageError(f"the picture begins with {start!r}, and is no JPEG")
    region = Region(*REGION.unpack_from(data, HEADER_SIZE))
    if not all(abs(value) < REGION_MAX for value in region) or not min(region.width, region.height) > 0:
        raise MessageError(f"the picture shows {tuple(region)} of the sensor's, which is no part of it")
    return ImageHeader(header, width, height, region)


def _labels_of_byte(bits: int) -> NDArray[Any]:
    """The 8 / ``bits`` labels in each byte, one after the other in one integer of as many bytes."""
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    labels = (np.arange(256, dtype=np.uint8)[:, None] >> shifts) & np.uint8((1 << bits) - 1)
    return labels.view(f"u{8 // bits}").ravel()


_LABELS_OF_BYTE = {bits: _labels_of_byte(bits) for bits in (2, 4)}


def unpack_mask(payload: Bytes, mask: MaskFormat) -> NDArray[np.uint8]:
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
    # One look-up a byte gives all of its labels at once; no byte is out of the table's range.
    return _LABELS_OF_BYTE[mask.bits].take(rows, mode="clip").view(np.uint8)[:, : mask.width]


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
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(grouped << shifts, axis=2).astype(np.uint8)
    return packed.tobytes()


def _fit(value: Any, depth: int = 0) -> Any:
    """``value`` as readers are promised it: its texts on one line and bounded, and not nested without end."""
    if isinstance(value, str):
        return clean(value, TEXT_CHARACTERS)
    if isinstance(value, dict | list | tuple) and depth == MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {_fit(key): _fit(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_fit(inner, depth + 1) for inner in value]
    return value


def pack_json(kind: str, camera: str, body: Mapping[str, object]) -> bytes:
    """An ``info`` or ``status`` message; texts are made fit for terminals (docs/messages.md, rule 10).

    ``ValueError`` for NaN and infinity, ``TypeError`` for other things which JSON lacks.
    """
    text = json.dumps(_fit(dict(body)), separators=(",", ":"), sort_keys=True, allow_nan=False)
    return topic(kind, camera) + text.encode("ascii")


def parse_json(data: Bytes) -> tuple[str, str, dict[str, Any]]:
    """(kind, camera, body) of an ``info`` or ``status`` message.

    Every field of ``INFO_FIELDS`` or ``STATUS_FIELDS`` is there and of its type; others may be there
    too. ``MessageError`` if it is no such message.
    """
    kind, camera = parse_topic(data)
    if kind not in ("info", "status"):
        raise MessageError(f"topic {kind}/{camera} is not JSON")
    try:
        body = json.loads(bytes(data[TOPIC_SIZE:]), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{kind}/{camera} is not JSON: {error}") from None
    _check(body, INFO_FIELDS if kind == "info" else STATUS_FIELDS, kind)
    newest = INFO_SCHEMA if kind == "info" else STATUS_SCHEMA
    if body["schema"] != newest:
        raise MessageError(f"{kind} has schema {body['schema']}, this reader knows {newest}")
    if body["camera"] != camera:
        raise MessageError(f"{kind}/{camera} speaks of camera {body['camera']!r}")
    return kind, camera, body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _check(value: Any, form: Any, where: str) -> None:
    """``MessageError`` that names the place where ``value`` is not of ``form``."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            raise MessageError(f"{where} is {type(value).__name__}, not an object")
        for key, inner in form.items():
            if key not in value:
                raise MessageError(f"{where} lacks {key}")
            _check(value[key], inner, f"{where}.{key}")
    elif isinstance(form, list):
        if not isinstance(value, list):
            raise MessageError(f"{where} is {type(value).__name__}, not an array")
        for item in value:
            _check(item, form[0], where)
    elif form is float:
        # 1e999 is good JSON, and infinite.
        if type(value) not in (int, float) or not abs(value) < 1e300:
            raise MessageError(f"{where} is not a finite number")
    elif type(value) is not form:
        raise MessageError(f"{where} is {type(value).__name__}, not {form.__name__}")

"""A recording with what can be looked at in it beside its own messages: for Foxglove and rerun."""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...client import pictures
from ...errors import MessageError, PermanentError
from ...message import MaskHeader, parse_header, parse_image, parse_json, unpack_mask
from ...recordings import ENCODING, LIBRARY, RecordingError, not_written
from ...recordings.schemas import SCHEMAS
from ...text import clean
from ...vendor.mcap.writer import CompressionType, Writer
from ..newest import Newest
from ..painting import painted
from . import foxglove
from .shifting import parse

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ...recordings.reading import Recorded, Recording

#: A picture comes so many masks after its own at most.
_MASKS_KEPT = 64
_SESSIONS_KEPT = 64
_QUALITY = 85


class Converted(NamedTuple):
    """``shown`` pictures and masks; of these ``painted`` are pictures with their mask over them.

    ``without``: why there are none of the latter, where that could be mended. ``unclear`` messages are
    damaged, of a later version or another camera's than their channel's: kept, and not shown.
    """

    shown: int
    painted: int
    without: str
    unclear: int


def convert(recording: Recording, target: Path) -> Converted:
    """Write ``target``. ``RecordingError`` where that fails."""
    shown = clean(str(target))
    try:
        file = target.open("xb")
    except FileExistsError:
        raise RecordingError(f"{shown}: it is there already; name another file", os.EX_CANTCREAT) from None
    except OSError as error:
        raise not_written(shown, clean(error.strerror or str(error))) from None
    try:
        with file:
            return _write(file, recording)
    except BaseException as error:
        # Half of it helps nobody, and the source is there.
        target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            words = f"{shown}: cannot be written ({error.strerror}); what there was of it is removed"
            raise RecordingError(words, os.EX_IOERR) from None
        raise


def _write(file: IO[bytes], recording: Recording) -> Converted:
    writer = Writer(file, compression=CompressionType.NONE)
    writer.start(library=LIBRARY)
    channels, painter = _Channels(writer), _Painter()
    empty, unclear = True, 0
    for message in recording:
        empty = False
        channels.keep(message)
        try:
            parse(message)
            _show(message, channels, painter)
        except MessageError:
            unclear += 1
    if empty:
        raise RecordingError(f"{clean(str(recording.path))}: there is no message in it that can be converted")
    writer.finish()
    return Converted(channels.shown, painter.painted, painter.without, unclear)


def _show(message: Recorded, channels: _Channels, painter: _Painter) -> None:
    """What can be looked at of it."""
    time_ns, camera = message.log_ns, message.camera
    if message.kind == "image":
        jpeg = message.data[parse_image(message.data).payload_offset :]
        seen = foxglove.compressed_image(time_ns, camera, jpeg)
        channels.show("picture", foxglove.COMPRESSED_IMAGE, message, seen)
        over = painter.over(message)
        if over is not None:
            seen = foxglove.compressed_image(time_ns, camera, over)
            channels.show("overlay", foxglove.COMPRESSED_IMAGE, message, seen)
    elif message.kind in ("mask", "frame"):
        header, labels = _pixels(message)
        name, pixels = "luminance", labels
        if message.kind == "mask":
            painter.keep_mask(message.host, header, labels)
            # A person is white, whatever the label; of several classes each has its own grey.
            name, pixels = "mask", (labels * (255 // max(1, header.format.classes - 1))).astype(np.uint8)
        channels.show(name, foxglove.RAW_IMAGE, message, foxglove.raw_image(time_ns, camera, pixels))
    elif message.kind == "info":
        painter.keep_info(message)


def _pixels(message: Recorded) -> tuple[MaskHeader, NDArray[np.uint8]]:
    header = parse_header(message.data)
    pixels = unpack_mask(message.data[header.payload_offset :], header.format)
    if message.kind == "mask":
        # A label that is not below the classes is no person's, and its grey would be another's.
        pixels = pixels * (pixels < header.format.classes)
    return header, pixels


class _Painter:
    """Lays masks over their pictures, which come later."""

    def __init__(self) -> None:
        self._masks: Newest[tuple[str, str, int, int], NDArray[np.uint8]] = Newest(_MASKS_KEPT)
        self._infos: Newest[tuple[str, str, int], dict[str, Any]] = Newest(_SESSIONS_KEPT)
        self.painted = 0
        self.without = ""

    def keep_mask(self, host: str, header: MaskHeader, labels: NDArray[np.uint8]) -> None:
        self._masks[host, header.camera, header.session, header.sequence] = labels

    def keep_info(self, message: Recorded) -> None:
        _, camera, body = parse_json(message.data)
        self._infos[message.host, camera, body["session"]] = body

    def over(self, message: Recorded) -> bytes | None:
        """JPEG of the picture with the person over it; None where mask, info or Pillow are missing."""
        header = parse_image(message.data)
        of = header.mask
        labels = self._masks.get((message.host, of.camera, of.session, of.sequence))
        info = self._infos.get((message.host, of.camera, of.session))
        if labels is None or info is None or not info["persons"]:
            return None
        try:
            picture = pictures.decode(header, memoryview(message.data)[header.payload_offset :])
        except PermanentError:
            self.without = (
                "pictures with masks over them need Pillow: apt install python3-pil, or pip install pillow"
            )
            return None
        person = np.isin(labels, info["persons"])
        made = _jpeg(painted(picture, pictures.stretched(person, pictures.geometry_of(info), header)))
        self.painted += 1
        return made


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


class _Channels:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self.shown = 0

    def keep(self, message: Recorded) -> None:
        """The message as it was."""
        name = f"{_host(message)}{message.kind}/{message.camera}"
        text = SCHEMAS[message.kind].encode()
        self._add(name, ENCODING, (f"gnetsegd.{message.kind}", ENCODING, text), message, message.data)

    def show(self, name: str, schema: str, of: Recorded, data: bytes) -> None:
        topic = f"{_host(of)}{of.camera}/{name}"
        text = b"" if schema in self._schemas else foxglove.schema(schema)
        self._add(topic, foxglove.MESSAGE_ENCODING, (schema, foxglove.SCHEMA_ENCODING, text), of, data)
        self.shown += 1

    def _add(
        self, topic: str, encoding: str, schema: tuple[str, str, bytes], of: Recorded, data: bytes
    ) -> None:
        if topic not in self._channels:
            if schema[0] not in self._schemas:
                self._schemas[schema[0]] = self._writer.register_schema(*schema)
            self._channels[topic] = self._writer.register_channel(topic, encoding, self._schemas[schema[0]])
        self._writer.add_message(self._channels[topic], of.log_ns, data, of.publish_ns)


def _host(message: Recorded) -> str:
    """In front of a topic: whose it is, in a recording of many machines."""
    return f"{message.host}/" if message.host else ""

"""A recording with pictures and masks in Foxglove's own schemas: https://docs.foxglove.dev/docs/sdk/schemas."""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from ...errors import MessageError
from ...message import parse_header, parse_image, unpack_mask
from ...recordings import ENCODING, LIBRARY, RecordingError
from ...recordings.schemas import SCHEMAS
from ...text import clean
from ...vendor.mcap.writer import CompressionType, Writer

if TYPE_CHECKING:
    from pathlib import Path

    from ...recordings.reading import Recorded, Recording

_TIME = {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}}
_COMMON = {
    "timestamp": _TIME,
    "frame_id": {"type": "string"},
    "data": {"type": "string", "contentEncoding": "base64"},
}
_SIZE = {name: {"type": "integer"} for name in ("width", "height", "step")}
_FORMS: dict[str, dict[str, Any]] = {
    "foxglove.RawImage": _COMMON | _SIZE | {"encoding": {"type": "string"}},
    "foxglove.CompressedImage": _COMMON | {"format": {"type": "string"}},
}


def convert(recording: Recording, target: Path) -> int:
    """Write ``target``; how many pictures and masks it shows. ``RecordingError`` where that fails."""
    shown = clean(str(target))
    try:
        file = target.open("xb")
    except FileExistsError:
        raise RecordingError(f"{shown}: it is there already; name another file", os.EX_CANTCREAT) from None
    except OSError as error:
        raise RecordingError(f"{shown}: cannot be written ({error.strerror})", os.EX_CANTCREAT) from None
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


def _write(file: IO[bytes], recording: Recording) -> int:
    writer = Writer(file, compression=CompressionType.NONE)
    writer.start(library=LIBRARY)
    made = _Channels(writer)
    for message in recording:
        made.keep(message)
        with suppress(MessageError):
            made.show(message)
    writer.finish()
    return made.shown


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

    def show(self, message: Recorded) -> None:
        """What can be looked at of it."""
        body: dict[str, Any]
        if message.kind == "image":
            jpeg = message.data[parse_image(message.data).payload_offset :]
            name, schema, body = "picture", "foxglove.CompressedImage", {"data": jpeg, "format": "jpeg"}
        elif message.kind in ("mask", "frame"):
            header = parse_header(message.data)
            labels = unpack_mask(message.data[header.payload_offset :], header.format)
            # A person is white, whatever the label; of several classes each has its own grey.
            step = 255 // max(1, header.format.classes - 1) if message.kind == "mask" else 1
            # A label that is not below the classes is no person's, and its grey would be another's.
            if message.kind == "mask":
                labels = labels * (labels < header.format.classes)
            name, schema = {"mask": "mask", "frame": "luminance"}[message.kind], "foxglove.RawImage"
            body = {
                "width": labels.shape[1],
                "height": labels.shape[0],
                "step": labels.shape[1],
                "encoding": "mono8",
                "data": (labels * step).astype("uint8").tobytes(),
            }
        else:
            return
        sec, nsec = divmod(message.log_ns, 1_000_000_000)
        body |= {
            "timestamp": {"sec": sec, "nsec": nsec},
            "frame_id": message.camera,
            "data": base64.b64encode(body["data"]).decode(),
        }
        text = json.dumps({"title": schema, "type": "object", "properties": _FORMS[schema]}).encode()
        data = json.dumps(body).encode()
        self._add(
            f"{_host(message)}{message.camera}/{name}", "json", (schema, "jsonschema", text), message, data
        )
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

"""Write the golden messages: python tests/vectors/messages/generate.py

Written from the table in docs/messages.md, byte by byte, without gnetsegd's own code: that they
agree is what tests/test_message.py checks.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

HASH = bytes(range(0xA0, 0xB0))

#: 5x3 pixels, so that rows of 4, 2 and 1 bit end inside a byte.
PERSON = [[0, 0, 1, 0, 1], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
FOUR = [[0, 1, 2, 3, 0], [3, 2, 1, 0, 3], [1, 1, 2, 2, 3]]
SIXTEEN = [[0, 1, 2, 15, 4], [15, 14, 13, 12, 11], [7, 8, 9, 10, 15]]

HEADER: dict[str, Any] = {
    "camera": "cam0",
    "minor": 0,
    "payload_offset": 128,
    "fallback": False,
    "bits": 8,
    "classes": 2,
    "width": 5,
    "height": 3,
    "sequence": 1000,
    "session": 0x000F_1122_3344_5566,
    "sensor_timestamp_ns": 12_345_678_901_234,
    "publish_timestamp_ns": 12_345_690_000_000,
    "dropped_camera": 2,
    "dropped_daemon": 7,
    "backend": "standin",
    "model_hash": HASH.hex(),
}

INFO: dict[str, Any] = {
    "schema": 1,
    "version": "0.1.0",
    "camera": "cam0",
    "session": HEADER["session"],
    "backend": "standin",
    "model": {
        "id": "gnetseg-large-cpu30",
        "sha256": (HASH + HASH).hex(),
        "title": "A network for vectors",
        "licence": "Apache-2.0",
    },
    "runtime": "litert 2.3.0",
    "labels": ["background", "person"],
    "persons": [1],
    "input": {"width": 224, "height": 224, "pixel_format": "Y"},
    "mask": {"width": 224, "height": 224, "bits": 8, "stride": 224},
    "geometry": {
        "mode": "center-crop",
        "x": 0.125,
        "y": 0.0,
        "width": 0.75,
        "height": 1.0,
        "sensor_width": 640,
        "sensor_height": 480,
    },
    "fps_nominal": 30.0,
    "monotonic_to_wall_offset_ns": 1_700_000_000_123_456_789,
}

STATUS: dict[str, Any] = {
    "schema": 1,
    "camera": "cam0",
    "session": HEADER["session"],
    "state": "running",
    "reason": "",
    "backend": "standin",
    "fallback": False,
    "fps": 29.97,
    "subscribers": True,
    "uptime_s": 61.5,
    "timestamp_ns": 12_345_690_500_000,
    "counters": {
        "frames": 1000,
        "masks": 991,
        "dropped_camera": 2,
        "dropped_daemon": 7,
        "losses": 1,
        "camera_reopens": 0,
        "accelerator_reopens": 0,
    },
    "camera_device": {"driver": "video", "description": "clip.mp4", "fps": 30.0},
    "accelerator": {"threads": 2},
}


def packed(rows: list[list[int]], bits: int) -> bytes:
    """Rows of labels, the leftmost pixel in the most significant bits, each row to whole bytes."""
    out = b""
    for row in rows:
        text = "".join(f"{label:0{bits}b}" for label in row)
        text += "0" * (-len(text) % 8)
        out += bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    return out


#: 16x8 pixels, the left half red and the right half blue.
PICTURE = (Path(__file__).parent / "picture.jpg").read_bytes()
REGION = [0.125, 0.0, 0.75, 1.0]


def header_bytes(kind: str, header: dict[str, Any], payload_size: int) -> bytes:
    """The header, one field after the other as in docs/messages.md."""

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little")

    stride = (header["width"] * header["bits"] + 7) // 8
    out = f"{kind}/{header['camera']}".encode().ljust(16, b"\0")
    out += b"GSEG" + number(1, 1) + number(header["minor"], 1) + number(header["payload_offset"], 2)
    out += number(1 if header["fallback"] else 0, 4)
    out += number(header["bits"], 1) + number(header["classes"], 1)
    out += number(header["width"], 2) + number(header["height"], 2) + number(stride, 2) + number(0, 4)
    out += number(header["sequence"], 8) + number(header["session"], 8)
    out += number(header["sensor_timestamp_ns"], 8) + number(header["publish_timestamp_ns"], 8)
    out += number(header["dropped_camera"], 4) + number(header["dropped_daemon"], 4)
    out += str(header["backend"]).encode().ljust(16, b"\0") + bytes.fromhex(header["model_hash"])
    out += number(payload_size, 4) + bytes(12)
    # What later minor versions append means nothing to a reader of today.
    return out + bytes([0xEE]) * (int(header["payload_offset"]) - len(out))


def json_message(kind: str, body: dict[str, Any]) -> bytes:
    text = json.dumps(body, separators=(",", ":"), sort_keys=True)
    return f"{kind}/cam0".encode().ljust(16, b"\0") + text.encode()


class Writer:
    """Writes NAME.hex (the message, 16 bytes a line) and NAME.json (what it means)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, data: bytes, meaning: dict[str, Any]) -> bytes:
        lines = [data[i : i + 16].hex(" ") for i in range(0, len(data), 16)]
        (self.folder / f"{name}.hex").write_text("\n".join(lines) + "\n", "ascii")
        (self.folder / f"{name}.json").write_text(json.dumps(meaning, indent=1) + "\n", "utf-8")
        return data

    def mask(
        self,
        name: str,
        what: str,
        rows: list[list[int]],
        kind: str = "mask",
        later: dict[int, bytes] | None = None,
        **changes: Any,
    ) -> bytes:
        """``later``: bytes by their offset that only a later version would write."""
        header = HEADER | {"height": len(rows), "width": len(rows[0])} | changes
        payload = packed(rows, header["bits"])
        header_json = header | {
            "stride": (header["width"] * header["bits"] + 7) // 8,
            "payload_size": len(payload),
        }
        meaning = {"what": what, "kind": kind, "header": header_json, "labels": rows}
        data = header_bytes(kind, header, len(payload)) + payload
        for offset, new in (later or {}).items():
            data = changed(data, offset, new)
        if later:
            meaning["later"] = True
        return self.write(name, data, meaning)

    def image(self, name: str, what: str, later: int = 0, **changes: Any) -> bytes:
        """``later``: bytes that a later version would append to the header."""
        header = HEADER | {"bits": 0, "classes": 0, "width": 16, "height": 8, "payload_offset": 160} | changes
        header["payload_offset"] += later
        region = b"".join(struct.pack("<d", value) for value in REGION)
        data = header_bytes("image", header | {"payload_offset": 128}, len(PICTURE))
        data = changed(data, 22, header["payload_offset"].to_bytes(2, "little"))
        data += region + bytes([0xEE]) * later + PICTURE
        header |= {"payload_size": len(PICTURE), "region": REGION}
        meaning = {"what": what, "kind": "image", "header": header}
        return self.write(name, data, meaning)

    def json(self, name: str, what: str, kind: str, body: dict[str, Any]) -> bytes:
        meaning = {"what": what, "kind": kind, "camera": "cam0", "body": body}
        return self.write(name, json_message(kind, body), meaning)

    def malformed(self, name: str, what: str, data: bytes, error: str, read_as: str = "mask") -> None:
        """``error``: part of the sentence that gnetsegd's own reader refuses it with."""
        meaning = {"what": what, "kind": "malformed", "read_as": read_as, "error": error}
        self.write(f"malformed-{name}", data, meaning)


def changed(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def generate(folder: Path) -> None:
    """Write every vector into ``folder``."""
    to = Writer(folder)
    mask = to.mask("mask-8bit", "a byte a pixel, 2 classes", PERSON)
    to.mask(
        "mask-4bit",
        "4 bits a pixel, 16 classes; rows of 5 pixels end in half a byte",
        SIXTEEN,
        bits=4,
        classes=16,
    )
    to.mask(
        "mask-2bit",
        "2 bits a pixel, 4 classes; the last byte of a row holds one pixel",
        FOUR,
        bits=2,
        classes=4,
    )
    to.mask("mask-1bit", "1 bit a pixel; 3 unused bits at the end of a row", PERSON, bits=1)
    to.mask("mask-1bit-9x2", "1 bit a pixel; a row is one byte and one bit", [[1] * 9, [0] * 8 + [1]], bits=1)
    to.mask("mask-1x1", "the smallest mask", [[1]])
    to.mask("mask-nobody", "all background: the network saw nobody, which is not 'no data'", [[0] * 5] * 3)
    to.mask("mask-fallback", "the stand-in took over from the preferred backend", PERSON, fallback=True)
    to.mask("mask-other-camera", "the longest camera name", PERSON, camera="door-no1")
    to.mask(
        "mask-big-numbers", "the largest values that the fields hold", PERSON,
        sequence=2**64 - 1, session=2**53 - 1, sensor_timestamp_ns=2**64 - 2, publish_timestamp_ns=2**64 - 1,
        dropped_camera=2**32 - 1, dropped_daemon=2**32 - 1, backend="sixteen-letters!",
    )  # fmt: skip
    to.mask(
        "mask-minor-7",
        "a later minor version: skip what it appended to the header",
        PERSON,
        minor=7,
        payload_offset=160,
    )
    to.mask(
        "mask-unknown-flags",
        "every flag but the known one: ignore what you do not know",
        PERSON,
        later={24: b"\xfe\xff\xff\xff"},
    )
    to.mask(
        "mask-reserved",
        "reserved bytes that are not 0: ignore them",
        PERSON,
        later={36: b"\xee" * 4, 116: b"\xee" * 12},
    )
    to.mask(
        "mask-no-class",
        "labels that are not below classes: no daemon sends them, and a reader does not fall over them",
        [[0, 1, 2, 254, 255]],
    )
    luminance = [[16, 32, 64, 128], [255, 0, 1, 2]]
    to.mask("frame", "the luminance that a mask belongs to", luminance, "frame", classes=0)

    image = to.image("image", "the JPEG that a mask belongs to: 16x8 pixels, left red, right blue")
    to.image("image-minor-3", "a later minor version: skip what it appended", later=24, minor=3)

    info = to.json("info", "what the masks are", "info", INFO)
    to.json(
        "info-more",
        "a later version's info: ignore fields that you do not know",
        "info",
        INFO | {"zoom": [1, 2]},
    )
    status = to.json("status-running", "all is well", "status", STATUS)
    to.json(
        "status-no-camera", "no masks, and why", "status",
        STATUS | {
            "state": "no-camera",
            "reason": "/dev/video0 is not there; plug it in",
            "fps": 0.0,
            "camera_device": {"driver": "v4l2", "description": "", "fps": 0.0},
        },
    )  # fmt: skip

    to.json(
        "status-unknown-state",
        "a later version's state: take it for not running",
        "status",
        STATUS | {"state": "state-of-2031", "reason": "something new"},
    )

    to.malformed("empty", "no byte at all", b"", "shorter than the header")
    to.malformed("topic-only", "a topic and nothing more", mask[:16], "shorter than the header")
    to.malformed("cut-header", "cut inside the header", mask[:127], "shorter than the header")
    to.malformed("cut-mask", "the last byte is missing", mask[:-1], "its header promises 143")
    to.malformed("extra-byte", "a byte too many", mask + b"\0", "its header promises 143")
    to.malformed("magic", "another protocol", changed(mask, 16, b"JPEG"), "magic")
    to.malformed("major-2", "a major version that changes all", changed(mask, 20, b"\2"), "major version 2")
    to.malformed(
        "short-header", "a header size below 128", changed(mask, 22, b"\x40\0"), "a header of 64 bytes"
    )
    to.malformed(
        "long-header", "a header longer than the message", changed(mask, 22, b"\xff\xff"), "promises 65550"
    )
    to.malformed("bits-3", "3 bits a pixel", changed(mask, 28, b"\3"), "3 bits a pixel")
    to.malformed("bits-0", "no bits a pixel", changed(mask, 28, b"\0"), "0 bits a pixel")
    to.malformed(
        "stride", "a stride other than the width asks for", changed(mask, 34, b"\6\0"), "rows of 5 bytes"
    )
    to.malformed(
        "payload-size", "a payload size other than stride * height", changed(mask, 112, b"\x10"), "15 in all"
    )
    nothing = changed(changed(mask, 30, bytes(6)), 112, bytes(4))[:128]
    to.malformed("no-pixels", "0x0 pixels", changed(nothing, 32, b"\3\0"), "has no pixels")
    to.malformed("topic", "a topic that is not ours", changed(mask, 0, b"task"), "is not a topic")
    to.malformed("topic-camera", "capitals in the camera's name", changed(mask, 5, b"CAM0"), "is not a topic")
    to.malformed(
        "topic-not-padded", "something behind the topic's NUL", changed(mask, 15, b"x"), "is not a topic"
    )
    to.malformed(
        "topic-status",
        "a status topic with a mask's header",
        changed(mask, 0, b"status/cam0"),
        "no mask's header",
    )
    to.malformed(
        "backend",
        "a terminal's escape sequence as the backend",
        changed(mask, 80, b"\x1b[31m"),
        "not printable",
    )

    short = changed(image, 22, b"\x80\0")
    to.malformed("image-header", "a mask's header size", short, "a header of 128 bytes", "image")
    to.malformed("image-cut", "cut inside the header", image[:150], "shorter than the header's 160", "image")
    to.malformed("image-size", "a byte too many", image + b"\0", "its header promises", "image")
    to.malformed("image-bits", "8 bits a pixel", changed(image, 28, b"\x08"), "8 bits is none", "image")
    to.malformed("image-flat", "no rows", changed(image, 32, bytes(2)), "of 16x0 pixels", "image")
    to.malformed("image-png", "another kind of file", changed(image, 160, b"\x89PNG"), "is no JPEG", "image")
    nan = changed(image, 128, b"\xff" * 8)
    to.malformed("image-region", "a part of the sensor that is no number", nan, "is no part of it", "image")
    frame = changed(image, 0, b"frame")
    to.malformed("image-topic", "another kind's topic", frame, "no picture's header", "image")

    to.malformed("json-cut", "cut inside the JSON", info[:-1], "is not JSON", "json")
    to.malformed("json-array", "JSON, but not an object", status[:16] + b"[1]", "status is list", "json")
    to.malformed("json-not-utf8", "not even text", status[:16] + b"{\xff}", "is not JSON", "json")
    lacking = {key: value for key, value in STATUS.items() if key != "state"}
    to.malformed(
        "json-lacks", "a status without state", json_message("status", lacking), "status lacks state", "json"
    )
    wrong = STATUS | {"counters": STATUS["counters"] | {"masks": "991"}}
    to.malformed(
        "json-type",
        "a count that is text",
        json_message("status", wrong),
        "status.counters.masks is str",
        "json",
    )
    other = STATUS | {"camera": "cam1"}
    to.malformed(
        "json-camera", "another camera than the topic's", json_message("status", other), "'cam1'", "json"
    )
    later = json_message("info", INFO | {"schema": 2})
    to.malformed("json-schema-2", "a schema that changes all", later, "schema 2", "json")
    huge = status.replace(b"29.97", b"1e301")
    to.malformed("json-huge", "a number beyond 1e300", huge, "status.fps is not a finite number", "json")
    infinite = status.replace(b"29.97", b"Infinity")
    to.malformed("json-infinity", "a number that JSON lacks", infinite, "is not a number of JSON", "json")


if __name__ == "__main__":
    generate(Path(__file__).parent)

"""Writes the golden vectors of docs/protocol.md: ``NAME.hex`` (the bytes) and ``NAME.json`` (their
meaning). Run it after a change of the protocol, and read the difference before it is committed:

    python tests/vectors/link/generate.py
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link import constants as c
from gnetsegd.link.header import pack_message
from gnetsegd.link.model_upload import ModelRecord, pack_chunk, pack_progress
from gnetsegd.link.requests import Capabilities, Hello, Status, pack_epoch

HERE = Path(__file__).parent
EPOCH = 0x7A10C0DE
MODEL = b"the bytes of a network"
RECORD = ModelRecord(
    hashlib.sha256(MODEL).digest(), len(MODEL), FrameSpec(224, 160, "YUV444"), MaskFormat(112, 80, 8, 21)
)


def message(kind: c.Type, sequence: int, payload: bytes = b"", **fields: int) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a message, and every field of its header as docs/protocol.md names them."""
    data = pack_message(kind, EPOCH, sequence, payload, **fields)
    meaning = {
        "structure": "message",
        "type": int(kind),
        "flags": fields.get("flags", 0),
        "format": fields.get("pixel", 0),
        "code": fields.get("code", 0),
        "epoch": EPOCH,
        "sequence": sequence,
        "payload length": len(payload),
        "width": fields.get("width", 0),
        "height": fields.get("height", 0),
        "model id": fields.get("model_id", 0),
        "payload": payload.hex(),
    }
    return data, meaning


def vectors() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Every vector by its name."""
    crc, model = c.FLAG_CRC, RECORD.model_id
    pixels = bytes(range(0, 256, 8))
    record = {
        "sha256": RECORD.sha256.hex(),
        "size": RECORD.size,
        "input": [224, 160, c.PIXEL_FORMAT_CODES["YUV444"]],
        "classes": 21,
        "mask": [112, 80],
    }
    modern = Capabilities(
        features=3, slots=3, mask_bits=(1, 2, 4, 8), pixel_formats=(0, 1, 2, 3), state=0,
        max_payload=1 << 20, max_model=16 << 20, max_chunk=65536, model=RECORD, firmware="gnetseg-device 0.1",
    )  # fmt: skip
    old = Capabilities(
        features=0, slots=2, mask_bits=(8,), pixel_formats=(0,), state=1,
        max_payload=50176, max_model=0, max_chunk=0, model=None, minor=0,
    )  # fmt: skip
    status = Status(1, 9, 3, 2, EPOCH, 43, model, 65536, 200000, 42, 40, 2, 1, 5, 7)
    return {
        "capabilities": (
            modern.pack(),
            {
                "structure": "capabilities", "major": 1, "minor": 1, "features": 3, "slots": 3,
                "mask encodings": 15, "pixel formats": 15, "state": 0, "longest payload": 1 << 20,
                "largest model": 16 << 20, "largest chunk": 65536, "model": record,
                "firmware": "gnetseg-device 0.1",
            },
        ),
        "capabilities-1.0": (
            old.pack(),
            {
                "structure": "capabilities", "major": 1, "minor": 0, "features": 0, "slots": 2,
                "mask encodings": 8, "pixel formats": 1, "state": 1, "longest payload": 50176,
                "largest model": 0, "largest chunk": 0, "model": None, "firmware": "",
            },
        ),
        "hello": (
            Hello(EPOCH, mask_bits=1, features=2).pack(),
            {"structure": "hello", "major": 1, "minor": 1, "mask bits": 1, "features": 2, "epoch": EPOCH},
        ),
        "abort": (pack_epoch(EPOCH + 1), {"structure": "abort", "epoch": EPOCH + 1}),
        "status": (
            status.pack(),
            {
                "structure": "status", "state": 1, "last error": 9, "slots": 3, "in flight": 2,
                "epoch": EPOCH, "next sequence": 43, "model id": model, "upload offset": 65536,
                "upload size": 200000, "frames": 42, "results": 40, "errors": 2, "bad payloads": 1,
                "stale": 5, "sessions": 7,
            },
        ),
        "frame-y": message(c.Type.FRAME, 1, pixels, pixel=0, width=8, height=4, model_id=model),
        "frame-yuv420-crc": message(
            c.Type.FRAME, 2, bytes(range(24)), flags=crc, pixel=1, width=4, height=4, model_id=model
        ),
        # 32 + 480 = 512: the pad follows.
        "frame-padded": message(
            c.Type.FRAME, 0xFFFFFFFF, bytes(i & 255 for i in range(480)),
            pixel=3, width=16, height=10, model_id=model,
        ),
        # 32 + 476 + 4 = 512: the pad follows the CRC.
        "result-8bit-crc-padded": message(
            c.Type.RESULT, 3, bytes(i & 1 for i in range(476)),
            flags=crc, pixel=8, width=28, height=17, model_id=model,
        ),
        "result-1bit": message(
            c.Type.RESULT, 4, bytes.fromhex("f080"), pixel=1, width=5, height=2, model_id=model
        ),
        "result-4bit": message(
            c.Type.RESULT, 5, bytes.fromhex("123040"), pixel=4, width=5, height=1, model_id=model
        ),
        "result-2bit": message(
            c.Type.RESULT, 6, bytes.fromhex("1b40"), pixel=2, width=5, height=1, model_id=model
        ),
        "model-begin": message(c.Type.MODEL_BEGIN, 7, RECORD.pack(), flags=crc),
        "model-chunk": message(c.Type.MODEL_CHUNK, 8, pack_chunk(0, MODEL), flags=crc),
        "model-progress": message(c.Type.MODEL_PROGRESS, 8, pack_progress(22, 22), flags=crc),
        "model-commit": message(c.Type.MODEL_COMMIT, 9, RECORD.sha256, flags=crc),
        "model-ready": message(c.Type.MODEL_READY, 9, RECORD.pack(), flags=crc),
        "error-no-model": message(
            c.Type.ERROR, 10, b"there is no model; upload one", code=c.Code.NO_MODEL
        ),
        "error-lost": message(
            c.Type.ERROR, 0, b"the header's CRC is wrong", flags=c.FLAG_LOST, code=c.Code.BAD_HEADER
        ),
    }  # fmt: skip


def render(data: bytes) -> str:
    """Hexadecimal, 16 bytes a line."""
    return "".join(data[i : i + 16].hex(" ") + "\n" for i in range(0, len(data), 16))


def main() -> None:
    for name, (data, meaning) in vectors().items():
        (HERE / f"{name}.hex").write_text(render(data), "ascii")
        (HERE / f"{name}.json").write_text(json.dumps(meaning, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

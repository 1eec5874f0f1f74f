"""The golden vectors agree with docs/protocol.md, read here by offset and without the codec."""

from __future__ import annotations

import importlib.util
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[1] / "vectors" / "link"
NAMES = sorted(path.stem for path in VECTORS.glob("*.json"))


def load(name: str) -> tuple[bytes, dict[str, Any]]:
    data = bytes.fromhex((VECTORS / f"{name}.hex").read_text("ascii"))
    return data, json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


def u(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


def record(data: bytes) -> dict[str, Any] | None:
    if not any(data):
        return None
    return {
        "sha256": data[:32].hex(),
        "size": u(data, 32, 4),
        "input": [u(data, 36, 2), u(data, 38, 2), data[40]],
        "classes": u(data, 42, 2),
        "mask": [u(data, 44, 2), u(data, 46, 2)],
    }


def read_message(data: bytes) -> dict[str, Any]:
    assert data[:2] == b"GS"
    assert (data[2], data[3]) == (1, 32)
    assert u(data, 28, 4) == zlib.crc32(data[:28])
    length = u(data, 16, 4)
    payload, end = data[32 : 32 + length], 32 + length
    if data[5] & 1:
        assert u(data, end, 4) == zlib.crc32(payload)
        end += 4
    if end % 512 == 0:
        assert data[end:] == bytes(4)
        end += 4
    assert end == len(data), "bytes behind the end of the message"
    return {
        "structure": "message",
        "type": data[4],
        "flags": data[5],
        "format": data[6],
        "code": data[7],
        "epoch": u(data, 8, 4),
        "sequence": u(data, 12, 4),
        "payload length": length,
        "width": u(data, 20, 2),
        "height": u(data, 22, 2),
        "model id": u(data, 24, 4),
        "payload": payload.hex(),
    }


def read_capabilities(data: bytes) -> dict[str, Any]:
    assert data[:4] == b"GSLK"
    assert u(data, 6, 2) == len(data)
    return {
        "structure": "capabilities",
        "major": data[4],
        "minor": data[5],
        "features": u(data, 8, 4),
        "slots": data[12],
        "mask encodings": data[13],
        "pixel formats": data[14],
        "state": data[15],
        "longest payload": u(data, 16, 4),
        "largest model": u(data, 20, 4),
        "largest chunk": u(data, 24, 4),
        "model": record(data[32:96]),
        "firmware": data[96:128].rstrip(b"\0").decode("ascii"),
    }


def read_hello(data: bytes) -> dict[str, Any]:
    assert (data[:4], len(data)) == (b"GSLK", 16)
    return {
        "structure": "hello",
        "major": data[4],
        "minor": data[5],
        "mask bits": data[6],
        "features": u(data, 8, 4),
        "epoch": u(data, 12, 4),
    }


def read_abort(data: bytes) -> dict[str, Any]:
    assert len(data) == 4
    return {"structure": "abort", "epoch": u(data, 0, 4)}


def read_status(data: bytes) -> dict[str, Any]:
    assert len(data) == 64
    names = (
        "epoch", "next sequence", "model id", "upload offset", "upload size",
        "frames", "results", "errors", "bad payloads", "stale", "sessions",
    )  # fmt: skip
    return {
        "structure": "status",
        "state": data[0],
        "last error": data[1],
        "slots": data[2],
        "in flight": data[3],
        **{name: u(data, 4 + 4 * index, 4) for index, name in enumerate(names)},
    }


READERS = {
    "message": read_message,
    "capabilities": read_capabilities,
    "hello": read_hello,
    "abort": read_abort,
    "status": read_status,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_read_by_the_offsets_of_the_protocol_has_the_stated_meaning(name: str) -> None:
    data, meaning = load(name)
    assert READERS[meaning["structure"]](data) == meaning


def test_the_codec_writes_the_vectors_to_the_byte() -> None:
    spec = importlib.util.spec_from_file_location("link_vectors", VECTORS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = module.vectors()
    assert sorted(written) == NAMES
    for name, (data, meaning) in written.items():
        assert (data, meaning) == load(name), name

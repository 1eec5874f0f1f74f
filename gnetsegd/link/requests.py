"""The data of the vendor requests on endpoint 0; docs/protocol.md gives each field's place.

A structure only ever grows at its end, so a reader fills what is absent with 0 and ignores the rest.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..text import clean
from .constants import MAJOR, MASK_BITS, MAX_PAYLOAD, MAX_SLOTS, MINOR
from .errors import IncompatibleDevice, LinkError
from .model_upload import RECORD_SIZE, ModelRecord, parse_record

MAGIC = b"GSLK"
_CAPABILITIES = struct.Struct(f"<4sBBHIBBBBIII4x{RECORD_SIZE}s32s")
_HELLO = struct.Struct("<4sBBBxII")
_STATUS = struct.Struct("<BBBBIIIIIIIIIII16x")
_EPOCH = struct.Struct("<I")
CAPABILITIES_SIZE = _CAPABILITIES.size
#: Version 1.0 ended before the firmware's name.
CAPABILITIES_SIZE_1_0 = 96
HELLO_SIZE = _HELLO.size
STATUS_SIZE = _STATUS.size
#: What a host asks for in an IN request, so that it sees a longer structure whole.
IN_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a device can do, and the model that it has (None if there is none). Sizes in bytes."""

    features: int
    slots: int
    mask_bits: tuple[int, ...]
    pixel_formats: tuple[int, ...]
    state: int
    max_payload: int
    max_model: int
    max_chunk: int
    model: ModelRecord | None
    firmware: str = ""
    major: int = MAJOR
    minor: int = MINOR

    def pack(self) -> bytes:
        """The structure as ``minor`` has it."""
        data = _CAPABILITIES.pack(
            MAGIC,
            self.major,
            self.minor,
            CAPABILITIES_SIZE if self.minor >= 1 else CAPABILITIES_SIZE_1_0,
            self.features,
            self.slots,
            sum(MASK_BITS[bits] for bits in self.mask_bits),
            sum(1 << code for code in self.pixel_formats),
            self.state,
            self.max_payload,
            self.max_model,
            self.max_chunk,
            self.model.pack() if self.model else bytes(RECORD_SIZE),
            self.firmware.encode("ascii", "replace")[:32],
        )
        return data if self.minor >= 1 else data[:CAPABILITIES_SIZE_1_0]


def parse_capabilities(data: bytes | bytearray | memoryview) -> Capabilities:
    """Read CAPABILITIES.

    Raises ``IncompatibleDevice`` for a device that is not ours or of another major version, and
    for one whose words cannot be used (no slots is for the caller to judge: it may pass).
    """
    data = bytes(data)
    if len(data) < 8 or data[:4] != MAGIC:
        raise IncompatibleDevice(
            "the device answers CAPABILITIES with something else: it is no gnetseg accelerator, though it "
            "has the same USB ids; unplug it or configure other ids"
        )
    if data[4] != MAJOR:
        raise IncompatibleDevice(
            f"the device speaks version {data[4]}.{data[5]} of the link, this host {MAJOR}.{MINOR}; "
            f"update the {'device' if data[4] < MAJOR else 'host'}"
        )
    if len(data) < CAPABILITIES_SIZE_1_0:
        raise LinkError(f"CAPABILITIES has {len(data)} bytes, at least {CAPABILITIES_SIZE_1_0} are due")
    (
        _, major, minor, _, features, slots, encodings, formats, state,
        max_payload, max_model, max_chunk, record, firmware,
    ) = _CAPABILITIES.unpack(data[:CAPABILITIES_SIZE].ljust(CAPABILITIES_SIZE, b"\0"))  # fmt: skip
    if slots > MAX_SLOTS or not 0 < max_payload <= MAX_PAYLOAD:
        raise IncompatibleDevice(
            f"the device offers {slots} slots of {max_payload} bytes; allowed are at most {MAX_SLOTS} "
            f"of 1 to {MAX_PAYLOAD}; update its firmware"
        )
    return Capabilities(
        features=features,
        slots=slots,
        mask_bits=tuple(bits for bits, flag in MASK_BITS.items() if encodings & flag),
        pixel_formats=tuple(code for code in range(8) if formats & 1 << code),
        state=state,
        max_payload=max_payload,
        max_model=max_model,
        max_chunk=max_chunk,
        model=parse_record(record) if any(record) else None,
        firmware=clean(firmware.rstrip(b"\0").decode("ascii", "replace")),
        major=major,
        minor=minor,
    )


@dataclass(frozen=True, slots=True)
class Hello:
    """What a host opens a session with."""

    epoch: int
    mask_bits: int = 8
    features: int = 0
    major: int = MAJOR
    minor: int = MINOR

    def pack(self) -> bytes:
        return _HELLO.pack(MAGIC, self.major, self.minor, self.mask_bits, self.features, self.epoch)


def parse_hello(data: bytes | bytearray | memoryview) -> Hello:
    """Read a HELLO; ``LinkError`` if it is none. What it asks for is the device's to judge."""
    if len(data) < HELLO_SIZE:
        raise LinkError(f"a HELLO has {HELLO_SIZE} bytes, not {len(data)}")
    magic, major, minor, bits, features, epoch = _HELLO.unpack_from(data)
    if magic != MAGIC:
        raise LinkError(f"the magic of HELLO is {magic.hex()}")
    return Hello(epoch, bits, features, major, minor)


@dataclass(slots=True)
class Status:
    """What GET_STATUS tells. Counters run from power-up or SOFT_RESET, modulo 2**32."""

    state: int = 0
    last_error: int = 0
    slots: int = 0
    in_flight: int = 0
    epoch: int = 0
    next_sequence: int = 0
    model_id: int = 0
    upload_offset: int = 0
    upload_size: int = 0
    frames: int = 0
    results: int = 0
    errors: int = 0
    bad_payloads: int = 0
    stale: int = 0
    sessions: int = 0

    def pack(self) -> bytes:
        return _STATUS.pack(
            self.state, self.last_error, self.slots, self.in_flight,
            *(value & 0xFFFFFFFF for value in (
                self.epoch, self.next_sequence, self.model_id, self.upload_offset, self.upload_size,
                self.frames, self.results, self.errors, self.bad_payloads, self.stale, self.sessions,
            )),
        )  # fmt: skip


def parse_status(data: bytes | bytearray | memoryview) -> Status:
    """Read GET_STATUS; ``LinkError`` if it is too short."""
    if len(data) < STATUS_SIZE:
        raise LinkError(f"GET_STATUS has {STATUS_SIZE} bytes, not {len(data)}")
    return Status(*_STATUS.unpack_from(data))


def pack_epoch(epoch: int) -> bytes:
    """Data of ABORT."""
    return _EPOCH.pack(epoch)


def parse_epoch(data: bytes | bytearray | memoryview) -> int:
    """The new epoch of an ABORT; ``LinkError`` if it is not 4 bytes."""
    if len(data) != _EPOCH.size:
        raise LinkError(f"ABORT has {_EPOCH.size} bytes, not {len(data)}")
    return int(_EPOCH.unpack(data)[0])

"""The host driver's reader under fuzz: whatever comes on bulk IN, no wrong mask ever goes out.

The driver and its session are the real ones; the port is scripted by the fuzzer's bytes. An oracle
knows the right mask of every frame and which answers were tampered with.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
from collections import deque
from pathlib import Path

import numpy as np

from gnetsegd.accelerators.usb import UsbAccelerator, UsbOptions
from gnetsegd.accelerators.usb_port import UsbFault
from gnetsegd.accelerators.usb_session import Session
from gnetsegd.errors import GnetsegError
from gnetsegd.frame import Frame, FrameSpec, Loss, Mask, MaskFormat, Memory, ModelInfo
from gnetsegd.link.constants import FLAG_CRC, Feature, Type
from gnetsegd.link.header import HEADER_SIZE, ROOM, Header, pack_message, read_header
from gnetsegd.link.model_upload import ModelRecord
from gnetsegd.link.requests import Capabilities
from gnetsegd.message import pack_mask, unpack_mask
from gnetsegd.model import ModelBundle

# A sentence for each fault would take most of the time.
logging.getLogger("gnetsegd.accelerators").setLevel(logging.CRITICAL)

CONTENT = b"a model for fuzzing"
#: Odd, so that rows of packed labels have padding.
WIDTH, HEIGHT = 7, 4
SPEC, MASK = FrameSpec(WIDTH, HEIGHT), MaskFormat(WIDTH, HEIGHT, 8, 2)
BUNDLE = ModelBundle(
    "fuzz", "", "", Path(), hashlib.sha256(CONTENT).digest(), CONTENT, SPEC, MASK, ("background", "person")
)
CAPABILITIES = Capabilities(
    features=Feature.PAYLOAD_CRC | Feature.MODEL_UPLOAD, slots=3, mask_bits=(1, 2, 4, 8), pixel_formats=(0,),
    state=0, max_payload=4096, max_model=4096, max_chunk=64, model=ModelRecord.of(BUNDLE),
)  # fmt: skip
MODEL_ID = ModelRecord.of(BUNDLE).model_id


def right_mask(pixels: bytes, bits: int) -> bytes:
    labels = (np.frombuffer(pixels, np.uint8).reshape(HEIGHT, WIDTH) >= 128).astype(np.uint8)
    return pack_mask(labels, bits)


class ScriptedPort:
    """A ``UsbPort`` whose every transfer the fuzzer decides."""

    serial = "fuzz"
    place = "nowhere"
    speed = 3
    speed_words = "480 Mbit/s"

    def __init__(self, data: bytes, bits: int, crc: bool) -> None:
        self._data = data
        self._at = 0
        self._bits = bits
        self._flags = FLAG_CRC if crc else 0
        #: (epoch, sequence, pixels) of what was sent and not yet answered.
        self.asked: deque[tuple[int, int, bytes]] = deque()
        #: The payload of the last transfer, if it may become a mask: None where it must not.
        self.allowed: bytes | None = None
        #: Whether the bytes of that mask were turned on the way, where no CRC could tell.
        self.turned = False

    def _take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece.ljust(count, b"\0")

    def _byte(self) -> int:
        return self._take(1)[0]

    @property
    def spent(self) -> bool:
        return self._at >= len(self._data)

    def bulk_out(self, memory: Memory, timeout_ms: int) -> int:
        del timeout_ms
        address, size = memory.buffer_info()
        message = ctypes.string_at(address, size)
        header = Header(*read_header(memoryview(message)))
        assert header.type == Type.FRAME
        kind = self._byte()
        if kind == 255:
            raise UsbFault("stall", "fuzzed")
        self.asked.append((header.epoch, header.sequence, message[HEADER_SIZE : HEADER_SIZE + header.length]))
        return size - kind if kind > 250 else size

    def bulk_in(self, memory: Memory, timeout_ms: int) -> int:
        del timeout_ms
        self.allowed, self.turned = None, False
        if self.spent:
            raise UsbFault("timeout", "the fuzzer has no more bytes")
        transfer = self._transfer(self._byte() % 10)
        address, size = memory.buffer_info()
        transfer = transfer[:size]
        ctypes.memmove(address, transfer, len(transfer))
        return len(transfer)

    def _transfer(self, kind: int) -> bytes:
        if kind == 0:
            return self._take(self._byte())
        if kind == 1:
            raise UsbFault(("timeout", "stall", "gone", "memory")[self._byte() % 4], "fuzzed")
        if not self.asked:
            return self._take(HEADER_SIZE)
        if kind == 2 and len(self.asked) > 1:  # two answers change places
            self.asked.rotate(-1)
            message = self._answer(self.asked[0])
            self.asked.rotate(1)
            return message
        if kind == 3:  # twice the same
            return self._answer(self.asked[0])
        if kind == 4:  # any header with a good CRC, around any payload
            epoch, sequence, _ = self.asked[0]
            return pack_message(
                (Type.RESULT, Type.ERROR, Type.MODEL_READY, self._byte())[self._byte() % 4],
                epoch if self._byte() % 4 else self._byte(), (sequence + self._byte() - 1) % 2**32,
                self._take(self._byte() % 40), flags=self._byte() & 3, pixel=self._byte() & 15,
                code=self._byte(), width=self._byte() % 10, height=self._byte() % 6, model_id=MODEL_ID,
            )  # fmt: skip
        message = self._answer(self.asked.popleft())
        if kind == 5:  # damaged
            damaged = bytearray(message)
            place, turn = self._byte() % len(damaged), self._byte()
            damaged[place] ^= turn
            if turn and (place < HEADER_SIZE or self._flags):
                self.allowed = None
            elif turn:
                # Without a payload CRC the bytes of the mask are the bus's own responsibility.
                length = len(self.allowed or b"")
                self.turned = True
                self.allowed = bytes(damaged[HEADER_SIZE : HEADER_SIZE + length])
            return bytes(damaged)
        if kind == 6:  # cut
            self.allowed = None
            return message[: self._byte() % len(message)]
        return message

    def _answer(self, asked: tuple[int, int, bytes]) -> bytes:
        epoch, sequence, pixels = asked
        mask = right_mask(pixels, self._bits)
        self.allowed = mask
        return pack_message(
            Type.RESULT, epoch, sequence, mask, flags=self._flags, pixel=self._bits,
            width=WIDTH, height=HEIGHT, model_id=MODEL_ID,
        )  # fmt: skip

    def request_in(self, request_type: int, request: int, length: int) -> bytes:
        del request_type, request, length
        return CAPABILITIES.pack()

    def request_out(self, request_type: int, request: int, data: bytes, timeout_ms: int = 1000) -> None:
        del request_type, request, data, timeout_ms
        if self._byte() == 255:
            raise UsbFault("stall", "fuzzed")
        self.asked.clear()  # HELLO and ABORT: whatever was under way is thrown away

    def clear_halts(self) -> None:
        pass

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


class FuzzedAccelerator(UsbAccelerator):
    """The driver, opened on a scripted port."""

    def open_on(self, port: ScriptedPort, bits: int, crc: bool) -> None:
        session = Session(port, BUNDLE, 0.05)  # type: ignore[arg-type]
        session.begin(bits, crc)
        self._session, self._depth, self._mending = session, 3, False
        self._info = ModelInfo("usb", "fuzz", BUNDLE.sha256, SPEC, session.mask, BUNDLE.labels)


def driver(data: bytes) -> None:
    """Frames out, fuzzed transfers in: each frame comes back once, in order, with its own mask or none."""
    bits, crc = (1, 2, 4, 8)[data[0] % 4] if data else 8, bool(data[1:2]) and bool(data[1] & 1)
    port = ScriptedPort(data[2:], bits, crc)
    accelerator = FuzzedAccelerator(BUNDLE, UsbOptions(mask_bits=bits, payload_crc=crc))
    try:
        accelerator.open_on(port, bits, crc)
    except GnetsegError:
        return
    frames = [Frame(SPEC, MASK.size_bytes, ROOM) for _ in range(6)]
    free, out, number = deque(frames), deque[Frame](), 0
    noise = np.frombuffer(hashlib.sha256(data).digest(), np.uint8)[: SPEC.size_bytes].reshape(SPEC.shape)
    while not port.spent:
        while free and accelerator.wait_for_credit(0):
            frame = free.popleft()
            number += 1
            frame.sequence = number
            frame.pixels[:] = noise + np.uint8(number * 37 % 256)
            out.append(frame)
            accelerator.submit(frame)
        try:
            result = accelerator.collect(0)
        except GnetsegError:
            break
        if result is None:
            continue
        assert out, "an answer to no frame"
        expected = out.popleft()
        assert result.frame is expected, "an answer out of order"
        if isinstance(result, Mask):
            assert port.allowed is not None, "a mask from a transfer that was no good answer"
            assert bytes(result.payload) == port.allowed, "a wrong mask"
            labels = unpack_mask(result.payload, result.info.mask)
            assert labels.max() < MASK.classes, "a label that is no class"
            assert pack_mask(labels, bits) == port.allowed, "bits in the padding"
            if not port.turned:
                own = right_mask(expected.pixels.tobytes(), bits)
                assert bytes(result.payload) == own, "the mask of another frame"
        else:
            assert isinstance(result, Loss)
        free.append(expected)
    left = accelerator.close()
    assert sorted(map(id, left)) == sorted(map(id, out)), "a frame did not come back"


def seeds() -> list[bytes]:
    """Scripts that reach far: only good answers, and a fault now and then."""
    good = b"\x00\x07" * 20
    return [
        bytes([bits, crc]) + b"\0\0" + good + bytes([0, fault, 5, 9]) + good
        for bits in range(4)
        for crc in range(2)
        for fault in (0, 1, 2, 3, 4, 5, 6)
    ]

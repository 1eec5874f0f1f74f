"""What is fuzzed with bytes. A target takes bytes and raises only if it has found a bug.

To add one: write a function here and put it into ``TARGETS``; give it ``seeds`` worth starting from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import driver
import numpy as np
from gnetseg_device.engine import FLOOD_FACTOR, Engine, Limits, Stall
from gnetseg_device.model_store import ModelStore, StoredModel
from gnetseg_device.networks import FakeNetwork
from gnetseg_device.usbip_wire import COMMAND, parse_command

from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link import constants as c
from gnetsegd.link import model_upload, requests
from gnetsegd.link.constants import Request, Type
from gnetsegd.link.errors import IncompatibleDevice, LinkError
from gnetsegd.link.header import (
    HEADER_SIZE,
    Header,
    check_payload,
    message_size,
    pack_message,
    read_header,
    trailer_size,
)
from gnetsegd.message import pack_mask

VECTORS = Path(__file__).parents[2] / "tests" / "vectors" / "link"
CONTENT = b"a model for fuzzing"
RECORD = model_upload.ModelRecord(
    hashlib.sha256(CONTENT).digest(), len(CONTENT), FrameSpec(8, 4), MaskFormat(8, 4, 8, 2)
)
LIMITS = Limits(slots=2, max_payload=256, max_chunk=64)


@dataclass(frozen=True)
class Target:
    """A function to fuzz, and inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


def vectors() -> list[bytes]:
    """The golden vectors of the link."""
    return [bytes.fromhex(path.read_text("ascii")) for path in sorted(VECTORS.glob("*.hex"))]


# -- the codec


def codec(data: bytes) -> None:
    """Every reader of the link's codec, on the same bytes."""
    view = memoryview(data)
    for read in (
        requests.parse_capabilities,
        requests.parse_hello,
        requests.parse_status,
        requests.parse_epoch,
        model_upload.parse_record,
        model_upload.parse_chunk,
        model_upload.parse_progress,
    ):
        try:
            read(view)
        except (LinkError, IncompatibleDevice):
            continue
    try:
        header = Header(*read_header(view))
    except LinkError:
        return
    assert HEADER_SIZE <= header.header_length <= c.MAX_HEADER_SIZE
    size = message_size(header.length, header.flags, header.header_length)
    assert size % c.PACKET
    if len(view) >= size:
        check_payload(view, header.header_length, header.length, header.flags)


# -- the engine


class _Reader:
    """Small numbers out of the fuzzer's bytes; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def __bool__(self) -> bool:
        return self._place < len(self._data)

    def take(self, count: int) -> bytes:
        piece = self._data[self._place : self._place + count]
        self._place += count
        return piece.ljust(count, b"\0")

    def byte(self) -> int:
        return self.take(1)[0]


class Bench:
    """An engine under test, and what it must never do.

    Each RESULT is compared with the network's answer to the very frame that had its sequence.
    """

    def __init__(self) -> None:
        store = ModelStore(capacity=1024)
        store.activate(StoredModel(RECORD, CONTENT))
        self.network = FakeNetwork(RECORD, CONTENT)
        self.engine = Engine(store, FakeNetwork, LIMITS)
        self.epoch = 0
        self.bits = 8
        self.flags = 0
        self.sequence = 1
        #: The pixels of each frame by sequence; None where the cable decided what they became.
        self.pictures: dict[int, bytes | None] = {}
        self.results = 0

    def control(self, request: int, data: bytes) -> None:
        try:
            self.engine.control_out(request, data)
        except Stall:
            return
        self.pictures.clear()
        self.sequence = 1

    def hello(self, epoch: int, bits: int, features: int) -> None:
        self.control(Request.HELLO, requests.Hello(epoch, bits, features).pack())
        if self.engine.epoch == epoch and epoch:
            self.epoch, self.bits = epoch, bits
            self.flags = c.FLAG_CRC if features & c.Feature.PAYLOAD_CRC else 0

    def frame(self, pixels: bytes) -> bytes:
        """A good frame with the sequence that is due; it is up to the caller to feed it."""
        message = pack_message(
            Type.FRAME, self.epoch, self.sequence, pixels,
            flags=self.flags, width=8, height=4, model_id=RECORD.model_id,
        )  # fmt: skip
        self.pictures[self.sequence] = pixels
        self.sequence += 1
        return message

    def feed(self, data: bytes) -> None:
        self.engine.receive(memoryview(data))
        assert self.engine.in_flight <= LIMITS.slots * FLOOD_FACTOR + 1, "the queue grows without bound"

    def compute(self) -> None:
        while job := self.engine.take_job():
            job.run()
            self.engine.finish(job)

    def drain(self) -> None:
        """Take every answer, and look at each as docs/protocol.md tells a host to."""
        self.compute()
        while request := self.engine.answer():
            assert request.message is not None
            self._look(request.message)
            self.engine.sent()
            self.compute()
        layout = self.engine._layout
        if layout and not self.engine.in_flight and self.engine._current is None:
            assert len(layout.free) == LIMITS.slots + 1, "a slot was lost"

    def _look(self, message: memoryview) -> None:
        header = Header(*read_header(message))
        assert header.epoch == self.engine.epoch, "an answer of another epoch"
        assert len(message) == message_size(header.length, header.flags)
        assert check_payload(message, HEADER_SIZE, header.length, header.flags)
        if header.type != Type.RESULT:
            assert header.length <= c.MAX_SHORT_ANSWER
            return
        self.results += 1
        assert header.sequence in self.pictures, "a mask of no frame of this epoch"
        pixels = self.pictures[header.sequence]
        if pixels is None:
            return
        labels = np.zeros((4, 8), np.uint8)
        self.network.run(np.frombuffer(pixels, np.uint8).reshape(4, 8), labels)
        mask = bytes(message[HEADER_SIZE : HEADER_SIZE + header.length])
        assert mask == pack_mask(labels, header.format), "a wrong mask"


def engine(data: bytes) -> None:
    """The device's engine: bytes, good and damaged messages, requests, in any order."""
    bench, reader = Bench(), _Reader(data)
    bench.hello(1, 8, 0)
    while reader:
        kind = reader.byte() % 12
        if kind == 0:
            bench.feed(reader.take(reader.byte()))
        elif kind in (1, 2):
            bench.feed(bench.frame(reader.take(32)))
        elif kind == 3:
            bench.feed(_damaged(bench, reader))
        elif kind == 4:
            bench.feed(_any_message(bench, reader))
        elif kind == 5:
            bench.compute()
        elif kind == 6:
            bench.drain()
        elif kind == 7:
            epoch = int.from_bytes(reader.take(1), "little")
            bench.control(Request.ABORT, requests.pack_epoch(epoch))
            bench.epoch = bench.engine.epoch
        elif kind == 8:
            bench.hello(reader.byte(), reader.byte() % 9, reader.byte() % 4)
        elif kind == 9:
            bench.control(reader.byte() % 7, reader.take(reader.byte() % 32))
            bench.epoch = bench.engine.epoch
        elif kind == 10:
            job = bench.engine.take_job()
            if job:
                bench.control(Request.ABORT, requests.pack_epoch(bench.epoch % 200 + 1))
                bench.epoch = bench.engine.epoch
                job.run()
                bench.engine.finish(job)
        else:
            bench.engine.power_cycle()
            bench.hello(2, 8, 0)
    bench.drain()


def _damaged(bench: Bench, reader: _Reader) -> bytes:
    """A good frame with one byte turned, or cut; what comes of it must not be a wrong mask."""
    sequence = bench.sequence
    message = bytearray(bench.frame(reader.take(32)))
    message[reader.byte() % len(message)] ^= reader.byte()
    if not bench.flags:
        # Without a CRC this is simply another picture, and what is cut off comes from what follows.
        bench.pictures[sequence] = None
    return bytes(message[: len(message) - reader.byte() % 64])


def _any_message(bench: Bench, reader: _Reader) -> bytes:
    """Any header with a good CRC, and some payload."""
    kind, flags, pixel = reader.byte(), reader.byte() & 3, reader.byte() & 7
    payload = reader.take(reader.byte() % 80)
    if kind % 4 == 0:
        kind, payload = Type.MODEL_BEGIN, RECORD.pack()
    elif kind % 4 == 1:
        kind, payload = Type.MODEL_CHUNK, model_upload.pack_chunk(reader.byte() % 32, payload[:64])
    elif kind % 4 == 2:
        kind, payload = Type.MODEL_COMMIT, RECORD.sha256
    if kind == Type.FRAME:
        bench.pictures[bench.sequence] = payload
    sequence = bench.sequence if reader.byte() % 8 else reader.byte()
    message = bytearray(
        pack_message(
            kind, bench.epoch, sequence, payload,
            flags=flags, pixel=pixel, width=8, height=4, model_id=RECORD.model_id,
        )
    )  # fmt: skip
    bench.sequence += 1
    assert len(message) == HEADER_SIZE + len(payload) + trailer_size(len(payload), flags)
    return bytes(message)


def engine_seeds() -> list[bytes]:
    """Sequences of operations that reach far."""
    good = b"\x01" + bytes(range(0, 256, 8))
    return [
        good * 3 + b"\x06",
        good + b"\x07\x05" + good + b"\x06",
        b"\x08\x09\x01\x03" + good + b"\x06",
        good + b"\x0a" + good + b"\x06",
        b"\x04\x00\x01\x00\x00\x01" + b"\x06" + b"\x04\x02\x01\x00\x00\x01" + b"\x06" + good + b"\x06",
        b"\x03" + bytes(32) + b"\x05\x01\x00" + b"\x06",
    ]


# -- USB/IP


def usbip(data: bytes) -> None:
    """The reader of USB/IP commands."""
    try:
        parse_command(data[: COMMAND.size].ljust(COMMAND.size, b"\0"))
    except ValueError:
        return


TARGETS = {
    "codec": Target(codec, vectors),
    "engine": Target(engine, engine_seeds),
    "driver": Target(driver.driver, driver.seeds),
    "usbip": Target(usbip, lambda: [bytes(3) + b"\x01" + bytes(44), bytes(3) + b"\x02" + bytes(44)]),
}

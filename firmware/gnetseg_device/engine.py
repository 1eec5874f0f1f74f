"""The device's state machine: bytes in, bytes out. No I/O, no threads, no clock.

::

    control_in/out ──▶ session (epoch, encoding, features)
    receive(bytes) ──▶ Parser ──▶ requests, in order ──▶ answer() ──▶ sent()
                                       │    ▲
                                  take_job  finish
                                       ▼    │
                                     Job.run()      (the only slow part)

Whoever owns an engine calls it under one lock, except ``Job.run``, which touches nothing but the
job's own buffers: so transfers go on while the network computes. What the host must see in each
case is in docs/protocol.md; nothing here knows of faults.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnetsegd.link import constants as c
from gnetsegd.link.constants import Code, Feature, Request, State, Type
from gnetsegd.link.errors import LinkError
from gnetsegd.link.header import MODULUS, Header, pack_message, write_header, write_trailer
from gnetsegd.link.model_upload import (
    OFFSET_SIZE,
    RECORD_SIZE,
    ModelRecord,
    pack_progress,
    parse_chunk,
    parse_record,
)
from gnetsegd.link.requests import Capabilities, Status, parse_epoch, parse_hello

from .jobs import MODEL_REQUESTS, CommitJob, FrameJob, Job, Pending
from .model_store import ModelStore, Refused
from .parser import Lost, Parser
from .slots import Layout, payload_sizes

if TYPE_CHECKING:
    from .networks import Network, NetworkFactory

SHA256_SIZE = 32
#: A host that goes on sending without credit is cut off at so many times its slots.
FLOOD_FACTOR = 4


class Stall(Exception):
    """A request on endpoint 0 that the device refuses: the transport STALLs it."""


class _LostWith(Lost):
    """``Lost`` with another code than BAD_HEADER."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device offers in CAPABILITIES. Sizes in bytes."""

    slots: int = 3
    max_payload: int = 1 << 20
    max_chunk: int = 1 << 16
    mask_bits: tuple[int, ...] = (1, 2, 4, 8)
    pixel_formats: tuple[int, ...] = (0, 1, 2, 3)
    features: int = Feature.PAYLOAD_CRC | Feature.MODEL_UPLOAD
    firmware: str = "gnetseg-device"


class Engine:
    """One device. See the module's docstring for who calls what.

    ``store`` keeps the models, ``load_network`` makes a network of one. ``limits`` may be changed
    between two calls, to offer less than the engine was made with: slots 0 is a device that cannot be
    used now.
    """

    def __init__(self, store: ModelStore, load_network: NetworkFactory, limits: Limits | None = None) -> None:
        self.limits = self._made_with = limits or Limits()
        self.store = store
        self._load_network = load_network
        self._queue: deque[Pending] = deque()
        self._running: Pending | None = None
        self._current: Pending | None = None
        self._verdict: Refused | None = None
        self._length = 0
        self._small = bytearray(max(RECORD_SIZE, self.limits.max_chunk + OFFSET_SIZE))
        self._network: Network | None = None
        self._loaded: bytes | None = None
        self._layout: Layout | None = None
        self._parser = Parser(self)
        self._power_up()

    # -- power

    def power_cycle(self) -> None:
        """The power was off: the session is gone, and what the store does not keep."""
        self.store.power_loss()
        self._power_up()

    def _power_up(self) -> None:
        self._status = Status()
        self._features = 0
        self._bits = 8
        self._clear(0)
        model = self.store.active
        if model is None or self._loaded != model.record.sha256:
            self._network = self._loaded = None
        if model and not self._loaded:
            try:
                self._network = self._load_network(model.record, model.content)
                self._loaded = model.record.sha256
            except Exception:  # a bad model must not keep the device from starting: it has none then
                self._loaded = None
        self._make_layout()

    def _make_layout(self) -> None:
        model = self.store.active if self._loaded else None
        self._status.model_id = model.record.model_id if model else 0
        self._layout = Layout(model, self._bits, self._made_with.slots) if model else None

    def _clear(self, epoch: int) -> None:
        """Throw away whatever is under way; the next request is the first of ``epoch``."""
        for request in self._queue:
            request.aborted = True
            # The running one's buffers still belong to the network; finish() frees them.
            if request is not self._running:
                request.release()
        self._queue.clear()
        self._drop_current()
        self._parser.restart(epoch)
        self._status.epoch = epoch
        self._status.next_sequence = 1

    def _drop_current(self) -> None:
        if self._current:
            self._current.release()
            self._current = None

    # -- endpoint 0

    def control_in(self, request: int, length: int) -> bytes:
        """Data of a vendor IN request, at most ``length`` bytes; ``Stall`` if it is not known."""
        if request == Request.CAPABILITIES:
            return self._capabilities().pack()[:length]
        if request == Request.GET_STATUS:
            self._status.slots = self.limits.slots
            self._status.in_flight = min(len(self._queue), 255)
            self._status.upload_offset, self._status.upload_size = self.store.progress
            return self._status.pack()[:length]
        raise Stall(f"vendor IN request {request:#04x}")

    def control_out(self, request: int, data: bytes) -> None:
        """A vendor OUT request; ``Stall`` if it is not known or is refused."""
        try:
            if request == Request.HELLO:
                self._hello(data)
            elif request == Request.ABORT:
                self._abort(parse_epoch(data))
            elif request == Request.SOFT_RESET and not data:
                self._power_up()
            else:
                raise Stall(f"vendor OUT request {request:#04x} with {len(data)} bytes")
        except LinkError as error:
            raise Stall(str(error)) from None

    def _capabilities(self) -> Capabilities:
        limits, model = self.limits, self.store.active if self._loaded else None
        return Capabilities(
            features=limits.features,
            slots=limits.slots,
            mask_bits=limits.mask_bits,
            pixel_formats=limits.pixel_formats,
            state=self._status.state,
            max_payload=limits.max_payload,
            max_model=self.store.capacity,
            max_chunk=limits.max_chunk,
            model=model.record if model else None,
            firmware=limits.firmware,
        )

    def _hello(self, data: bytes) -> None:
        hello = parse_hello(data)
        if hello.major != c.MAJOR or not hello.epoch or hello.mask_bits not in self.limits.mask_bits:
            raise Stall(f"{hello} is not to be had")
        # Not of the enumeration itself: Python 3.11 inverts only the bits that it has names for.
        if hello.features & ~int(self.limits.features):
            raise Stall(f"features {hello.features:#x} are not all offered")
        self._clear(hello.epoch)
        self._status.state = State.IN_SESSION
        self._status.sessions += 1
        self._features = hello.features
        if hello.mask_bits != self._bits:
            self._bits = hello.mask_bits
            self._make_layout()

    def _abort(self, epoch: int) -> None:
        if self._status.state == State.NO_SESSION or epoch in (0, self._status.epoch):
            raise Stall(f"ABORT with epoch {epoch:#x}")
        self._clear(epoch)
        self._status.state = State.IN_SESSION

    # -- bulk OUT

    def receive(self, data: memoryview, tag: float = 0.0) -> None:
        """Bytes of bulk OUT. The first of each call is the first of a packet.

        ``tag`` goes to the requests that these bytes complete. Out of session, and when the place
        in the stream is lost, the bytes are thrown away.
        """
        if self._status.state != State.IN_SESSION:
            return
        try:
            self._parser.feed(data, tag)
        except Lost as lost:
            self._drop_current()
            self._status.state = State.LOST
            code = lost.code if isinstance(lost, _LostWith) else Code.BAD_HEADER
            request = Pending(Type.ERROR, 0)
            request.tag = tag
            self._queue.append(request)
            self._answer_error(request, Refused(code, str(lost)), c.FLAG_LOST)

    def begin(self, header: Header) -> memoryview | None:
        """From the parser: decide what becomes of a message before its payload comes."""
        limits, status = self.limits, self._status
        if header.length > limits.max_payload:
            raise _LostWith(
                Code.TOO_LONG, f"a payload of {header.length} bytes; allowed are {limits.max_payload}"
            )
        if header.epoch != status.epoch:
            status.stale += 1
            return None
        if header.sequence != status.next_sequence:
            raise _LostWith(
                Code.BAD_SEQUENCE, f"sequence {header.sequence} came, {status.next_sequence} was due"
            )
        if len(self._queue) >= self._made_with.slots * FLOOD_FACTOR:
            raise _LostWith(Code.NO_CREDIT, f"{len(self._queue)} requests in flight at {limits.slots} slots")
        status.next_sequence = (header.sequence + 1) % MODULUS
        self._current = Pending(header.type, header.sequence, header.format, header.model_id)
        self._verdict, self._length = None, header.length
        try:
            if len(self._queue) >= limits.slots:
                raise Refused(
                    Code.NO_CREDIT, f"{len(self._queue)} requests in flight at {limits.slots} slots"
                )
            if header.type == Type.FRAME:
                return self._admit_frame(self._current, header)
            return self._admit_model(header)
        except Refused as refused:
            self._verdict = refused
            return None

    def _admit_frame(self, request: Pending, header: Header) -> memoryview:
        """Where the pixels shall go; ``Refused`` if the frame is answered with an ERROR."""
        layout = self._layout
        if layout is None:
            raise Refused(Code.NO_MODEL, "there is no model; upload one")
        if header.model_id != layout.model_id:
            raise Refused(
                Code.WRONG_MODEL,
                f"the model is {layout.model_id:08x}, the frame is for {header.model_id:08x}",
            )
        if bool(header.flags & c.FLAG_CRC) != bool(self._features & Feature.PAYLOAD_CRC):
            raise Refused(Code.BAD_PAYLOAD, "a CRC that was not agreed, or none where one was")
        spec = layout.spec
        if (
            header.length != layout.payload_sizes.get(header.format)
            or header.format not in self.limits.pixel_formats
            or (header.width, header.height) != (spec.width, spec.height)
        ):
            raise Refused(
                Code.BAD_FORMAT,
                f"{header.width}x{header.height} pixels of format {header.format} in {header.length} bytes; "
                f"the model takes {spec.width}x{spec.height} {spec.pixel_format}",
            )
        if not layout.fits:
            raise Refused(Code.BAD_ENCODING, f"{layout.mask.classes} labels do not fit in {self._bits} bits")
        request.slot = layout.free.pop()
        return request.slot.view

    def _admit_model(self, header: Header) -> memoryview:
        if header.type not in MODEL_REQUESTS or not self.limits.features & Feature.MODEL_UPLOAD:
            raise Refused(Code.UNSUPPORTED, f"type {header.type:#04x} is not known here")
        if not header.flags & c.FLAG_CRC:
            raise Refused(Code.BAD_PAYLOAD, "MODEL_* needs the payload's CRC")
        if any(request.is_model_request for request in self._queue):
            raise Refused(Code.NO_CREDIT, "a MODEL_* request is in flight already")
        if header.type == Type.MODEL_CHUNK:
            allowed = OFFSET_SIZE <= header.length <= OFFSET_SIZE + self.limits.max_chunk
        else:
            allowed = header.length == (RECORD_SIZE if header.type == Type.MODEL_BEGIN else SHA256_SIZE)
        if not allowed:
            raise Refused(Code.BAD_FORMAT, f"type {header.type:#04x} with {header.length} bytes of payload")
        return memoryview(self._small)[: header.length]

    def complete(self, intact: bool, tag: float) -> None:
        """From the parser: a whole message is here."""
        request, verdict = self._current, self._verdict
        if request is None:
            return
        self._current = None
        request.tag = tag
        self._queue.append(request)
        try:
            if verdict:
                raise verdict
            if not intact:
                self._status.bad_payloads += 1
                raise Refused(Code.BAD_PAYLOAD, "the payload's CRC is wrong")
            if request.kind == Type.FRAME:
                self._status.frames += 1
            else:
                self._take_model(request)
        except Refused as refused:
            self._answer_error(request, refused)

    def _take_model(self, request: Pending) -> None:
        payload = memoryview(self._small)
        if request.kind == Type.MODEL_COMMIT:
            request.sha256 = bytes(payload[:SHA256_SIZE])
            return
        if request.kind == Type.MODEL_BEGIN:
            try:
                record = parse_record(payload[:RECORD_SIZE])
            except LinkError as error:
                raise Refused(Code.MODEL_REFUSED, str(error)) from None
            self._check_frames(record)
            wanted = self.store.begin(record)
        else:
            wanted = self.store.write(*parse_chunk(payload[: self._length]))
        self._answer(request, Type.MODEL_PROGRESS, pack_progress(wanted, self.store.progress[1]))

    def _check_frames(self, record: ModelRecord) -> None:
        """Could a frame of this model be sent to this device at all?"""
        limits, sizes = self.limits, payload_sizes(record.input)
        offered = [size for pixel, size in sizes.items() if pixel in limits.pixel_formats]
        if not offered:
            raise Refused(
                Code.MODEL_REFUSED,
                f"its frames are {record.input.pixel_format}, which this device does not take",
            )
        if min(offered) > limits.max_payload:
            raise Refused(
                Code.MODEL_TOO_LARGE,
                f"its frames have {min(offered)} bytes, this device takes {limits.max_payload}",
            )

    # -- jobs

    def take_job(self) -> Job | None:
        """The oldest request that has to be computed; None if there is none, or one is running."""
        if self._running:
            return None
        for request in self._queue:
            if request.message is not None:
                continue
            try:
                job = self._job(request)
            except Refused as refused:
                self._answer_error(request, refused)
                continue
            self._running = request
            return job
        return None

    def _job(self, request: Pending) -> Job:
        if request.kind == Type.MODEL_COMMIT:
            return CommitJob(request, self.store.complete(request.sha256), self._load_network)
        # The model may have been changed by a COMMIT since the frame came.
        if self._layout is None or request.model_id != self._layout.model_id:
            raise Refused(Code.WRONG_MODEL, "the model was changed before this frame's turn")
        assert request.slot is not None
        assert self._network is not None
        return FrameJob(request, request.slot, self._network)

    def finish(self, job: Job) -> None:
        """After ``job.run()``: its request's answer is ready, unless it was aborted meanwhile."""
        request = job.request
        self._running = None
        if request.aborted:
            request.release()
            return
        try:
            if isinstance(job, FrameJob):
                self._finish_frame(job)
            else:
                self._finish_commit(job)
        except Refused as refused:
            self._answer_error(request, refused)

    def _finish_frame(self, job: FrameJob) -> None:
        if job.refused:
            raise job.refused
        request = job.request
        slot = request.slot
        assert slot is not None
        mask = slot.layout.mask
        flags = c.FLAG_CRC if self._features & Feature.PAYLOAD_CRC else 0
        write_header(
            slot.answer, 0, Type.RESULT, self._status.epoch, request.sequence, mask.size_bytes,
            flags=flags, pixel=mask.bits, width=mask.width, height=mask.height,
            model_id=slot.layout.model_id,
        )  # fmt: skip
        size = write_trailer(slot.answer, 0, mask.size_bytes, flags)
        request.message = memoryview(slot.answer)[:size]
        self._status.results += 1

    def _finish_commit(self, job: CommitJob) -> None:
        if job.refused:
            self.store.discard_upload()
            raise job.refused
        try:
            self.store.activate(job.model)
        except Refused:
            self.store.discard_upload()
            raise
        self._network, self._loaded = job.network, job.model.record.sha256
        self._make_layout()
        self._answer(job.request, Type.MODEL_READY, job.model.record.pack())

    # -- bulk IN

    def answer(self) -> Pending | None:
        """The request whose answer (``message``) is next to be sent; None if it is not ready."""
        if self._queue and self._queue[0].message is not None:
            return self._queue[0]
        return None

    def sent(self) -> None:
        """The answer has left the device, and with it its credit."""
        self._queue.popleft().release()

    @property
    def in_flight(self) -> int:
        """Requests that have not had their answer."""
        return len(self._queue)

    @property
    def epoch(self) -> int:
        """The session's present epoch, 0 before the first."""
        return self._status.epoch

    @property
    def uploading(self) -> bool:
        """Whether a part of a model is here."""
        return self.store.progress[1] > 0

    def _answer(self, request: Pending, kind: Type, payload: bytes) -> None:
        request.message = memoryview(
            pack_message(kind, self._status.epoch, request.sequence, payload, flags=c.FLAG_CRC)
        )

    def _answer_error(self, request: Pending, refused: Refused, flags: int = 0) -> None:
        if request.is_model_request or self._features & Feature.PAYLOAD_CRC:
            flags |= c.FLAG_CRC
        # Cut at a whole character. A file's name may hold what UTF-8 cannot.
        whole = str(refused).encode(errors="replace")
        text = whole[: c.MAX_SHORT_ANSWER].decode(errors="ignore").encode()
        request.message = memoryview(
            pack_message(
                Type.ERROR, self._status.epoch, request.sequence, text, flags=flags, code=refused.code
            )
        )
        self._status.errors += 1
        self._status.last_error = refused.code

"""A session with a device: who it is, HELLO, ABORT, the model on board, and proof that it answers.

Used by one thread at a time, while no frame is in flight. docs/protocol.md says what each step is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import GnetsegError
from ..frame import HEADROOM, Frame, MaskFormat, Memory
from ..link.constants import (
    FLAG_CRC,
    FLAG_LOST,
    MAX_SHORT_ANSWER,
    PIXEL_FORMAT_CODES,
    PIXEL_FORMAT_NAMES,
    REQUEST_IN,
    REQUEST_OUT,
    Code,
    Feature,
    Request,
    Type,
    code_name,
)
from ..link.header import (
    MODULUS,
    ROOM,
    Header,
    HeaderTemplate,
    check_payload,
    in_buffer_size,
    message_size,
    read_header,
    trailer_size,
    write_trailer,
)
from ..link.model_upload import ModelRecord
from ..link.requests import IN_LENGTH, Capabilities, Hello, pack_epoch, parse_capabilities
from ..model import ModelBundle
from ..text import clean
from . import usb_upload
from .usb_labels import LabelCheck
from .usb_port import UsbFault, UsbPort

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REPLY = HEADROOM - ROOM.reply_head
#: ABORT alone has less time than other requests: while it is waited for, no mask comes from anywhere.
ABORT_TIMEOUT_MS = 300
#: The answers of this version; any other is waited past.
ANSWERS = frozenset({Type.RESULT, Type.ERROR, Type.MODEL_PROGRESS, Type.MODEL_READY})


class Session:
    """The state of the link that both threads of ``usb.py`` share: epoch, next sequence, encoding.

    ``beat`` is called at each step of ``begin``; what it raises ends it.
    """

    def __init__(
        self,
        port: UsbPort,
        bundle: ModelBundle,
        answer_timeout_s: float,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.port = port
        self.beat = beat
        self.answer_timeout_ms = max(1, int(answer_timeout_s * 1000))
        self._bundle = bundle
        self.record = ModelRecord.of(bundle)
        self.model_id = self.record.model_id
        self.epoch = int.from_bytes(os.urandom(4), "little") or 1
        self.sequence = 1
        self.flags = 0
        self._features = 0
        self.mask = bundle.mask
        self.capabilities = self._read_capabilities()
        self._short = bytearray(in_buffer_size(MAX_SHORT_ANSWER))

    # -- beginning --------------------------------------------------------------------------------

    def _read_capabilities(self) -> Capabilities:
        try:
            data = self.port.request_in(REQUEST_IN, Request.CAPABILITIES, IN_LENGTH)
        except UsbFault as fault:
            if fault.kind != "stall":
                raise
            data = b""  # it does not know the request: not one of ours
        return parse_capabilities(data)

    def begin(self, mask_bits: int, payload_crc: bool) -> None:
        """Agree on encoding and features, say HELLO, upload the model if it is not there, prove it.

        ``mask_bits`` 0 takes the fewest that hold the classes. Raises ``TransientError`` with one
        sentence for a device that cannot be used.
        """
        offered = self.capabilities
        self.beat()
        if offered.slots == 0:
            raise UsbFault("no-credit", "the device grants no frame slots; wait, or restart it")
        bits = mask_bits or self._fewest_bits(offered)
        if bits not in offered.mask_bits or self.mask.classes > 1 << bits:
            raise UsbFault(
                "encoding",
                f"masks of {self.mask.classes} classes in {bits} bits a pixel are not what the device offers "
                f"({', '.join(map(str, offered.mask_bits))}); change usb.mask_bits",
            )
        if payload_crc and not offered.features & Feature.PAYLOAD_CRC:
            raise UsbFault("features", "the device knows no payload CRC; set usb.payload_crc = false")
        self._check_picture()
        # Another record for the same bytes is another model: other sizes, or another pixel format.
        needs_model = offered.model != self.record
        if needs_model:
            usb_upload.check(offered, self._bundle)
        self.mask = MaskFormat(self.mask.width, self.mask.height, bits, self.mask.classes)
        self.flags = FLAG_CRC if payload_crc else 0
        self._features = (Feature.PAYLOAD_CRC if payload_crc else 0) | (
            offered.features & Feature.MODEL_UPLOAD
        )
        self._prepare()
        self.hello()
        if needs_model:
            usb_upload.upload(self, self._bundle)
        self.beat()

    def _check_picture(self) -> None:
        """Does the device take pictures of this format and size?"""
        offered, spec, name = self.capabilities, self._bundle.input, self._bundle.id
        if spec.size_bytes > offered.max_payload:
            raise UsbFault(
                "refused",
                f"a picture for model {name} has {spec.size_bytes} bytes, the device takes at most "
                f"{offered.max_payload}; choose a smaller model",
            )
        if PIXEL_FORMAT_CODES[spec.pixel_format] not in offered.pixel_formats:
            takes = [PIXEL_FORMAT_NAMES.get(code, f"format {code}") for code in offered.pixel_formats]
            raise UsbFault(
                "refused",
                f"model {name} needs pictures in {spec.pixel_format}, the device takes "
                f"{', '.join(takes) or 'none'}; choose another model",
            )

    def _fewest_bits(self, offered: Capabilities) -> int:
        enough = [bits for bits in offered.mask_bits if self.mask.classes <= 1 << bits]
        return min(enough, default=8)

    def hello(self) -> None:
        """Begin a new session; climbs from SOFT_RESET to a reset of the port if it is refused."""
        is_mute = False
        for step in (None, self._soft_reset, self.port.reset):
            if is_mute and step == self._soft_reset:
                continue  # it would not be answered either
            if step is not None:
                step()
            self._renew()
            hello = Hello(self.epoch, self.mask.bits, self._features)
            try:
                self.port.request_out(REQUEST_OUT, Request.HELLO, hello.pack())
                # What another host left halted; on an endpoint that is not, this does nothing.
                self.port.clear_halts()
            except UsbFault as fault:
                if fault.kind == "gone" or step == self.port.reset:
                    raise
                is_mute = fault.kind == "mute"
            else:
                return

    def _soft_reset(self) -> None:
        try:
            self.port.request_out(REQUEST_OUT, Request.SOFT_RESET, b"")
        except UsbFault as fault:
            if fault.kind == "gone":
                raise

    def abort(self) -> None:
        """Give up everything in flight: a new epoch, sequence 1."""
        self._renew()
        self.port.request_out(REQUEST_OUT, Request.ABORT, pack_epoch(self.epoch), ABORT_TIMEOUT_MS)

    def _renew(self) -> None:
        self.epoch = (self.epoch + 1) % MODULUS or 1
        self.sequence = 1

    def take_sequence(self) -> int:
        sequence = self.sequence
        self.sequence = (sequence + 1) % MODULUS
        return sequence

    # -- the hot path -----------------------------------------------------------------------------

    def _prepare(self) -> None:
        """What is the same for every frame of this session."""
        spec, mask = self._bundle.input, self.mask
        self._labels = LabelCheck(mask)
        self._picture_bytes = spec.size_bytes
        self._trailer = trailer_size(self._picture_bytes, self.flags)
        #: Bytes of a FRAME and of its RESULT on the wire.
        self.request_size = message_size(self._picture_bytes, self.flags)
        self.result_size = message_size(mask.size_bytes, self.flags)
        #: Those of a RESULT that can be judged by its header and its largest byte; -1 where none can.
        self.plain_size = self.result_size if not self.flags and not self._labels.are_packed else -1
        #: Bytes that are asked for: as few transfers of the kernel as the mask needs.
        self.reply_size = in_buffer_size(mask.size_bytes)
        self._request = HeaderTemplate(
            Type.FRAME, self._picture_bytes, flags=self.flags,
            pixel=PIXEL_FORMAT_CODES[spec.pixel_format],
            width=spec.width, height=spec.height, model_id=self.model_id,
        )  # fmt: skip
        #: The header that stands in front of a plain RESULT.
        self.result = HeaderTemplate(
            Type.RESULT, mask.size_bytes, flags=self.flags, pixel=mask.bits,
            width=mask.width, height=mask.height, model_id=self.model_id,
        )  # fmt: skip

    def write_request(self, frame: Frame) -> int:
        """Complete ``frame.request`` around its pixels; the sequence number that it has now."""
        sequence = self.sequence
        self.sequence = (sequence + 1) % MODULUS
        self._request.write(frame.request, 0, self.epoch, sequence)
        frame.request_memory.size = self.request_size
        frame.reply_memory.size = self.reply_size
        if self._trailer:
            write_trailer(frame.request, 0, self._picture_bytes, self.flags)
        return sequence

    def labels_of(self, frame: Frame) -> NDArray[np.uint8] | None:
        """The labels of a plain RESULT in ``frame.reply``, if there are any that are no class."""
        return self._labels.view(frame) if self._labels.needed else None

    def check_result(self, frame: Frame, header: Header, count: int) -> None:
        """Is this RESULT of ``count`` bytes the mask that was agreed on? Else ``UsbFault``."""
        mask = self.mask
        got = (header.length, header.format, header.width, header.height, header.model_id)
        if got != (mask.size_bytes, mask.bits, mask.width, mask.height, self.model_id):
            raise UsbFault("format", f"a mask of {got} (bytes, bits, width, height, model) was not agreed on")
        if header.flags & FLAG_CRC != self.flags:
            raise UsbFault("format", "a mask came with a payload CRC that was not agreed on, or without one")
        if count != message_size(header.length, header.flags, header.header_length):
            raise UsbFault("short", f"{count} bytes came, not a whole mask of {header.length}")
        start = _REPLY + header.header_length
        if not check_payload(frame.reply_view, start, header.length, header.flags):
            raise UsbFault("crc", "the CRC of a mask is wrong")
        if start != HEADROOM:  # a later minor version: the mask belongs behind the headroom
            frame.reply_view[HEADROOM : HEADROOM + header.length] = frame.reply_view[
                start : start + header.length
            ]
        if complaint := self._labels.complaint(frame):
            raise UsbFault(*complaint)

    def prove(self, frame: Frame, timeout_ms: int = 0) -> None:
        """Send one picture and wait for its mask: model and link are good. ``UsbFault`` if not.

        ``timeout_ms``, for both together, 0 is that of an answer.
        """
        timeout_ms = timeout_ms or self.answer_timeout_ms
        deadline = time.monotonic() + timeout_ms / 1000
        sequence = self.write_request(frame)
        self._send(frame.request_memory, timeout_ms)
        while True:
            count = self.port.bulk_in(frame.reply_memory, self.left_ms(deadline))
            view = frame.reply_view[_REPLY : _REPLY + count]
            header = self._answer(view, deadline)
            if header is None:
                continue
            if header.type != Type.RESULT or header.sequence != sequence:
                raise self.error(header, view)
            self.check_result(frame, header, count)
            return

    def _answer(self, view: memoryview, deadline: float) -> Header | None:
        """The header of an answer of this epoch; None for what may be thrown away at the beginning.

        So are answers of a type that only a later version knows.
        """
        try:
            header = Header(*read_header(view))
        except GnetsegError:
            # The tail of what was under way before: it ends when the first good header comes.
            if time.monotonic() < deadline:
                return None
            raise
        if header.epoch != self.epoch or header.type not in ANSWERS:
            return None
        return header

    # -- messages that are not frames ---------------------------------------------------------------

    def send(self, message: bytes, timeout_ms: int) -> None:
        """One whole message out."""
        buffer = bytearray(message)
        self._send(Memory(buffer, 0, len(buffer)), timeout_ms)

    def receive_short(self, timeout_s: float) -> tuple[Header, memoryview]:
        """The next answer of this epoch, and all of its bytes; it is none to a frame."""
        memory = Memory(self._short, 0, len(self._short))
        deadline = time.monotonic() + timeout_s
        while True:
            count = self.port.bulk_in(memory, self.left_ms(deadline))
            view = memoryview(self._short)[:count]
            header = self._answer(view, deadline)
            if header is not None:
                return header, view

    @staticmethod
    def left_ms(deadline: float) -> int:
        """What is left of a time limit, in ms; ``UsbFault`` if nothing is."""
        left_ms = int((deadline - time.monotonic()) * 1000)
        if left_ms <= 0:
            raise UsbFault("timeout", "the device did not answer in time")
        return left_ms

    def _send(self, memory: Memory, timeout_ms: int) -> None:
        count = self.port.bulk_out(memory, timeout_ms)
        if count != memory.size:
            raise UsbFault("short", f"the device took {count} of {memory.size} bytes")

    def error(self, header: Header, view: memoryview) -> UsbFault:
        """What an answer that is no mask means. Raises ``UsbFault``, too, for one that is damaged."""
        if header.type != Type.ERROR:
            return UsbFault("sequence", f"an answer of type {header.type:#x} came out of turn")
        words = clean(bytes(self.short_payload(header, view)).decode("utf-8", "replace"))
        kind = "lost" if header.flags & FLAG_LOST else "error"
        if header.code in (Code.NO_MODEL, Code.WRONG_MODEL):
            kind = "model"
        return UsbFault(kind, f"the device says {code_name(header.code)}: {words}")

    @staticmethod
    def short_payload(header: Header, view: memoryview) -> memoryview:
        """The payload of an answer that is no mask; ``view`` is all that came."""
        start, length = header.header_length, header.length
        if length > MAX_SHORT_ANSWER or len(view) != message_size(length, header.flags, start):
            raise UsbFault("short", f"{len(view)} bytes came, not a whole answer of {length}")
        if not check_payload(view, start, length, header.flags):
            raise UsbFault("crc", "the CRC of an answer is wrong")
        return view[start : start + length]

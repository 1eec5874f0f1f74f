"""A USB webcam without the hardware: USB Video Class 1.1 over a bulk endpoint, plugged into QEMU.

The kernel's uvcvideo makes a camera of it as of any webcam, for V4L2 and for libcamera. 448x448 and
640x480 in YUYV, and 640x480 in MJPEG; each picture is a ramp that moves on. dummy_hcd has no isochronous
transfers, so the kernel's own webcam gadget (usb_f_uvc) cannot stream there; a bulk endpoint works
everywhere.

Run it outside of the guest: python3 webcam.py SOCKET, with the socket of QEMU's usb-redir.
"""

from __future__ import annotations

import io
import itertools
import struct
import sys
import time
from typing import NamedTuple

import numpy as np
from gnetseg_device.descriptors import ENDPOINT_IN, SPEED_HIGH, Identity, standard_request
from gnetseg_device.transfer import Cancel, Reason, TransferError
from gnetseg_device.usbredir import UsbredirPeer
from PIL import Image

FPS = 10
#: One URB of uvcvideo: 32 packets of 512 bytes. Each carries one payload: a header of 2 bytes and data.
PAYLOAD = 16384
INTERVAL = 10_000_000 // FPS  # of 100 ns
_GUID_YUY2 = bytes.fromhex("5955593200001000800000aa00389b71")


class Mode(NamedTuple):
    width: int
    height: int

    @property
    def frame_bytes(self) -> int:
        return self.width * self.height * 2


#: By format (1: YUYV, 2: MJPEG), then by frame, as the descriptors count them.
MODES = {1: (Mode(448, 448), Mode(640, 480)), 2: (Mode(640, 480),)}


def _control_interface() -> bytes:
    terminal = struct.pack("<BBBBHBBHHHBBB", 18, 0x24, 2, 1, 0x0201, 0, 0, 0, 0, 0, 3, 0, 0) + b"\0"
    terminal = bytes([len(terminal)]) + terminal[1:]
    output = struct.pack("<BBBBHBBB", 9, 0x24, 3, 2, 0x0101, 0, 1, 0)
    header = struct.pack("<BBBHHIBB", 13, 0x24, 1, 0x0110, 13 + len(terminal) + len(output), 6_000_000, 1, 1)
    return struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 0, 14, 1, 0, 0) + header + terminal + output


def _frames(kind: int, modes: tuple[Mode, ...]) -> bytes:
    return b"".join(
        struct.pack(
            "<BBBBBHHIIIIBI", 30, 0x24, kind, number, 0, mode.width, mode.height, mode.frame_bytes * 8 * FPS,
            mode.frame_bytes * 8 * FPS, mode.frame_bytes, INTERVAL, 1, INTERVAL,
        )
        for number, mode in enumerate(modes, 1)
    )  # fmt: skip


def _streaming_interface() -> bytes:
    colour = struct.pack("<BBBBBB", 6, 0x24, 13, 1, 1, 4)
    raw = struct.pack("<BBBBB16sBBBBBB", 27, 0x24, 4, 1, len(MODES[1]), _GUID_YUY2, 16, 1, 0, 0, 0, 0)
    jpeg = struct.pack("<BBBBBBBBBBB", 11, 0x24, 6, 2, len(MODES[2]), 0, 1, 0, 0, 0, 0)
    formats = raw + _frames(5, MODES[1]) + colour + jpeg + _frames(7, MODES[2]) + colour
    header = struct.pack(
        "<BBBBHBBBBBBBBB", 15, 0x24, 1, len(MODES), 15 + len(formats), ENDPOINT_IN, 0, 2, 0, 0, 0, 1, 0, 0
    )
    endpoint = struct.pack("<BBBBHB", 7, 5, ENDPOINT_IN, 2, 512, 0)
    interface = struct.pack("<BBBBBBBBB", 9, 4, 1, 0, 1, 14, 2, 0, 0)
    return interface + header + formats + endpoint


def _configuration() -> bytes:
    group = struct.pack("<BBBBBBBB", 8, 11, 0, 2, 14, 3, 0, 0)
    body = group + _control_interface() + _streaming_interface()
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 250) + body


def _stream(form: int, frame: int) -> bytes:
    """What PROBE and COMMIT say (UVC 1.1, 34 bytes)."""
    size = MODES[form][frame - 1].frame_bytes
    return struct.pack(
        "<HBBIHHHHHIIIBBBB", 1, form, frame, INTERVAL, 0, 0, 0, 0, 0, size, PAYLOAD, 6_000_000, 3, 0, 1, 1
    )


class Webcam:
    """What ``UsbredirPeer`` wants of a port: transfers in, transfers out."""

    def __init__(self) -> None:
        self.identity = Identity("webcam-0001", product="hil webcam")
        self.attachment = 1
        self._payloads = self._all_payloads()
        self._due = 0.0
        self._form = self._frame = 1

    def on_change(self) -> None:
        """It never leaves by itself."""

    def speed(self) -> int:
        return SPEED_HIGH

    def reset(self, _: int) -> None:
        """There is nothing to forget."""

    def has(self, attachment: int) -> bool:
        return attachment == self.attachment

    def cancel(self, cancel: Cancel) -> None:
        cancel.wanted = True

    def control_in(self, _: int, request_type: int, request: int, value: int, length: int) -> bytes:
        if (request_type, request, value >> 8) == (0x80, 6, 2):
            return _configuration()[:length]
        if request_type == 0xA1:
            if request == 0x86:  # GET_INFO: may be read and written
                return b"\3"
            if request == 0x85:  # GET_LEN
                return struct.pack("<H", len(_stream(1, 1)))
            if value >> 8 in (1, 2):
                return _stream(self._form, self._frame)[:length]
        standard = standard_request(self.identity, request_type, request, value)
        if standard is None:
            raise TransferError(Reason.STALL)
        return standard[:length]

    def control_out(
        self, _: int, request_type: int, request: int, value: int, index: int, data: bytes
    ) -> None:
        """PROBE and COMMIT choose a format and a frame; whatever else is set stays as it is."""
        set_stream = (request_type, request, index) == (0x21, 1, 1)
        if set_stream and value >> 8 in (1, 2) and len(data) >= 4:
            form = data[2] if data[2] in MODES else 1
            self._form, self._frame = form, min(max(data[3], 1), len(MODES[form]))

    def bulk_out(self, *_: object) -> int:
        raise TransferError(Reason.STALL)

    def bulk_in(self, _: int, buffer: memoryview, *__: object) -> int:
        """The next payload, at the pace of the camera; a transfer never waits for longer than a picture."""
        payload = next(self._payloads)
        buffer[: len(payload)] = payload
        return len(payload)

    def _all_payloads(self) -> itertools.chain[bytes]:
        return itertools.chain.from_iterable(map(self._payloads_of, itertools.count()))

    def _payloads_of(self, number: int) -> list[bytes]:
        """The payloads of picture ``number``: a header of two bytes each, the last one says so."""
        now = time.monotonic()
        self._due = max(self._due + 1 / FPS, now)
        time.sleep(self._due - now)
        mode = MODES[self._form][self._frame - 1]
        luma = np.tile((np.arange(mode.width) // 2 + 8 * number).astype(np.uint8), (mode.height, 1))
        if self._form == 2:
            file = io.BytesIO()
            Image.fromarray(luma).convert("RGB").save(file, "JPEG", quality=90)
            data = file.getvalue()
        else:
            data = np.stack([luma, np.full_like(luma, 128)], axis=2).tobytes()
        step = PAYLOAD - 2
        starts = range(0, len(data), step)
        flags = [0x80 | number & 1] * (len(starts) - 1) + [0x82 | number & 1]
        return [
            bytes([2, flag]) + data[start : start + step] for start, flag in zip(starts, flags, strict=True)
        ]


if __name__ == "__main__":
    UsbredirPeer(Webcam(), sys.argv[1]).serve()  # type: ignore[arg-type]

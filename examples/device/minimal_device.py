"""The smallest device of docs/protocol.md: one fixed network, no upload. Written from the page, in one file.

The class knows nothing of USB: write it in your board's language and call it from your USB stack. Try it:

    gnetseg-conform --backend examples/device/minimal_device.py:backend
"""

import hashlib
import struct
from collections import deque
from zlib import crc32

SLOTS, WIDTH, HEIGHT, BITS = 2, 32, 24, 8
MODEL = hashlib.sha256(b"label 1 where a pixel is 128 or brighter").digest()
RECORD = struct.pack("<32sIHHBxHHH16x", MODEL, 40, WIDTH, HEIGHT, 0, 2, WIDTH, HEIGHT)
MODEL_ID = int.from_bytes(MODEL[:4], "little")
FRAME, RESULT, ERROR, PAYLOAD_CRC, CRC_FLAG, LOST_FLAG = 0x01, 0x81, 0xFF, 1, 1, 2
NO_SESSION, IN_SESSION, LOST = 0, 1, 2
BAD_HEADER, TOO_LONG, BAD_SEQUENCE, BAD_PAYLOAD, NO_CREDIT, WRONG_MODEL = 1, 2, 3, 4, 5, 7
BAD_FORMAT, UNSUPPORTED = 8, 10
HEADER = struct.Struct("<2sBBBBBBIIIHHI")  # all but its CRC


def network(pixels):
    """Your chip's part: one label a byte. Here a threshold."""
    return bytes(y >= 128 for y in pixels)


def good_header(data):
    """Its fields, or None: "magic, version, header length or header CRC is wrong"."""
    if len(data) < 32 or crc32(data[:28]) != int.from_bytes(data[28:32], "little"):
        return None
    magic, version, length, *fields = HEADER.unpack_from(data)
    good = magic == b"GS" and version == 1 and 32 <= length <= 64 and length % 4 == 0
    return (length, *fields) if good else None


class MinimalDevice:
    def __init__(self):
        self.soft_reset()

    def soft_reset(self):
        self.state, self.features, self.last_error = NO_SESSION, 0, 0
        self.frames = self.errors = self.bad_payloads = self.stale = self.sessions = 0
        self.answers = deque()  # each is a request in flight, until it has been sent
        self.begin(0, NO_SESSION)

    def begin(self, epoch, state):
        """Whatever was under way is thrown away."""
        self.epoch, self.state, self.next_sequence = epoch, state, 1
        self.answers.clear()
        self.stream, self.hunting = b"", True

    def control_in(self, request, length):  # None is a STALL
        if request == 0x01:
            data = struct.pack(
                "<4sBBHIBBBBIII4x64s32s", b"GSLK", 1, 1, 128, PAYLOAD_CRC, SLOTS, 0x8, 0x1, self.state,
                WIDTH * HEIGHT, 0, 0, RECORD, b"minimal device 1.0",
            )  # fmt: skip
        elif request == 0x03:
            data = struct.pack(
                "<BBBBIIIIIIIIIII16x", self.state, self.last_error, SLOTS, len(self.answers), self.epoch,
                self.next_sequence, MODEL_ID, 0, 0, self.frames, self.frames, self.errors,
                self.bad_payloads, self.stale, self.sessions,
            )  # fmt: skip
        else:
            return None
        return data[:length]

    def control_out(self, request, data):  # False is a STALL: nothing has changed
        if request == 0x02 and len(data) >= 16:
            magic, major, _, bits, features, epoch = struct.unpack_from("<4sBBBxII", data)
            if magic != b"GSLK" or major != 1 or bits != BITS or features & ~PAYLOAD_CRC or epoch == 0:
                return False
            self.begin(epoch, IN_SESSION)
            self.features = features
            self.sessions += 1
        elif request == 0x04 and len(data) == 4 and self.state != NO_SESSION:
            epoch = int.from_bytes(data, "little")
            if epoch in (0, self.epoch):
                return False
            self.begin(epoch, IN_SESSION)
        elif request == 0x05 and not data:
            self.soft_reset()
        else:
            return False
        return True

    def bulk_in(self):
        """The next answer, which has then been sent; None if there is none."""
        return self.answers.popleft() if self.answers else None

    def bulk_out(self, data):
        """One transfer; its first byte begins a packet."""
        if self.state == IN_SESSION:
            self.stream = self.first_header(data) if self.hunting else self.stream + data
            while self.state == IN_SESSION and not self.hunting and len(self.stream) >= 32:
                if not self.take_message():
                    return

    def first_header(self, data):
        """After HELLO or ABORT: what begins with a header of the epoch, at the beginning of a packet."""
        for piece in (self.stream + data, *(data[start:] for start in range(0, len(data), 512))):
            fields = good_header(piece)
            if fields and fields[5] == self.epoch:
                self.hunting = False
                return piece
        last = data[len(data) // 512 * 512 :]
        return last if len(last) < 32 else b""  # perhaps the first part of a header

    def take_message(self):
        """The message at the beginning of the stream; False if it is not whole yet, or lost."""
        fields = good_header(self.stream)
        if not fields:
            return self.lose(BAD_HEADER, "this is no header")
        head_size, kind, flags, pixel, _, epoch, sequence, length, width, height, model_id = fields
        if length > WIDTH * HEIGHT:
            return self.lose(TOO_LONG, f"{length} bytes of payload are too long")
        if epoch == self.epoch and sequence != self.next_sequence:
            return self.lose(BAD_SEQUENCE, f"sequence {sequence} came, {self.next_sequence} was due")
        if epoch == self.epoch and len(self.answers) >= 4 * SLOTS:
            return self.lose(NO_CREDIT, "far more requests than slots")
        crc_size = 4 if flags & CRC_FLAG else 0
        end = head_size + length + crc_size
        size = end if end % 512 else end + 4
        if len(self.stream) < size:
            return False
        payload, crc = self.stream[head_size : head_size + length], self.stream[head_size + length : end]
        self.stream = self.stream[size:]
        if epoch != self.epoch:
            self.stale += 1
            return True
        self.next_sequence = (sequence + 1) % 2**32
        if len(self.answers) >= SLOTS:
            self.fail(NO_CREDIT, sequence, "more requests than slots")
        elif kind != FRAME:
            self.fail(UNSUPPORTED, sequence, f"type {kind} is not known here")
        elif model_id != MODEL_ID:
            self.fail(WRONG_MODEL, sequence, "this device has another model")
        elif bool(crc) != bool(self.features & PAYLOAD_CRC):
            self.fail(BAD_PAYLOAD, sequence, "a CRC is missing, or was not agreed")
        elif (pixel, width, height, length) != (0, WIDTH, HEIGHT, WIDTH * HEIGHT):
            self.fail(BAD_FORMAT, sequence, f"a picture is {WIDTH}x{HEIGHT} bytes of luminance")
        elif crc and int.from_bytes(crc, "little") != crc32(payload):
            self.bad_payloads += 1
            self.fail(BAD_PAYLOAD, sequence, "the payload's CRC is wrong")
        else:
            self.frames += 1
            self.answer(RESULT, sequence, network(payload), 0, BITS, 0, WIDTH, HEIGHT, MODEL_ID)
        return True

    def lose(self, code, text):
        """Nothing is taken until ABORT, HELLO or SOFT_RESET."""
        self.state, self.stream = LOST, b""
        self.fail(code, 0, text, LOST_FLAG)

    def fail(self, code, sequence, text, flags=0):
        self.errors += 1
        self.last_error = code
        self.answer(ERROR, sequence, text.encode(), flags, 0, code, 0, 0, 0)

    def answer(self, kind, sequence, payload, flags, *rest):
        bits_or_0, code, *shape = rest
        flags |= CRC_FLAG if self.features & PAYLOAD_CRC else 0
        fields = (b"GS", 1, 32, kind, flags, bits_or_0, code, self.epoch, sequence, len(payload), *shape)
        head = HEADER.pack(*fields)
        message = head + crc32(head).to_bytes(4, "little") + payload
        message += crc32(payload).to_bytes(4, "little") if flags & CRC_FLAG else b""
        self.answers.append(message if len(message) % 512 else message + bytes(4))


def backend():
    """For gnetseg-conform, and for any host on pyusb: the device behind a USB port of this process."""
    from gnetseg_device.plain_port import backend_of

    return backend_of(MinimalDevice())

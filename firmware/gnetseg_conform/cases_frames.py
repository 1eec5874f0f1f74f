"""What the page demands of frames and their answers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from gnetsegd.frame import FrameSpec
from gnetsegd.link import constants as c
from gnetsegd.link.constants import Code, Feature, Type
from gnetsegd.link.header import HEADER_SIZE

from .bench import MANY, UNKNOWN_REQUEST, whole
from .registry import case
from .verdict import OutOfTime, Skip, demand

if TYPE_CHECKING:
    from .bench import Bench


@case(
    "Sequence and credits", "At most *slots* requests may be in flight", catches=("stall-out", "timeout-out")
)
def frame_taken(bench: Bench) -> None:
    """Bulk OUT takes a FRAME for each slot that was granted."""
    record = bench.session()
    first = bench.sequence
    count = bench.capabilities().slots
    bench.send(*(bench.frame(record) for _ in range(count)))
    for sequence in range(first, first + count):
        bench.expect(Type.RESULT, sequence)


@case(
    "Types",
    "Every request is answered exactly once",
    catches=("mute", "missing-sequence", "timeout", "stall-in"),
)
def frame_answered(bench: Bench) -> None:
    """A FRAME is answered."""
    record = bench.session()
    for _ in range(2):
        bench.send(bench.frame(record))
        bench.answer()


@case(
    "Types", "| 0x01 | FRAME | the picture, see *Pixel formats* | RESULT or ERROR |", catches=("error-reply",)
)
def frame_result(bench: Bench) -> None:
    """A FRAME as the model's record asks for is answered with a RESULT, not with an ERROR."""
    record = bench.session()
    bench.serve(record, 2)


@case("Types", "answers come in the order of the requests", catches=("reordered-sequence",))
def answers_in_order(bench: Bench) -> None:
    """Requests in flight together are answered in their order."""
    record = bench.session()
    count = bench.capabilities().slots
    if count < 2:
        raise Skip("the device has one slot only")
    for _ in range(2):
        first = bench.sequence
        bench.send(*(bench.frame(record) for _ in range(count)))
        for sequence in range(first, first + count):
            bench.expect(Type.RESULT, sequence)


@case("In one minute", "Each frame is answered, in order, on bulk IN: a **RESULT** (header and mask)")
def own_mask(bench: Bench) -> None:
    """Each of several frames in flight is answered with the mask of its own picture."""
    record = bench.session()
    count, size = bench.capabilities().slots, bench.spec(record).size_bytes
    alone = {}
    for pixels in (bench.picture(bench.spec(record)), bytes(size), b"\xff" * size):
        bench.session()
        bench.send(bench.frame(record, pixels))
        alone[pixels] = bench.labels(record, 1)
    pictures = list(alone)
    if all((labels == alone[pictures[0]]).all() for labels in alone.values()):
        raise Skip("the network gives the same mask of every picture that was tried")
    order = [pictures[number % len(pictures)] for number in range(max(count, len(pictures) + 1))]
    bench.session()
    for number, pixels in enumerate(order, 1):
        while bench.sequence < min(number + count, len(order) + 1):
            bench.send(bench.frame(record, order[bench.sequence - 1]))
        wrong = int((bench.labels(record, number) != alone[pixels]).sum())
        demand(not wrong, f"frame {number} of several has another mask than alone: {wrong} labels differ")


@case("Types", "Every request is answered exactly once", catches=("duplicate-sequence",))
def answered_once(bench: Bench) -> None:
    """No second answer follows the first."""
    record = bench.session()
    bench.serve(record)
    bench.silence("the only request was answered")
    bench.serve(record)


@case("Header", "of the request; an answer repeats it", catches=("wrong-sequence",))
def answer_sequence(bench: Bench) -> None:
    """An answer repeats the sequence of its request."""
    record = bench.session()
    for _ in range(3):
        sequence = bench.sequence
        bench.send(bench.frame(record))
        answer = bench.answer()
        demand(
            answer.header.sequence == sequence,
            f"the answer to request {sequence} has sequence {answer.header.sequence}",
        )


@case("Epoch", "Every message carries the epoch", catches=("stale-epoch",))
def answer_epoch(bench: Bench) -> None:
    """An answer carries the epoch of the session."""
    bench.session()
    bench.silence("HELLO")  # whatever an earlier session left in a buffer is out of the way now
    record = bench.session()
    for _ in range(2):
        bench.send(bench.frame(record))
        bench.answer(may_be_old=False)


@case("Header", "CRC-32 of bytes 0 to 27", catches=("garbage-header", "bad-header-crc"))
def answer_header(bench: Bench) -> None:
    """An answer's header has the magic, version 1, a length of its own and the right CRC."""
    record = bench.session()
    for _ in range(4):
        bench.send(bench.frame(record))
        bench.answer()


@case("Messages on the bulk endpoints", "a message MUST be one transfer", catches=("short-read",))
def answer_is_one_transfer(bench: Bench) -> None:
    """An answer is one transfer: header, payload, CRC and pad together, ended by a short packet."""
    record = bench.session()
    for _ in range(2):
        bench.send(bench.frame(record))
        for transfer in bench.transfers():
            if len(transfer) < 12 or int.from_bytes(transfer[8:12], "little") == bench.epoch:
                break
        whole(transfer)
        demand(
            len(transfer) % c.PACKET != 0,
            f"an answer of {len(transfer)} bytes ends with a full packet; four bytes of 0 are to follow",
        )


@case(
    "Messages on the bulk endpoints",
    "Neither side may send one; a zero-length packet that arrives is not a message",
    catches=("zero-length-packet",),
)
def no_zero_length_packet(bench: Bench) -> None:
    """No zero-length packet comes on bulk IN, before or after an answer."""
    record = bench.session()
    for _ in range(2):
        bench.send(bench.frame(record))
        bench.answer()
    try:
        count = len(bench.raw(bench.times.silence_s))
    except OutOfTime:
        return
    demand(count != 0, "a zero-length packet came after an answer")
    demand(False, f"{count} bytes came after the last answer")


@case("Limits", "RESULT: exactly the mask's bytes", catches=("over-cap-length", "mask-size"))
def result_size(bench: Bench) -> None:
    """A RESULT's payload has exactly the bytes of its mask, and its header says so."""
    record = bench.session()
    bench.serve(record, 2)


@case("Header", "which one made the mask")
def result_fields(bench: Bench) -> None:
    """A RESULT's header has the mask's size, its bits a pixel and the id of the active model."""
    record = bench.session()
    bench.send(bench.frame(record))
    header = bench.expect(Type.RESULT, 1).header
    for name, is_, due in (
        ("width", header.width, record.mask.width), ("height", header.height, record.mask.height),
        ("format", header.format, bench.bits), ("model id", header.model_id, record.model_id),
        ("code", header.code, 0),
    ):  # fmt: skip
        demand(is_ == due, f"the RESULT's {name} is {is_:#x} instead of {due:#x}")


@case("Mask encodings", "A label that is no class of the model", catches=("bad-labels",))
def labels_are_classes(bench: Bench) -> None:
    """Every label of a mask is a class of the model."""
    record = bench.session()
    bits = [b for b in bench.capabilities().mask_bits if record.mask.classes < 1 << b]
    if not bits:
        raise Skip("the model's classes fill every encoding offered: there is nothing to look at")
    for each in bits:
        bench.session(each)
        bench.serve(record, 2)


@case("Mask encodings", "unused bits at the end of a row are 0", catches=("bad-padding",))
def padding_is_zero(bench: Bench) -> None:
    """The unused bits at the end of a mask's rows are 0."""
    record = bench.session()
    bits = [
        b
        for b in bench.capabilities().mask_bits
        if record.mask.classes <= 1 << b and record.mask.width * b % 8
    ]
    if not bits:
        raise Skip("the rows of this model's masks fill their bytes: there is nothing to look at")
    for each in bits:
        bench.session(each)
        bench.serve(record, 2)


@case("Mask encodings", "8, 4, 2 or 1 bits a pixel, as HELLO chose")
def encodings(bench: Bench) -> None:
    """The same picture gives the same labels in every encoding that holds them."""
    record = bench.session()
    pixels = bench.picture(bench.spec(record))
    first = None
    for bits in bench.capabilities().mask_bits:
        if record.mask.classes > 1 << bits:
            continue
        bench.session(bits)
        bench.send(bench.frame(record, pixels))
        labels = bench.labels(record, 1)
        first = labels if first is None else first
        wrong = int((labels != first).sum())
        demand(not wrong, f"with {bits} bits a pixel {wrong} labels of {labels.size} differ")


@case("Mask encodings", "its FRAMEs are answered with ERROR `BAD_ENCODING`")
def encoding_too_small(bench: Bench) -> None:
    """Where the model's labels do not fit in the session's bits, FRAMEs are answered with BAD_ENCODING."""
    record = bench.model()
    small = [bits for bits in bench.capabilities().mask_bits if record.mask.classes > 1 << bits]
    if not small:
        raise Skip("the model's labels fit in every encoding offered")
    bench.session()
    bench.hello(small[0])
    bench.send(bench.frame(record))
    bench.expect_error(Code.BAD_ENCODING, 1)


@case("Pixel formats", "the device up-samples, each U and V standing for its 2 x 2 pixels")
def yuv420(bench: Bench) -> None:
    """A YUV444 network takes YUV420 as well, and gives the mask of the up-sampled picture."""
    record = bench.session()
    spec, told = record.input, bench.capabilities()
    both = {c.PIXEL_FORMAT_CODES["YUV420"], c.PIXEL_FORMAT_CODES["YUV444"]}
    if spec.pixel_format != "YUV444" or not both <= set(told.pixel_formats):
        raise Skip("the model takes no YUV444, or the device not both forms of it")
    if spec.width % 2 or spec.height % 2:
        raise Skip("the model's picture has an odd side")
    planar = np.frombuffer(bench.picture(FrameSpec(spec.width, spec.height, "YUV420")), np.uint8)
    size = spec.width * spec.height
    chroma = planar[size:].reshape(2, spec.height // 2, spec.width // 2)
    full = np.empty(spec.shape, np.uint8)
    full[..., 0] = planar[:size].reshape(spec.height, spec.width)
    full[..., 1:] = chroma.repeat(2, axis=1).repeat(2, axis=2).transpose(1, 2, 0)
    bench.send(bench.frame(record, planar.tobytes(), "YUV420"))
    compact = bench.labels(record, 1)
    bench.send(bench.frame(record, full.tobytes()))
    wrong = int((bench.labels(record, 2) != compact).sum())
    demand(not wrong, f"{wrong} labels of {compact.size} differ from those of the up-sampled picture")


@case(
    "Features",
    "every FRAME, RESULT and ERROR has flag bit 0 and the CRC. Not in force: none has",
    catches=("bad-payload-crc",),
)
def payload_crc(bench: Bench) -> None:
    """With PAYLOAD_CRC in force each RESULT and ERROR has the right CRC, without it none has."""
    if not bench.capabilities().features & Feature.PAYLOAD_CRC:
        raise Skip("PAYLOAD_CRC is not offered")
    for features in (int(Feature.PAYLOAD_CRC), 0):
        record = bench.session(features=features)
        bench.serve(record, 2)
        bench.send(bench.frame(record, model_id=record.model_id ^ 1))
        flags = bench.expect_error(Code.WRONG_MODEL, 3).header.flags
        word = "in force" if features else "not in force"
        demand(
            bool(flags & c.FLAG_CRC) == bool(features), f"PAYLOAD_CRC is {word}, an ERROR has flags {flags}"
        )


@case("Messages on the bulk endpoints", "are a multiple of 512, four bytes of 0 follow")
def pad(bench: Bench) -> None:
    """A request whose header and payload are a multiple of 512 is followed by four bytes of 0."""
    record = bench.session()
    longest = bench.capabilities().max_payload
    if longest < c.PACKET - HEADER_SIZE:
        raise Skip("the longest payload that the device accepts makes no whole packet")
    for payload in (c.PACKET - HEADER_SIZE, c.PACKET - HEADER_SIZE - 1, 2 * c.PACKET - HEADER_SIZE):
        if payload > longest:
            continue
        sequence = bench.sequence
        bench.send(bench.message(UNKNOWN_REQUEST, bytes(payload)))
        bench.expect_error(Code.UNSUPPORTED, sequence)
        bench.serve(record)


@case("Messages on the bulk endpoints", "A device MUST take it in several, too: bulk OUT is a stream")
def several_transfers(bench: Bench) -> None:
    """A message may come in several transfers, its header divided between two of them."""
    record = bench.session()
    for cuts in ((20,), (32,), (20, 40), (32, c.PACKET // 2, c.PACKET), (1,)):
        sequence = bench.sequence
        message = bench.frame(record)
        edges = [0, *(cut for cut in cuts if cut < len(message)), len(message)]
        if (edges[-1] - edges[-2]) % c.PACKET == 0:
            edges.insert(-1, edges[-2] + 1)  # a message ends with a short packet, in pieces as well
        bench.send(*(message[a:b] for a, b in itertools.pairwise(edges)))
        bench.labels(record, sequence)


@case("Types", "An unknown type is skipped by its length. A device answers an unknown *request*")
def unknown_type(bench: Bench) -> None:
    """A request of an unknown type is answered with UNSUPPORTED; its sequence is used up."""
    record = bench.session()
    for sequence, payload in ((1, b"later"), (2, b"")):
        bench.send(bench.message(UNKNOWN_REQUEST, payload))
        bench.expect_error(Code.UNSUPPORTED, sequence)
    bench.serve(record)


@case("Header", "Other bits are sent as 0 and ignored")
def unknown_flags(bench: Bench) -> None:
    """Flags that the page does not know are ignored in a FRAME."""
    record = bench.session()
    bench.send(bench.frame(record, flags=0x80))
    bench.labels(record, 1)


@case("Header", "what is beyond 32 is skipped")
def longer_header(bench: Bench) -> None:
    """A header of 36 to 64 bytes, as a later minor version may send it, is skipped beyond 32."""
    from gnetseg_device.defects import lengthen

    record = bench.session()
    for sequence, size in enumerate((36, 48, c.MAX_HEADER_SIZE), 1):
        bench.send(lengthen(bench.frame(record), size))
        bench.labels(record, sequence)
    bench.serve(record)


@case("Epoch", "by the device without an answer (the host gave it up when it said ABORT)")
def old_epoch_ignored(bench: Bench) -> None:
    """A message of another epoch is thrown away by its length, without an answer."""
    record = bench.session()
    bench.serve(record)
    old = bench.frame(record, epoch=bench.new_epoch())
    bench.sequence -= 1
    stale = bench.status().stale
    bench.send(old)
    bench.silence("a message of another epoch")
    counted = bench.status().stale - stale
    demand(counted == 1, f"GET_STATUS counts {counted} messages of another epoch instead of 1")
    bench.serve(record)


@case("Epoch", "So a first message whose header is bad is thrown away in silence")
def tail_thrown_away(bench: Bench) -> None:
    """Before the first good header of an epoch, whatever comes is thrown away in silence."""
    record = bench.session()
    bench.send(bench.random.randbytes(c.PACKET // 2))
    bench.silence("bytes that are no header at the beginning of an epoch")
    # A header is at the beginning of a packet; elsewhere it is a part of something.
    bench.send(bytes(4) + bench.message(UNKNOWN_REQUEST))
    bench.sequence = 1
    bench.silence("a header that is not at the beginning of a packet")
    bench.serve(record, 2)


@case(
    "In one minute",
    "Each frame is answered, in order, on bulk IN: a **RESULT** (header and mask) or an **ERROR**",
    catches=("proof-only", "few-then-hang", "error-all", "lost-all", "stale-all", "flap-after"),
)
def serves_on(bench: Bench) -> None:
    """Forty sound frames in a row give forty RESULTs, with as many in flight as slots."""
    record = bench.session()
    depth = bench.capabilities().slots
    for sequence in range(1, MANY + 1):
        while bench.sequence < min(sequence + depth, MANY + 1):
            bench.send(bench.frame(record))
        bench.labels(record, sequence)


@case("The recovery ladder", "clear halt (CLEAR_FEATURE ENDPOINT_HALT) on both endpoints")
def halt_cleared(bench: Bench) -> None:
    """CLEAR_FEATURE(ENDPOINT_HALT) is accepted on both endpoints, and the link works after ABORT."""
    record = bench.session()
    bench.serve(record)
    bench.abort()
    bench.wire.clear_halts()
    bench.serve(record, 2)


@case(
    "The recovery ladder", "reset the USB port, claim the interface again, HELLO", changes="the port is reset"
)
def port_reset(bench: Bench) -> None:
    """After a reset of the port the device is there under its address, and HELLO makes it work."""
    record = bench.session()
    bench.serve(record)
    bench.wire.reset()
    demand(bench.capabilities().model == record, "the active model is another one after a reset of the port")
    bench.session()
    bench.serve(record, 2)

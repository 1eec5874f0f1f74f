"""Everything a cable, a hub or a device can do to a host, by name.

``FAULTS`` is the table: docs/mock-device.md is checked against it, and the tests of the host driver
go through it. ``Injector`` decides when one happens; ``port`` makes it happen, and ``spoil`` changes
the bytes of an answer. The engine knows of none of this.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from zlib import crc32

from gnetsegd.link.constants import FLAG_CRC, Code, Type
from gnetsegd.link.header import HEADER_SIZE, MODULUS, Header, pack_message, read_header


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table.

    ``place`` is where it is drawn (see ``Injector.draw``). A ``lasting`` fault is a condition: it is
    there until it is cleared, its rate is 1 unless told otherwise. Any other happens to single
    transfers, and the device works on by itself afterwards.
    """

    name: str
    place: str
    does: str
    outcome: str
    lasting: bool = False


_LOST = "the frames in flight are lost, none of their masks is published; ABORT, then it works again"
_GONE = "the frames in flight are lost; the host finds the device again by its serial number"
_RETRY = "the host says so in one sentence, and keeps trying until it works"

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("unplug-idle", "idle", "pulled while nothing is in flight, back after 0.5 s", _GONE),
        Fault("unplug-out", "out", "pulled in the middle of an OUT transfer, back after 0.5 s", _GONE),
        Fault("unplug-in", "in", "pulled in the middle of an IN transfer, back after 0.5 s", _GONE),
        Fault(
            "unplug-upload", "upload", "pulled in the middle of a MODEL_CHUNK, back after 0.5 s",
            "the upload starts again; no half model is ever used",
        ),
        Fault("replug", "out", "pulled and back within 0.1 s", _GONE),
        Fault("replug-elsewhere", "out", "pulled, back within 0.1 s on another port of another bus", _GONE),
        Fault(
            "reboot-lost-model", "out", "gone for 0.1 s, comes back without any model",
            "the host finds it again and uploads the model before the next frame",
        ),
        Fault("stall-out", "out", "the OUT endpoint halts in mid-transfer", f"clear halt; {_LOST}"),
        Fault("stall-in", "in", "the IN endpoint halts", f"clear halt; {_LOST}"),
        Fault("timeout", "in", "the IN transfer brings nothing until the host's time is over", _LOST),
        Fault("timeout-out", "out", "the OUT transfer takes nothing until the host's time is over", _LOST),
        Fault("short-read", "in", "the IN transfer ends after half of the message", _LOST),
        Fault("short-write", "out", "the OUT transfer takes half of the message and reports success", _LOST),
        Fault("zero-length-packet", "in", "an empty IN transfer before the message", _LOST),
        Fault("garbage-header", "answer", "32 random bytes instead of the header", _LOST),
        Fault("bad-header-crc", "answer", "one bit of the header is turned", _LOST),
        Fault(
            "bad-payload-crc", "answer",
            "one bit of the payload is turned, where a CRC goes with it (else it cannot be seen)", _LOST,
        ),
        Fault("wrong-sequence", "answer", "an answer with a sequence that was never sent", _LOST),
        Fault("duplicate-sequence", "answer", "an answer comes twice", _LOST),
        Fault("missing-sequence", "answer", "an answer never comes", _LOST),
        Fault("reordered-sequence", "answer", "two answers change places", _LOST),
        Fault("stale-epoch", "answer", "an answer of another epoch instead of the right one", _LOST),
        Fault(
            "over-cap-length", "answer", "a header that claims a payload of 4 GB",
            f"nothing is allocated; {_LOST}",
        ),
        Fault("mask-size", "answer", "a RESULT whose mask has one row less", _LOST),
        Fault(
            "error-reply", "answer", "ERROR NETWORK_FAILED instead of the RESULT",
            "that one frame is lost, the epoch goes on",
        ),
        Fault(
            "no-memory", "out", "the OUT transfer fails with ENOMEM",
            "the host names usbfs_memory_mb; the frames in flight are lost, then it works again",
        ),
        Fault("older-minor", "capabilities", "the device is of version 1.0", "it is used", lasting=True),
        Fault(
            "other-major", "capabilities", "the device is of version 2.0",
            "not used; one sentence with both versions, and the host keeps looking", lasting=True,
        ),
        Fault(
            "not-ours", "capabilities", "another product with the same USB ids",
            "not used; one sentence, and the host keeps looking", lasting=True,
        ),
        Fault("no-credit", "capabilities", "the device grants no slots, ever", _RETRY, lasting=True),
        Fault(
            "mute", "answer", "frames are taken and never answered",
            "the host climbs the ladder again and again with growing pauses, and says so", lasting=True,
        ),
        Fault(
            "slow", "compute", "every frame takes ten times as long, at least 50 ms",
            "fewer masks, each the right one; no recovery if the time limit is longer than that",
            lasting=True,
        ),
        Fault("permission", "open", "opening the device fails with EACCES", _RETRY, lasting=True),
        Fault("busy", "claim", "claiming the interface fails with EBUSY", _RETRY, lasting=True),
        Fault("full-speed", "speed", "the link is at 12 Mbit/s", "the host says so", lasting=True),
    )
}  # fmt: skip


@dataclass(slots=True)
class _Armed:
    fault: Fault
    rate: float
    count: int | None
    after: int


class Injector:
    """Decides at each opportunity, from a seed, whether an armed fault happens.

    ``injected`` counts what happened, by name.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.injected: Counter[str] = Counter()
        #: Armed faults by place: empty where there is nothing to decide, which is the usual case.
        self._armed: dict[str, list[_Armed]] = {}

    def arm(self, name: str, rate: float = 1.0, *, count: int | None = None, after: int = 0) -> None:
        """From now on ``name`` happens with probability ``rate`` at each opportunity.

        ``count`` times at most (None: until cleared), not at the next ``after`` opportunities.
        ``KeyError`` for an unknown name, ``ValueError`` for a rate that is not 0 to 1.
        """
        fault = FAULTS[name]
        if not 0 <= rate <= 1:
            raise ValueError(f"fault {name}: a rate of {rate:g} is not 0 to 1")
        self.clear(name)
        self._armed.setdefault(fault.place, []).append(_Armed(fault, rate, count, after))

    def clear(self, name: str | None = None) -> None:
        """Disarm one fault, or all."""
        for place, armed in list(self._armed.items()):
            left = [entry for entry in armed if name is not None and entry.fault.name != name]
            if left:
                self._armed[place] = left
            else:
                del self._armed[place]

    @property
    def armed(self) -> bool:
        """Whether any fault may happen."""
        return bool(self._armed)

    def draw(self, place: str, *, impossible: frozenset[str] = frozenset()) -> str:
        """The name of the fault that happens at this opportunity, or "" if none does.

        ``impossible`` names those that cannot happen this time; they are not counted.
        """
        if place not in self._armed:
            return ""
        for entry in self._armed[place]:
            if entry.fault.name in impossible or entry.count == 0:
                continue
            if entry.after:
                entry.after -= 1
                continue
            if entry.rate < 1 and self.random.random() >= entry.rate:
                continue
            if entry.count is not None:
                entry.count -= 1
            self.injected[entry.fault.name] += 1
            return entry.fault.name
        return ""


def impossible_for(message: memoryview, in_flight: int) -> frozenset[str]:
    """Names of the answer faults that make no sense for this answer."""
    header = Header(*read_header(message))
    names = set()
    if in_flight < 2:
        names.add("reordered-sequence")
    if not header.flags & FLAG_CRC:
        names.add("bad-payload-crc")
    if header.type != Type.RESULT:
        names |= {"mask-size", "error-reply"}
    return frozenset(names)


def spoil(name: str, message: bytes, draw: random.Random) -> list[bytes]:
    """The transfers that come instead of an answer. Where a host that does not look would publish
    the mask, its labels are turned, so that this is seen."""
    header = Header(*read_header(memoryview(message)))
    payload = message[HEADER_SIZE : HEADER_SIZE + header.length]
    turned = bytes(byte ^ 1 for byte in payload)
    if name in ("missing-sequence", "mute"):
        return []
    if name == "duplicate-sequence":
        return [message, message]
    if name == "garbage-header":
        return [draw.randbytes(HEADER_SIZE) + message[HEADER_SIZE:]]
    if name == "bad-header-crc":
        place = draw.randrange(HEADER_SIZE)
        return [_turn_bit(message, place, draw)]
    if name == "bad-payload-crc":
        return [_turn_bit(message, HEADER_SIZE + draw.randrange(max(header.length, 1)), draw)]
    if name == "wrong-sequence":
        return [_rebuild(header._replace(sequence=(header.sequence + 1000) % MODULUS), turned)]
    if name == "stale-epoch":
        return [_rebuild(header._replace(epoch=(header.epoch - 1) % MODULUS), turned)]
    if name == "over-cap-length":
        return [_claim_length(message, 0xFFFFFF00)]
    if name == "mask-size":
        row = header.length // max(header.height, 1)
        return [_rebuild(header, turned[: max(header.length - row, 0)])]
    if name == "error-reply":
        error = pack_message(
            Type.ERROR, header.epoch, header.sequence, b"an injected fault",
            flags=header.flags, code=Code.NETWORK_FAILED,
        )  # fmt: skip
        return [error]
    raise KeyError(name)


def _turn_bit(message: bytes, place: int, draw: random.Random) -> bytes:
    spoiled = bytearray(message)
    spoiled[place] ^= 1 << draw.randrange(8)
    return bytes(spoiled)


def _rebuild(header: Header, payload: bytes) -> bytes:
    """A message with this header around another payload, with good CRCs."""
    return pack_message(
        header.type, header.epoch, header.sequence, payload,
        flags=header.flags, pixel=header.format, code=header.code,
        width=header.width, height=header.height, model_id=header.model_id,
    )  # fmt: skip


def _claim_length(message: bytes, length: int) -> bytes:
    """The message with another payload length in its header, and a good header CRC."""
    head = message[:16] + length.to_bytes(4, "little") + message[20:28]
    return head + crc32(head).to_bytes(4, "little") + message[HEADER_SIZE:]

"""Everything a cable, a hub or a device can do to a host, by name.

``FAULTS`` is the table: docs/mock-device.md is checked against it, and the tests of the host driver
go through it. ``Injector`` decides when one happens; ``port`` makes it happen, and ``spoil`` changes
the bytes of an answer. What a broken device does all the time is in ``defects``. The engine knows of
none of this.
"""

from __future__ import annotations

import math
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
    transfers, and the device works on by itself afterwards. ``unit`` is that of a number which the
    fault takes instead of a rate, ``value`` what it is unless told otherwise.
    """

    name: str
    place: str
    does: str
    outcome: str
    lasting: bool = False
    unit: str = ""
    value: float = 0.0


#: The place of what a broken device does all the time: see ``defects``.
DEFECT = "defect"

_LOST = "the frames in flight are lost, none of their masks is published; ABORT, then it works again"
_GONE = "the frames in flight are lost; the host finds the device again by its serial number"
_RETRY = "the host says so in one sentence, and keeps trying until it works"
_GIVEN_UP = (
    "a mended link that gives no mask is a failure in a row: the device is given up, and the host says why"
)


def _defect(name: str, does: str, outcome: str, unit: str = "", value: float = 0.0) -> Fault:
    return Fault(name, DEFECT, does, outcome, True, unit, value)


#: The proof is the first frame after each HELLO or ABORT.
_DEFECTS = (
    _defect(
        "flap-after",
        "works for so many frames (20), then is gone for 0.3 s, again and again: too little power",
        "none of its masks is wrong; pauses grow until it serves without a break, so that changes and words "
        "stay few",
        "frames", 20,
    ),
    _defect(
        "proof-only", "answers the proof (the first frame after each HELLO or ABORT), then nothing", _GIVEN_UP
    ),
    _defect(
        "few-then-hang", "answers the proof and so many frames (5) more, then nothing", _GIVEN_UP,
        "frames", 5,
    ),
    _defect("error-all", "answers each frame but the proof with ERROR NETWORK_FAILED", _GIVEN_UP),
    _defect("lost-all", "answers each frame but the proof with an ERROR that has the lost flag", _GIVEN_UP),
    _defect("stale-all", "answers each frame but the proof in the epoch before", _GIVEN_UP),
    _defect(
        "late-answer", "in each epoch, one late RESULT of the epoch before comes ahead of the second answer",
        "it is thrown away, however many epochs there have been; nothing is lost",
    ),
    _defect(
        "mute-control",
        "after so many frames (20) endpoint 0 never answers again, nor does bulk, until its power is off",
        "no request is waited for longer than its time limit, none is tried twice on the way; given up",
        "frames", 20,
    ),
    _defect(
        "stall-control",
        "after so many frames (20) endpoint 0 stalls every request and bulk hangs, until its power is off",
        "given up, and the host says why",
        "frames", 20,
    ),
    _defect(
        "slow-flash", "MODEL_COMMIT is answered after so many seconds (3)",
        "it waits as long as the protocol allows, shows a sign of life meanwhile, and then it is used",
        "s", 3,
    ),
    _defect(
        "later-minor",
        "version 1.7: CAPABILITIES of 192 bytes, a header of 64 bytes on each answer, an answer of an "
        "unknown type ahead of each",
        "it is used: what is longer is skipped, what is unknown is waited out; HELLO says the host's minor",
    ),
    _defect(
        "zero-chunk", "CAPABILITIES says 0 for the most model bytes in a chunk, and takes none",
        "a device that has the model is used; any other is refused in one sentence, nothing is uploaded",
    ),
    _defect(
        "bad-labels", "one label of each mask is no class, the CRC is right (if the bits have room)",
        "the mask is refused like a damaged one; none is published",
    ),
    _defect(
        "bad-padding", "the unused bits at the end of each row are set, the CRC is right (if there are any)",
        "the mask is refused like a damaged one; none is published",
    ),
    _defect(
        "foul-text",
        "control characters in every text: serial number, firmware's name, and an ERROR for each tenth frame",
        "the words are cleaned where they come in: none reaches a log, a status or systemd as it is",
    ),
)  # fmt: skip

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
        *_DEFECTS,
    )
}  # fmt: skip


#: How often a fault that happens to single transfers does so, unless told otherwise.
DEFAULT_RATE = 0.01
#: Of what a fault takes in its own unit.
MAX_VALUE = 1e9


@dataclass(slots=True)
class _Armed:
    fault: Fault
    rate: float
    count: int | None
    after: int
    value: float


def parse_fault(text: str) -> tuple[str, float, float | None]:
    """(name, rate, value) of ``NAME`` or ``NAME:NUMBER``; the number is a rate, or in the fault's own unit.

    ``ValueError`` with a sentence that names the nearest fault, or what the number may be.
    """
    name, colon, number = text.partition(":")
    if name not in FAULTS:
        import difflib

        near = difflib.get_close_matches(name, FAULTS, 1)
        hint = f"did you mean {near[0]}?" if near else "--list-faults shows them all"
        raise ValueError(f"there is no fault {name!r}; {hint}")
    fault = FAULTS[name]
    if not colon:
        return name, 1.0 if fault.lasting else DEFAULT_RATE, None
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if fault.unit:
        if not 0 <= value <= MAX_VALUE:
            raise ValueError(f"fault {name}: {number!r} is not a number of {fault.unit}, 0 to {MAX_VALUE:g}")
        return name, 1.0, value
    if not 0 <= value <= 1:
        raise ValueError(f"fault {name}: the rate {number!r} is not a number from 0 to 1")
    return name, value, None


class Injector:
    """Decides at each opportunity, from a seed, whether an armed fault happens.

    ``injected`` counts what happened, by name.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.injected: Counter[str] = Counter()
        #: Armed faults by place: empty where there is nothing to decide, which is the usual case.
        self._armed: dict[str, list[_Armed]] = {}

    def arm(
        self,
        name: str,
        rate: float = 1.0,
        *,
        count: int | None = None,
        after: int = 0,
        value: float | None = None,
    ) -> None:
        """From now on ``name`` happens with probability ``rate`` at each opportunity.

        ``count`` times at most (None: until cleared), not at the next ``after`` opportunities. ``value``
        is in the fault's own unit (None: its usual one). ``KeyError`` for an unknown name, ``ValueError``
        for a rate that is not 0 to 1, and for a value of a fault that takes none, or below 0.
        """
        fault = FAULTS[name]
        if not 0 <= rate <= 1:
            raise ValueError(f"fault {name}: a rate of {rate:g} is not 0 to 1")
        if value is not None and not (fault.unit and math.isfinite(value) and value >= 0):
            raise ValueError(
                f"fault {name}: {value:g} is no number of {fault.unit}, 0 or more"
                if fault.unit
                else f"fault {name} takes a rate and no number"
            )
        self.clear(name)
        entry = _Armed(fault, rate, count, after, fault.value if value is None else value)
        self._armed.setdefault(fault.place, []).append(entry)

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
            if entry.fault.name not in impossible and self._strikes(entry):
                return entry.fault.name
        return ""

    def _strikes(self, entry: _Armed) -> bool:
        if entry.count == 0:
            return False
        if entry.after:
            entry.after -= 1
            return False
        if entry.rate < 1 and self.random.random() >= entry.rate:
            return False
        if entry.count is not None:
            entry.count -= 1
        self.injected[entry.fault.name] += 1
        return True

    def stands(self, name: str) -> bool:
        """Whether a lasting fault is there. Nothing is counted."""
        return any(entry.fault.name == name for entry in self._armed.get(FAULTS[name].place, ()))

    @property
    def defective(self) -> bool:
        """Whether there is any defect."""
        return DEFECT in self._armed

    def defect(self, name: str) -> float | None:
        """What the defect takes in its own unit, if it is there; None if not. Nothing is counted."""
        for entry in self._armed.get(DEFECT, ()):
            if entry.fault.name == name:
                return entry.value
        return None

    def strikes(self, name: str) -> bool:
        """Whether the defect is there and happens at this opportunity; then it is counted."""
        return any(self._strikes(entry) for entry in self._armed.get(DEFECT, ()) if entry.fault.name == name)


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
        return [rebuild(header._replace(sequence=(header.sequence + 1000) % MODULUS), turned(message))]
    if name == "stale-epoch":
        return [rebuild(header._replace(epoch=(header.epoch - 1) % MODULUS), turned(message))]
    if name == "over-cap-length":
        return [_claim_length(message, 0xFFFFFF00)]
    if name == "mask-size":
        row = header.length // max(header.height, 1)
        return [rebuild(header, turned(message)[: max(header.length - row, 0)])]
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


def turned(message: bytes) -> bytes:
    """Its payload with every label turned: what a host that does not look would publish is seen."""
    length = Header(*read_header(memoryview(message))).length
    return bytes(byte ^ 1 for byte in message[HEADER_SIZE : HEADER_SIZE + length])


def rebuild(header: Header, payload: bytes) -> bytes:
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

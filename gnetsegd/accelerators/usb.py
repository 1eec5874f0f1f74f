"""The USB accelerator: pictures out and masks in, several in flight, over docs/protocol.md.

``submit`` (thread OUT) writes a frame and returns; ``collect`` (thread IN) reads the oldest answer
that is owed, straight into that frame's reply buffer. Nothing of a frame's size is copied or
allocated on the way. Whatever goes wrong, on either side, is mended by IN, while OUT is locked out:
all frames in flight come back as losses, and no mask is given before the device has proven itself
with an answer of a new epoch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ..config import option
from ..errors import AbsentError, ConfigError, GnetsegError, PermanentError, TransientError
from ..flag import Flag
from ..frame import HEADROOM, Frame, Loss, Mask, ModelInfo
from ..link.constants import FLAG_LOST, MASK_BITS, USB_ID, Code, Type
from ..link.header import MODULUS, ROOM, Header, read_header
from ..model import ModelBundle
from ..quiet import Quiet
from ..text import clean
from . import Accelerator, usb_port
from .usb_labels import WHOLE, largest
from .usb_patience import Patience
from .usb_port import Attachments, UsbFault, UsbPort, list_devices
from .usb_session import ANSWERS, Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_REPLY = HEADROOM - ROOM.reply_head
#: A fault's sentence is logged this often in full, later only each ``QUIET_EVERY``th.
LOUD_FAULTS = 3
QUIET_EVERY = 1000
#: A device that refused the model is given it again after so long, or when it is plugged in anew.
REFUSED_S = 60.0
#: So many refusals are remembered; more devices than that are asked anew.
REFUSALS_MAX = 16
#: So many answers that belong to nothing are let pass while one frame waits for its own.
SKIPPED_MAX = 32
#: Slots of which something is kept: more than a road has.
_SLOTS_MAX = 32
#: The mask that a slot's answer becomes, and the labels that have to be looked at before.
_Slot = tuple[Mask, "NDArray[np.uint8] | None"]
#: Kinds of faults that nothing but opening it anew can mend.
_HOPELESS = ("gone", "model", "given-up")
#: The same while it is being mended: endpoint 0 is what mends it.
_CANNOT_BE_MENDED = ("gone", "mute")


@attrs.frozen
class UsbOptions:
    """``[accelerator.usb]``"""

    id: str = option(
        f"{USB_ID[0]:04x}:{USB_ID[1]:04x}", "vendor and product id", pattern="[0-9a-f]{4}:[0-9a-f]{4}"
    )
    serial: str = option("", "serial number of the one device to use; empty takes any that is free")
    answer_timeout_s: float = option(
        0.3, "longest wait for one answer; then the link is mended", unit="s", minimum=0.01, maximum=30
    )
    mask_bits: int = option(
        0,
        "bits of a pixel on the link and in the mask; 0 takes the fewest",
        choices=(0, *MASK_BITS),
    )
    frames_in_flight: int = option(
        4, "at most so many at once, if the device grants them", unit="frames", minimum=1, maximum=4
    )
    payload_crc: bool = option(False, "guard each picture and mask by a CRC of its own, too")


def usb_id(options: UsbOptions) -> tuple[int, int]:
    """Vendor and product number."""
    vendor, _, product = options.id.partition(":")
    return int(vendor, 16), int(product, 16)


def usb_finder(options: UsbOptions, backend: Any = None) -> Callable[[], bool]:
    """Tells whether one is plugged in that ``options`` would take; no where pyusb or libusb cannot tell.

    One that is named by its serial number counts as there, since it is missed where it is not.
    """
    if options.serial:
        return lambda: True
    attachments = Attachments(usb_id(options), backend, list_devices)

    def is_there() -> bool:
        try:
            return bool(attachments.look())
        except GnetsegError:
            return False

    return is_there


class UsbAccelerator(Accelerator):
    """See the module. ``backend`` is a pyusb backend, None for the system's libusb.

    ``answer_limit_s`` is how long the answer to the oldest frame in flight is waited for: so long it may
    be silent. ``ConfigError`` for options that fit no device, with this model.
    """

    Options: ClassVar[type[Any]] = UsbOptions
    room = ROOM
    advice = "replug the USB device"

    def __init__(self, bundle: ModelBundle, options: UsbOptions, backend: Any = None) -> None:
        if bundle.gives_scores:
            raise ConfigError(
                f"model {bundle.id} gives scores, of which the host makes labels: no accelerator runs it; "
                "set accelerator.driver to standin"
            )
        bits, classes = options.mask_bits, bundle.mask.classes
        if bits and classes > 1 << bits:
            raise ConfigError(
                f"accelerator.usb.mask_bits is {bits}, but model {bundle.id} has {classes} classes; "
                "set it to 0 or 8"
            )
        self._bundle = bundle
        self._options = options
        self.answer_limit_s = options.answer_timeout_s
        self._backend = backend
        self._usb_id = usb_id(options)
        self.wanted_device = (options.id, options.serial)
        self._attachments = Attachments(self._usb_id, backend)
        #: The device that served last: preferred when several are there.
        self._last_serial = ""
        self._session: Session | None = None
        self._depth = 1
        self._probe = Frame(bundle.input, bundle.mask.size_bytes, ROOM)
        # In flight, oldest first: (sequence on the link, frame).
        self._owed: deque[tuple[int, Frame]] = deque()
        self._lost: deque[Loss] = deque()
        self._slots: dict[Frame, _Slot] = {}
        self._sent = Flag()
        self._room = Flag()
        # Held by OUT while it writes, by IN while it mends.
        self._writing = threading.Lock()
        self._mending = False
        self._out_fault: UsbFault | None = None
        self._faults: Counter[str] = Counter()
        #: Who refused the model, by attachment: (until when it is not asked again, what it said).
        self._refusals: dict[tuple[int, int], tuple[float, UsbFault]] = {}
        self._recoveries = 0
        self._stale = 0
        self._last_fault = ""
        self._quiet = Quiet()
        self._said = ""
        #: Of the device at this attachment.
        self._patience = Patience(self.answer_limit_s)
        self._served: tuple[int, int] | None = None
        #: Sequence of the first frame since the last failure: all before the next one got masks.
        self._good_from = 0
        self._interrupted = False

    # -- opening ----------------------------------------------------------------------------------

    def open(self) -> ModelInfo:
        """Find a device, agree with it, give it the model, and have it answer one blank picture.

        Raises ``AbsentError`` where there is no such device, another ``TransientError`` for one that
        is there and cannot be used, or that is named by its serial number: it may be plugged in, freed
        or updated at any time. ``PermanentError`` only where pyusb or libusb is missing.
        """
        self._let_go()
        session = self._begin(self._find())
        port = session.port
        if port.speed and port.speed <= usb_port.FULL_SPEED:
            log.warning(
                "usb: %s is linked at only %s; try another cable, port or hub", port.serial, port.speed_words
            )
        self._depth = min(session.capabilities.slots, self._options.frames_in_flight)
        self._last_serial = port.serial
        self.was_there = True
        if port.attachment != self._served:
            self._served = port.attachment
            self._patience.forget()
        self._start_service(session)
        self._mending = False
        self._out_fault = None
        self._session = session
        self._room.set()
        if self._quiet.may_say(again=port.serial == self._said):
            self._said = port.serial
            log.info(
                "usb: %s on %s (%s), %d frames in flight, %d bits a pixel",
                port.serial, port.place, session.capabilities.firmware or "unnamed firmware", self._depth,
                session.mask.bits,
            )  # fmt: skip
        self._slots.clear()
        self._info = ModelInfo(
            backend="usb",
            model_id=self._bundle.id,
            model_hash=self._bundle.sha256,
            input=self._bundle.input,
            mask=session.mask,
            labels=self._bundle.labels,
            depth_frames=self._depth,
        )
        return self._info

    def attachments(self) -> frozenset[tuple[int, int]]:
        """(bus, address) of each matching device that is plugged in now; none is opened.

        Costs next to nothing while nothing is plugged in or out. Where pyusb or libusb cannot tell it
        is as if there were one, at a place that is none: ``open`` then says what is missing.
        """
        try:
            return self._attachments.look()
        except GnetsegError:
            return frozenset({(0, 0)})

    def interrupt(self) -> None:
        """Let an ``open`` that runs in another thread end soon; ``close`` takes this back."""
        self._interrupted = True

    def _beat(self) -> None:
        """A step of opening is done."""
        self.progress += 1
        if self._interrupted:
            raise UsbFault("interrupted", "it is being closed while it is opened")

    def _find(self) -> list[UsbPort]:
        """The configured device, or any; the one that served last comes first."""
        wanted = clean(self._options.serial)
        ports: list[UsbPort] = []
        refused: UsbFault | None = None
        try:
            for device in usb_port.find(self._usb_id, self._backend):
                self._beat()
                try:
                    ports.append(UsbPort(device))
                except UsbFault as fault:
                    refused = fault
                    self._count(fault)
        except BaseException:
            for port in ports:
                port.close()
            raise
        fits = [port for port in ports if not wanted or port.serial == wanted]
        for port in ports:
            if port not in fits:
                port.close()
        if fits:
            return sorted(fits, key=lambda port: port.serial != self._last_serial)
        if refused is not None:
            raise TransientError(f"USB accelerator {self._options.id}: {refused}")
        # Counted, and not logged here: whoever opens says it, and a machine may well have none.
        self._faults["absent"] += 1
        if ports:
            raise TransientError(
                f"no USB accelerator with the serial number {wanted} is plugged in (there is "
                f"{', '.join(port.serial for port in ports)}); plug it in or change usb.serial"
            )
        # One that is configured by its serial number is not absent, but lost.
        kind = TransientError if wanted else AbsentError
        raise kind(
            f"no USB accelerator {self._options.id} is plugged in; plug one in, or set "
            'accelerator.driver = "standin"'
        )

    def _begin(self, ports: list[UsbPort]) -> Session:
        """A session with the first of ``ports`` that works; the others are closed."""
        session: Session | None = None
        reasons = []
        try:
            for port in ports:
                try:
                    session = self._greet(port)
                    return session
                except GnetsegError as error:
                    self._count(error)
                    reasons.append(f"USB accelerator {port.serial or port.place}: {error}")
        finally:
            for port in ports:
                if session is None or port is not session.port:
                    port.close()
        raise TransientError("; ".join(reasons))

    def _greet(self, port: UsbPort) -> Session:
        """A session that has proven itself."""
        until, refusal = self._refusals.get(port.attachment, (0.0, None))
        if refusal is not None and time.monotonic() < until:
            raise refusal
        port.claim()
        session = Session(port, self._bundle, self._options.answer_timeout_s, self._beat)
        try:
            session.begin(self._options.mask_bits, self._options.payload_crc)
        except UsbFault as fault:
            if fault.kind == "refused":
                self._remember_refusal(port, fault)
            raise
        session.prove(self._probe)
        return session

    def _remember_refusal(self, port: UsbPort, fault: UsbFault) -> None:
        """It would be asked again at once, and each time given the whole model."""
        now = time.monotonic()
        kept = {key: refusal for key, refusal in self._refusals.items() if refusal[0] > now}
        kept.pop(port.attachment, None)
        while len(kept) >= REFUSALS_MAX:
            del kept[next(iter(kept))]
        self._refusals = kept | {port.attachment: (now + REFUSED_S, fault)}

    def _start_service(self, session: Session) -> None:
        """It has just proven itself."""
        self._good_from = session.sequence
        self._patience.serves()

    # -- OUT --------------------------------------------------------------------------------------

    def wait_for_credit(self, timeout_s: float) -> bool:
        if not self._mending and len(self._owed) < self._depth:
            return True
        # Raised by each answer, and by ``close``: then there is nothing to wait for here.
        self._room.wait(timeout_s)
        return not self._mending and len(self._owed) < self._depth

    def submit(self, frame: Frame) -> None:
        self._writing.acquire()
        try:
            session = self._session
            if session is None or self._mending:
                self._lost.append(Loss(frame, "the link is being mended"))
                self._sent.set()
                return
            sequence = session.write_request(frame)
            memory = frame.request_memory
            # Owed before it is sent: the answer may be there before the write returns. IN is woken
            # only afterwards: an IN transfer that is posted early costs bus time and a wake-up.
            self._owed.append((sequence, frame))
            try:
                count = session.port.bulk_out(memory, session.answer_timeout_ms)
                if count != memory.size:
                    raise UsbFault("short", f"the device took {count} of {memory.size} bytes")
            except UsbFault as fault:
                self._out_fault = fault
                self._mending = True  # nothing more goes out before IN has mended it
            self._sent.set()
        finally:
            self._writing.release()

    # -- IN ---------------------------------------------------------------------------------------

    def collect(self, timeout_s: float) -> Mask | Loss | None:
        if self._lost:
            return self._lost.popleft()
        while not self._owed:
            if not self._sent.wait(timeout_s):
                return None
            if self._lost:
                return self._lost.popleft()
        try:
            if self._out_fault is not None:
                raise self._out_fault
            session = self._session
            assert session is not None, "open() comes first"
            sequence, frame = self._owed[0]
            count = session.port.bulk_in(frame.reply_memory, session.answer_timeout_ms)
            if count == session.plain_size and session.result.stands_in(
                frame.reply, _REPLY, session.epoch, sequence
            ):
                mask, labels = self._slots.get(frame) or self._remember(session, frame)
                if labels is None or largest(labels, WHOLE).item() < session.mask.classes:
                    # OUT waits for room only where there is none.
                    was_full = len(self._owed) >= self._depth
                    self._owed.popleft()
                    if was_full:
                        self._room.set()
                    return mask
            return self._look_closer(session, frame, sequence, count)
        except GnetsegError as fault:
            return self._mend(fault)

    def _remember(self, session: Session, frame: Frame) -> _Slot:
        """A slot is used again and again: what a mask in it needs is made once a session."""
        if len(self._slots) >= _SLOTS_MAX:
            self._slots.clear()
        self._slots[frame] = slot = Mask(frame, self._info), session.labels_of(frame)
        return slot

    def _look_closer(self, session: Session, frame: Frame, sequence: int, count: int) -> Mask | Loss:
        """The same for whatever is not just the mask that is due; waits past what belongs to nothing."""
        deadline = time.monotonic() + self._options.answer_timeout_s
        for _ in range(SKIPPED_MAX + 1):
            view = frame.reply_view[_REPLY : _REPLY + count]
            header = Header(*read_header(view))
            if header.epoch == session.epoch and header.type in ANSWERS:
                return self._answered(session, frame, sequence, header, view)
            self._stale += 1
            count = session.port.bulk_in(frame.reply_memory, session.left_ms(deadline))
        raise UsbFault("stale", "the device sends one answer after another that belongs to nothing")

    def _answered(
        self, session: Session, frame: Frame, sequence: int, header: Header, view: memoryview
    ) -> Mask | Loss:
        """What an answer of this epoch is to the oldest frame."""
        if header.type == Type.RESULT and header.sequence == sequence:
            session.check_result(frame, header, len(view))
            self._owed.popleft()
            self._room.set()
            return Mask(frame, self._info)
        fault = session.error(header, view)
        if header.type != Type.ERROR or header.flags & FLAG_LOST or header.sequence != sequence:
            raise fault
        if header.code in (Code.NO_MODEL, Code.WRONG_MODEL):
            raise fault  # it restarted: the model has to be uploaded first
        self._patience.failed((sequence - self._good_from) % MODULUS, refused_only=True)
        self._good_from = (sequence + 1) % MODULUS
        if self._patience.is_over:
            raise self._given_up(fault)
        self._count(fault)
        self._owed.popleft()
        self._room.set()
        return Loss(frame, str(fault))

    def _given_up(self, fault: Exception) -> UsbFault:
        return UsbFault("given-up", f"{fault}; {self._patience.words}")

    # -- when something goes wrong ------------------------------------------------------------------

    def _mend(self, error: GnetsegError) -> Loss:
        """Climb the first steps of the ladder; what is left of it is ``close`` and ``open``.

        Raises ``TransientError`` when the link could not be mended here. Either way every frame in
        flight comes back as a loss.
        """
        self._mending = True
        with self._writing:  # OUT has returned from its transfer, and sees _mending from now on
            session = self._session
            assert session is not None, "frames are in flight"
            fault = self._out_fault or error
            kind = getattr(fault, "kind", "")
            self._count(fault)
            if kind not in _HOPELESS:
                self._patience.failed((self._owed[0][0] - self._good_from) % MODULUS, refused_only=False)
                if self._patience.is_over:
                    fault = self._given_up(fault)
                    kind = fault.kind
                    self._count(fault)
            reason = str(fault)
            if kind in _HOPELESS:
                raise TransientError(f"USB accelerator {session.port.serial}: {reason}")
            self._lose_all(reason)
            # One frame alone needs less than one behind others; and a device that hangs has to be given
            # up soon: with two tries it has cost twice the time limit, then the stand-in can take over.
            timeout_ms = max(1, session.answer_timeout_ms // 2)
            for clear in (True,) if kind == "stall" else (False, True):
                try:
                    session.abort()
                    if clear:
                        session.port.clear_halts()
                    session.prove(self._probe, timeout_ms)
                except GnetsegError as again:
                    self._count(again)
                    if getattr(again, "kind", "") in _CANNOT_BE_MENDED:
                        break
                else:
                    self._recoveries += 1
                    self._start_service(session)
                    self._out_fault = None
                    self._mending = False
                    self._room.set()
                    return self._lost.popleft()
        raise TransientError(f"USB accelerator {session.port.serial}: {reason}; looking for it again")

    def _lose_all(self, reason: str) -> None:
        while self._owed:
            self._lost.append(Loss(self._owed.popleft()[1], reason))

    def _count(self, error: Exception) -> None:
        kind = "incompatible" if isinstance(error, PermanentError) else getattr(error, "kind", "protocol")
        self._faults[kind] += 1
        self._last_fault = str(error)
        if self._faults[kind] <= LOUD_FAULTS or self._faults[kind] % QUIET_EVERY == 0:
            log.warning("usb: %s (%s, number %d)", error, kind, self._faults[kind])

    def describe(self) -> dict[str, Any]:
        session = self._session
        found: dict[str, Any] = {
            "faults": dict(self._faults),
            "recoveries": self._recoveries,
            "stale": self._stale,
            "last_fault": self._last_fault,
        }
        if session is not None:
            found |= {
                "serial": session.port.serial,
                "place": session.port.place,
                "speed": session.port.speed_words,
                "firmware": session.capabilities.firmware,
                "frames_in_flight": self._depth,
            }
        return found

    def close(self) -> list[Frame]:
        left = self._let_go()
        self._interrupted = False
        return left

    def _let_go(self) -> list[Frame]:
        session, self._session = self._session, None
        if session is not None:
            session.port.close()
        self._mending = True
        self._room.set()
        left = [loss.frame for loss in self._lost] + [frame for _, frame in self._owed]
        self._lost.clear()
        self._owed.clear()
        return left

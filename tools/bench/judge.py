"""Judges a daemon by what it sends: is each mask right, how long did none come, did it tell the truth?

The pictures are those of ``recovery_camera.TimedCamera``: each is a function of its own time of
exposure, which the header of its mask carries, so that every mask can be recomputed by itself. The
network is a threshold. All times are of CLOCK_MONOTONIC, in s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import zmq

from gnetsegd.errors import MessageError
from gnetsegd.frame import FrameSpec
from gnetsegd.message import MaskHeader, parse_header, parse_json, unpack_mask
from gnetsegd.testing.road import Pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What the network ``threshold-32`` does: label 1 from this luminance on.
THRESHOLD = 128
#: Without a mask for so long the state must no longer be ``running``.
TRUTH_S = 3.0
#: A status may be this much older than the masks beside it: one tick of the main thread, and the load.
SLACK_S = 0.5
#: A state other than ``running`` is a lie when masks have come at nearly their rate for so long.
STEADY_S = 1.5
STEADY_SHARE = 0.8
#: ``status`` is sent once a second: silence for longer is told of.
STATUS_GAP_S = 3.0


class Mask(NamedTuple):
    """One mask, as it was received; ``wrong`` says what is wrong with it."""

    at: float
    exposed_at: float
    backend: str
    fallback: bool
    session: int
    sequence: int
    wrong: str = ""


class Status(NamedTuple):
    """One ``status``, as it was received."""

    at: float
    state: str
    reason: str
    backend: str
    fallback: bool


def expected_labels(pictures: Pictures, exposed_ns: int) -> NDArray[np.uint8]:
    """The labels of the picture that was exposed then: uint8 of (height, width), format ``Y``."""
    spec = pictures.spec
    pixels = np.zeros(spec.shape, np.uint8)
    pictures.write(exposed_ns, pixels)
    return (pixels >= THRESHOLD).astype(np.uint8)


class Checker:
    """Judges one mask after the other."""

    def __init__(self, spec: FrameSpec) -> None:
        self._pictures = Pictures(spec)
        self._last: MaskHeader | None = None

    def check(self, message: bytes, at: float) -> Mask:
        """``MessageError`` for what is no mask at all."""
        header = parse_header(message)
        wrong = []
        labels = unpack_mask(memoryview(message)[header.payload_offset :], header.format)
        expected = expected_labels(self._pictures, header.sensor_timestamp_ns)
        if labels.shape != expected.shape or (labels != expected).any():
            wrong.append("it is not its own frame's mask")
        elif header.format.bits < 8 and not _padding_is_clear(message, header):
            wrong.append("bits behind the end of a row are set")
        last = self._last
        if last is not None and header.session == last.session and header.sequence <= last.sequence:
            wrong.append(f"it comes after {last.sequence}")
        self._last = header
        return Mask(
            at, header.sensor_timestamp_ns / 1e9, header.backend, header.fallback, header.session,
            header.sequence, "; ".join(wrong),
        )  # fmt: skip


def _padding_is_clear(message: bytes, header: MaskHeader) -> bool:
    mask = header.format
    payload = np.frombuffer(message, np.uint8, mask.size_bytes, header.payload_offset)
    bits = np.unpackbits(payload.reshape(mask.height, mask.stride), axis=1)
    return not bits[:, mask.width * mask.bits :].any()


class Observer:
    """A subscriber to everything, in a thread of its own: ``masks`` and ``statuses`` grow."""

    def __init__(self, endpoint: str, spec: FrameSpec, kinds: Sequence[str] = ("mask/", "status/")) -> None:
        self.masks: list[Mask] = []
        self.statuses: list[Status] = []
        #: What was neither, in words.
        self.garbage: list[str] = []
        self._checker = Checker(spec)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        for kind in kinds:
            self._socket.setsockopt(zmq.SUBSCRIBE, kind.encode())
        self._socket.connect(endpoint)
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop:
            if self._socket.poll(50):
                self._take(self._socket.recv(), time.monotonic())

    def _take(self, message: bytes, at: float) -> None:
        try:
            if message.startswith(b"mask/"):
                self.masks.append(self._checker.check(message, at))
            else:
                body: dict[str, Any] = parse_json(message)[2]
                words = (body[key] for key in ("state", "reason", "backend", "fallback"))
                self.statuses.append(Status(at, *words))
        except MessageError as error:
            self.garbage.append(str(error))

    def close(self) -> None:
        self._stop = True
        self._thread.join()
        self._context.destroy(linger=0)


# -- judgements: from lists alone, so that they can be tested ------------------------------------------


def longest_wait(masks: Sequence[Mask], fault_at: float, end_at: float) -> float:
    """Seconds from the fault to the first right mask; where service breaks off again, the longest break.

    A mask of a frame that was exposed before the fault does not count: it was on its way.
    """
    since, longest = fault_at, 0.0
    for mask in masks:
        if mask.wrong or mask.exposed_at < fault_at or mask.at > end_at:
            continue
        longest = max(longest, mask.at - since)
        since = mask.at
    return max(longest, end_at - since)


def rate(masks: Sequence[Mask], begin: float, end: float) -> float:
    """Right masks a second between two times."""
    return sum(begin < mask.at <= end and not mask.wrong for mask in masks) / (end - begin)


def lies(
    masks: Sequence[Mask], statuses: Sequence[Status], fps: float, begin: float, end: float
) -> list[str]:
    """What ``status`` said between two times that was not so, in sentences. ``fps`` is the full rate.

    * No mask for longer than ``TRUTH_S``: the state is not ``running``.
    * Masks at nearly their full rate for ``STEADY_S``: the state is ``running``.
    * While masks come, ``backend`` and ``fallback`` are those of a mask nearby.
    * ``running`` on a fallback has a reason; any other state than ``running`` has one, or is no fault.
    """
    found = []
    for status in statuses:
        at = status.at
        if not begin <= at <= end:
            continue
        when = f"{at - begin:.1f} s: status says {status.state}"
        recent = [mask for mask in masks if at - TRUTH_S - SLACK_S <= mask.at <= at + SLACK_S]
        steady = rate(masks, at - STEADY_S, at) >= STEADY_SHARE * fps
        if status.state == "running":
            if at - begin > TRUTH_S + SLACK_S and not recent:
                found.append(f"{when}, and no mask came for longer than {TRUTH_S:g} s")
            if status.fallback and not status.reason:
                found.append(f"{when} on a fallback without a reason")
        elif steady and any(at < mask.at <= at + SLACK_S for mask in masks):
            found.append(f"{when} ({status.reason}), and masks came at their full rate")
        before = [mask for mask in masks if mask.at <= at][-1:]
        near = before + [mask for mask in masks if abs(mask.at - at) <= 2 * SLACK_S]
        if near and status.state == "running":
            if status.backend not in {mask.backend for mask in near}:
                found.append(
                    f"{when} on {status.backend or 'nothing'}, and the masks were of {near[-1].backend}"
                )
            if status.fallback not in {mask.fallback for mask in near}:
                found.append(f"{when} with fallback = {status.fallback}, and the masks said otherwise")
    return found


def status_gaps(statuses: Sequence[Status], lives: Sequence[tuple[float, float]]) -> list[str]:
    """Where ``status`` was silent within the ``lives`` of a process (from READY to its end), in sentences."""
    found = []
    for begin, end in lives:
        times = [begin, *(status.at for status in statuses if begin <= status.at <= end), end]
        for before, after in pairwise(times):
            if after - before > STATUS_GAP_S:
                found.append(f"status was silent for {after - before:.1f} s")
    return found


def fed_for_nothing(
    masks: Sequence[Mask], statuses: Sequence[Status], feedings: Sequence[float], begun_at: Sequence[float]
) -> list[str]:
    """Watchdog messages that came without masks though the state promised some, in sentences."""
    found = []
    for at in feedings:
        said = next((status for status in reversed(statuses) if status.at <= at), None)
        since = max(
            [*(mask.at for mask in masks if mask.at <= at), *(begun for begun in begun_at if begun <= at)],
            default=at,
        )
        if said is not None and said.state in ("running", "no-masks") and at - since > TRUTH_S + SLACK_S:
            found.append(
                f"the watchdog was fed in state {said.state}, {at - since:.1f} s after the last mask"
            )
    return found

"""The subscriber to masks, and its judgement of them."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import zmq

from ..errors import MessageError
from ..message import STATES, TEXT_CHARACTERS, MaskHeader, parse_header, parse_image
from ..text import clean
from .connect import DEFAULT_ENDPOINT, QUEUE_MESSAGES
from .losses import LossCounter
from .mask import ReceivedMask
from .no_data import NoData, NoDataError
from .pairs import WAITING_MAX, Pairs
from .status import ALIVE_LIMIT_S, StatusSubscriber

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long ago the picture of a mask that is valid was exposed.
MAX_AGE_S = 3.0
#: How far the rate may be off the one that ``info`` promises, as a fraction.
RATE_TOLERANCE = 0.2
#: The rate is taken over so much of the camera's time.
RATE_WINDOW_S = 2.0
#: A loop waits so long for the first mask: a camera that slept has to wake, a daemon may be starting.
START_TIMEOUT_S = 10.0
#: One look of a loop for a mask, after which it judges anew.
LOOK_S = 0.1
#: Trouble that is over within this time is none: a program that was stopped for a while reads on.
GRACE_S = 0.1


class MaskSubscriber(StatusSubscriber):
    """Masks of one camera, and a judgement of how far they can be trusted.

    Four ways to read, of which the first three give only masks that can be gone by: their picture is of
    *now* (``max_age_s``), the daemon runs, and its ``info`` is here:

    * ``for mask in masks:`` ends with ``NoDataError`` when the masks stop;
    * ``masks.follow()``: masks, and a ``NoData`` that says why where there are none; goes on for ever;
    * ``masks.latest(0.3)``: the newest mask, or None, at once: for loops with a beat of their own;
    * ``masks.receive()``: whatever comes, however old.

    In newest-only mode (the default) a slow reader gets the mask of *now*, never one of a queue; with
    ``newest_only=False`` it gets every mask. Not for several threads at once.

    Three judgements, each by itself, as a robot needs them; none of them waits:

    * ``alive``: the daemon speaks, be it only to say that it has no camera;
    * ``on_rate``: masks come at the rate that ``info`` promises;
    * ``valid``: the newest mask can be believed: its picture is of now, and the daemon runs.

    Parameters
    ----------
    endpoint : as in the daemon's ``publish.endpoints``
    camera : its name, ``camera.name`` of the configuration
    newest_only : False for every mask
    frames : put each mask's picture with it, ``mask.frame``; the daemon's ``publish.frames`` must be on
    picture : put the picture in colour with it, ``mask.picture``; its ``publish.images`` must be on. In
        newest-only mode masks then come as often as pictures do
    server_key, public_key, secret_key : CURVE keys in Z85, see ``subscribe``
    context : a ZeroMQ context to use; by default the process's own
    alive_limit_s : how long ago the newest mask or status may have been sent
    max_age_s : how long ago the newest mask's picture may have been exposed for ``valid``; what moves
        fast sets less, what is slower than a picture in so long sets more
    start_timeout_s : how long a loop waits for the first mask
    rate_tolerance : how far the rate may be off, as a fraction

    ``ValueError`` for an endpoint, camera, key or time that cannot be one.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        camera: str = "cam0",
        newest_only: bool = True,
        *,
        server_key: bytes | None = None,
        public_key: bytes | None = None,
        secret_key: bytes | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        alive_limit_s: float = ALIVE_LIMIT_S,
        frames: bool = False,
        picture: bool = False,
        max_age_s: float = MAX_AGE_S,
        start_timeout_s: float = START_TIMEOUT_S,
        rate_tolerance: float = RATE_TOLERANCE,
    ) -> None:
        super().__init__(
            endpoint, camera, server_key=server_key, public_key=public_key, secret_key=secret_key,
            context=context, alive_limit_s=alive_limit_s,
        )  # fmt: skip
        self.newest_only = newest_only
        self.start_timeout_s = start_timeout_s
        self.rate_tolerance = rate_tolerance
        #: All that ``missed`` said so far.
        self.missed = 0
        #: How often another run of the daemon took over.
        self.restarts = 0
        self._losses = LossCounter()
        self._last: MaskHeader | None = None
        #: (sensor time in ns, masks up to then) of the last seconds.
        self._recent: deque[tuple[int, int]] = deque()
        self._count = 0
        self._newest: ReceivedMask | None = None
        #: Why ``latest`` gave None, the last time that it did; None if it gave a mask.
        self.no_data: NoData | None = None
        kinds = ("frame",) * frames + ("image",) * picture
        self._pairs = Pairs(newest_only, kinds) if kinds else None
        try:
            self.max_age_s = _positive(max_age_s)
        except ValueError:
            self.close()
            raise
        for kind in ("mask", *kinds):
            self._subscribe(kind, newest_only)

    def __iter__(self) -> Iterator[ReceivedMask]:
        """Masks that can be gone by, as they come; ends when the subscriber is closed.

        ``NoDataError`` when there are none any more: within a quarter of a second of the newest one's
        getting ``max_age_s`` old or the daemon's saying that it does not run; at the beginning after
        ``start_timeout_s``.
        """
        patience_ends = time.monotonic() + self.start_timeout_s
        for found in self.follow(repeat_s=LOOK_S):
            if isinstance(found, ReceivedMask):
                patience_ends = 0.0
                yield found
            elif time.monotonic() >= patience_ends:
                raise NoDataError(found)

    def follow(
        self, max_age_s: float | None = None, repeat_s: float = 1.0
    ) -> Iterator[ReceivedMask | NoData]:
        """Masks that can be gone by, as they come, and ``NoData`` where there are none.

        ``NoData`` comes within a quarter of a second after the newest mask got ``max_age_s`` old or the
        daemon said that it does not run, then each ``repeat_s`` while that lasts, and when the reason
        changes. Masks that are too old or not believed are skipped. Ends when the subscriber is closed.
        ``ValueError`` for a time not above 0.
        """
        limit_s = self.max_age_s if max_age_s is None else _positive(max_age_s)
        trouble_since = told_at = -math.inf
        told = ""
        while not self.closed:
            mask = self.receive(LOOK_S)
            problem = self._judge(mask or self._newest, limit_s)
            now = time.monotonic()
            if problem is None:
                trouble_since, told_at, told = -math.inf, -math.inf, ""
                if mask is not None:
                    yield mask
                continue
            if trouble_since == -math.inf:
                trouble_since = now
            if now - trouble_since < GRACE_S:
                continue
            # Another reason is news.
            if now - told_at >= repeat_s or problem.why != told:
                told_at, told = now, problem.why
                yield problem

    def latest(self, max_age_s: float | None = None) -> ReceivedMask | None:
        """The newest mask if it can be gone by now, else None, and ``no_data`` says why. Never waits.

        It can be gone by if its picture was exposed within ``max_age_s`` (by default the subscriber's), the
        daemon runs, and its ``info`` is here. Between two masks the same one again: compare ``sequence``.
        ``ValueError`` for an age not above 0.
        """
        limit_s = self.max_age_s if max_age_s is None else _positive(max_age_s)
        for _ in range(QUEUE_MESSAGES):
            if self.receive(0) is None:
                break
        self.no_data = self._judge(self._newest, limit_s)
        return self._newest if self.no_data is None else None

    def receive(self, timeout_s: float | None = None) -> ReceivedMask | None:
        """The next mask, however old, or None when none came in time (None waits for ever).

        A message that is not a mask is counted in ``bad_messages`` and skipped.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        mask = self._next(deadline) if self._pairs is None else self._next_pair(self._pairs, deadline)
        self._newest = mask or self._newest
        return mask

    @property
    def alive(self) -> bool:
        """A mask or a status was sent within the last ``alive_limit_s``."""
        return self._mask_is_recent() or super().alive

    @property
    def rate_fps(self) -> float:
        """Masks per second of the camera's time over its last ``RATE_WINDOW_S``; 0 if unknown.

        In newest-only mode those count, too, that newer ones replaced unread: it is the daemon's rate.
        """
        if len(self._recent) < 2 or not self._mask_is_recent():
            return 0.0
        (first_ns, first), (last_ns, last) = self._recent[0], self._recent[-1]
        return (last - first) / ((last_ns - first_ns) / 1e9)

    @property
    def on_rate(self) -> bool:
        """``rate_fps`` is within ``rate_tolerance`` of the nominal rate in ``info``.

        Where ``info`` names none (0), any rate will do. False before ``info`` or two masks came.
        """
        info, rate = self.info(), self.rate_fps
        if info is None or rate == 0.0:
            return False
        nominal = float(info["fps_nominal"])
        return nominal <= 0 or abs(rate - nominal) <= self.rate_tolerance * nominal

    @property
    def valid(self) -> bool:
        """The newest mask's picture was exposed within ``max_age_s``, and the daemon runs.

        It runs where a status of the same session, sent within ``alive_limit_s``, says ``running``.
        """
        return self._mistrust(self._last, self.max_age_s) is None

    # -- inside -----------------------------------------------------------------------------------

    def _next(self, deadline: float) -> ReceivedMask | None:
        while True:
            data = self._read("mask", deadline - time.monotonic())
            if data is None:
                return None
            header = self._header(data, "mask")
            if header is not None:
                return self._accept(header, data[header.payload_offset :])
            if time.monotonic() >= deadline:
                return None

    def _next_pair(self, pairs: Pairs, deadline: float) -> ReceivedMask | None:
        kinds = ("mask", *pairs.kinds)  # masks first: a picture comes behind its mask
        while True:
            for kind in kinds:
                for _ in range(WAITING_MAX):
                    if kind == "mask" and pairs.full:
                        break
                    data = self._read(kind, 0.0)
                    if data is None:
                        break
                    self._add_to(pairs, kind, data)
            now = time.monotonic()
            mask = pairs.take(now)
            if mask is not None or now >= deadline:
                return mask
            self._wait_for(kinds, min(deadline, pairs.due) - now)

    def _add_to(self, pairs: Pairs, kind: str, data: memoryview) -> None:
        if kind == "image":
            try:
                image = parse_image(data)
            except MessageError as error:
                self._count_bad(error)
            else:
                pairs.add(kind, image.session, image.sequence, (image, data[image.payload_offset :]))
            return
        header = self._header(data, kind)
        if header is None:
            return
        payload = data[header.payload_offset :]
        if kind == "mask":
            pairs.add_mask(self._accept(header, payload), time.monotonic())
        else:
            pairs.add(kind, header.session, header.sequence, (header.format, payload))

    def _header(self, data: memoryview, kind: str) -> MaskHeader | None:
        """The header of a message of ``kind``; None, and counted, where it is none."""
        try:
            header = parse_header(data)
            if header.kind != kind:
                raise MessageError(f"{header.kind}/{header.camera} came as a {kind}")
        except MessageError as error:
            self._count_bad(error)
            return None
        return header

    def _info_of(self, header: MaskHeader, timeout_s: float) -> dict[str, Any] | None:
        """The ``info`` of the session and network of ``header``, waited for up to ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while not self.closed:
            info = self.info()
            if (
                info is not None
                and info["session"] == header.session
                and info["model"]["sha256"].startswith(header.model_hash.hex())
            ):
                return info
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            self._wait_for(("info",), left_s)
        return None

    def _judge(self, mask: ReceivedMask | None, max_age_s: float) -> NoData | None:
        """Why ``mask`` cannot be gone by; None if it can."""
        problem = self._mistrust(None if mask is None else mask.header, max_age_s)
        if problem is None and mask is not None and not mask.has_info:
            return NoData("no-info", "the daemon's info for its masks has not come yet", mask.age_s)
        return problem

    def _mistrust(self, header: MaskHeader | None, max_age_s: float) -> NoData | None:
        """Why a mask is not valid, without a look at ``info``; None if it is."""
        age_s = None if header is None else self._clock.age_s(header.sensor_timestamp_ns)
        status = self.status()
        if status is None or self._clock.age_s(status["timestamp_ns"]) > self.alive_limit_s:
            if status is None and self._mask_is_recent():
                return NoData("no-status", "masks come, but no status has come yet", age_s)
            return self._silent(age_s, heard=status is not None)
        self._silence.over()
        state = status["state"]
        if state != "running":
            words = clean(status["reason"], TEXT_CHARACTERS) or f"the daemon is {clean(state)}"
            return NoData(state if state in STATES else "not-running", words, age_s)
        if header is None or age_s is None:
            return NoData("no-mask", "the daemon runs, and no mask has come here yet")
        if status["session"] != header.session:
            return NoData("restarted", "the daemon has restarted, and no mask has come yet", age_s)
        if age_s > max_age_s:
            return NoData(
                "stale", f"the newest mask's picture is {age_s:.1f} s old, allowed are {max_age_s:g} s", age_s
            )
        # An exposure in the future is no better than an old one.
        if age_s < -max_age_s:
            return NoData("clock", f"the newest mask's picture is of {-age_s:.1f} s ahead", age_s)
        return None

    def _accept(self, header: MaskHeader, payload: memoryview) -> ReceivedMask:
        missed, begins = self._losses.update(header)
        if begins or self._last is None or header.sensor_timestamp_ns <= self._last.sensor_timestamp_ns:
            self._recent.clear()
        self.restarts += begins and self._last is not None
        self._last = header
        self._clock.observe(header.session, header.publish_timestamp_ns)
        skipped = missed if self.newest_only else 0
        missed -= skipped
        self.missed += missed
        self._count += 1 + skipped
        self._recent.append((header.sensor_timestamp_ns, self._count))
        while header.sensor_timestamp_ns - self._recent[0][0] > RATE_WINDOW_S * 1e9:
            self._recent.popleft()
        mask = ReceivedMask(
            header, self._clock.offset_ns, missed, skipped, begins, payload,
            lambda timeout_s: self._info_of(header, timeout_s),
        )  # fmt: skip
        # Now, as a later one may be of another session.
        _ = mask.has_info
        return mask

    def _mask_is_recent(self) -> bool:
        """The newest mask was sent a short time ago, however old its picture is."""
        last = self._last
        return last is not None and self._clock.age_s(last.publish_timestamp_ns) <= self.alive_limit_s


def _positive(seconds: float) -> float:
    # NaN is none, either.
    if not seconds > 0:
        raise ValueError(f"a greatest age of {seconds} s lets no mask through; give one above 0")
    return seconds

"""From the packets of a network camera to its whole pictures, each with its number and time; newest only."""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar, NamedTuple, Protocol

from ..errors import CameraStalled, GnetsegError, NotYet, TransientError
from . import pyav
from .h264_order import Order
from .losses import BEHIND, CUT, Losses
from .network_lag import Lag
from .network_opening import KEY_WAIT_S
from .network_stream import About, Arrived, Stream
from .pacing import NS_PER_S
from .whole import Whole

log = logging.getLogger(__name__)

#: A picture that waited longer for the decoder than so is late: what is older than a key frame gives way.
LATE_S = 0.5
#: A camera's own time of a picture is believed if it arrived so much later at most.
SENT_AGO_MAX_S = 2.0
#: What comes in bursts is not held back for longer.
BURST_MAX_S = 60.0
#: A hardware decoder that gave nothing after so many packets never will.
HARDWARE_MUTE_PACKETS = 60
#: A step of a stream's own time that is longer than so, and than so many usual ones, is a gap.
GAP_MIN_S, GAP_STEPS = 0.8, 5
#: A decoder holds back fewer pictures than these.
_HELD_MAX = 64


class Wanted(Protocol):
    """Of ``[camera.network]`` what is read here."""

    @property
    def max_fps(self) -> float: ...
    @property
    def decode(self) -> str: ...
    @property
    def decoder(self) -> str: ...
    @property
    def decoder_threads(self) -> int: ...


class Found(NamedTuple):
    """A whole ``av.VideoFrame``, its number, and when it was taken (CLOCK_MONOTONIC, ns)."""

    image: Any
    sequence: int
    stamp_ns: int


class Decoder:
    """Of one connection; ``timeout_s`` is how long the camera may be silent."""

    #: Whether a hardware decoder is worth a try: not once it has failed in this process.
    hardware: ClassVar[dict[str, bool]] = {}

    def __init__(
        self, shown: str, stream: Stream, about: About, options: Wanted, losses: Losses, timeout_s: float
    ) -> None:
        self._shown, self._stream, self._about, self._options = shown, stream, about, options
        self._losses, self._timeout_s = losses, timeout_s
        self._av = pyav.load()
        self._order = Order(about.extradata) if about.codec == "h264" else None
        #: The name of the hardware decoder that is at work; empty for software.
        self.hardware_name = ""
        self._make_decoder()
        #: By its own time, when each picture that is being decoded was taken.
        self._times: dict[int, int] = {}
        self._images: list[Any] = []
        self._sequence = -1
        self._count = 0
        #: The last packet's own time, and the usual step from one to the next.
        self._dts_s: float | None = None
        self._step_s = 0.0
        self._stamp_ns = self._given_ns = 0
        self._begun_ns = self._came_ns = time.monotonic_ns()
        #: Of what comes in bursts: the time at which its own began, and a packet that is not due yet.
        self._base_ns: int | None = None
        self._lag = Lag()
        self._held: Arrived | None = None

    def next(self, deadline_s: float) -> Found:
        """The next whole picture.

        ``CameraStalled`` where nothing comes until ``deadline_s`` (time.monotonic()), ``NotYet`` where only
        what cannot be shown yet comes; what the stream raises when it has ended.
        """
        while True:
            while self._images:
                found = self._number(self._images.pop(0))
                if found is not None:
                    return found
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise self._nothing()
            self._feed_one(left_s)

    def _make_decoder(self) -> None:
        about, options = self._about, self._options
        name = f"{about.codec}_v4l2m2m"
        decoder: Any = None
        if options.decoder == "auto" and about.codec == "h264" and self.hardware.get(name, True):
            decoder = self._hardware_decoder(name)
        self.hardware_name = name if decoder is not None else ""
        if decoder is None:
            decoder = self._av.CodecContext.create(about.codec, "r")
            decoder.extradata = about.extradata
            decoder.thread_count = options.decoder_threads
            decoder.options = pyav.options_of(about.codec) | {"flags": "low_delay"}
        self._whole = Whole(decoder, in_transport=about.in_transport, is_live=True)
        self._fed = 0

    def _hardware_decoder(self, name: str) -> Any:
        try:
            decoder = self._av.CodecContext.create(name, "r")
            decoder.extradata = self._about.extradata
            decoder.width, decoder.height = self._about.width, self._about.height
            decoder.pix_fmt = "yuv420p"
            decoder.open()
        except (self._av.FFmpegError, ValueError):  # there is none here
            self.hardware[name] = False
            return None
        return decoder

    def _nothing(self) -> GnetsegError:
        now_ns = time.monotonic_ns()
        silent_s = (now_ns - self._came_ns) / NS_PER_S
        if self._held is not None:
            return NotYet(f"{self._shown}: the next picture is not due yet")
        if silent_s >= self._timeout_s:
            return CameraStalled(f"{self._shown}: sent nothing for {silent_s:.3g} s")
        if now_ns - max(self._given_ns, self._begun_ns) < KEY_WAIT_S * NS_PER_S:
            return NotYet(f"{self._shown}: the next key frame is waited for")
        return CameraStalled(
            f"{self._shown}: no picture of it can be shown for {KEY_WAIT_S:g} s; let the camera send key "
            "frames more often, or look for what disturbs the network"
        )

    def _feed_one(self, timeout_s: float) -> None:
        stream = self._stream
        arrived, self._held = self._held, None
        if arrived is None:
            arrived = stream.take(timeout_s)
        if arrived is None:
            return
        self._came_ns = time.monotonic_ns()
        if self._about.in_bursts and not self._is_due(arrived, timeout_s):
            return
        passed = stream.passed_over()
        if not self._about.in_bursts and self._came_ns - arrived.time_ns > LATE_S * NS_PER_S:
            stream.catch_up()
            passed += stream.passed_over() + 1  # this one, too
            arrived = None
        if passed:
            words = "the decoder is too slow; lower the camera's size or rate, or set camera.network.decode"
            self._lose(BEHIND, words, passed)
            self._whole.missed()
        if arrived is not None:
            self._decode(arrived)

    def _is_due(self, arrived: Arrived, timeout_s: float) -> bool:
        """Of what comes in bursts: wait until it is time for this one. It is held if that is too far away."""
        packet, now_ns = arrived.packet, time.monotonic_ns()
        if packet.dts is None or packet.time_base is None:
            return True
        own_ns = int(packet.dts * packet.time_base * NS_PER_S)
        due_ns = now_ns if self._base_ns is None else self._base_ns + own_ns
        if not now_ns - LATE_S * NS_PER_S < due_ns < now_ns + BURST_MAX_S * NS_PER_S:
            due_ns = now_ns  # it begins, was late, or its time has a jump
        self._base_ns = due_ns - own_ns
        wait_s = (due_ns - now_ns) / NS_PER_S
        if wait_s > timeout_s:
            time.sleep(max(0.0, timeout_s))
            self._held = arrived
            return False
        time.sleep(max(0.0, wait_s))
        return True

    def _decode(self, arrived: Arrived) -> None:
        packet, lag_ns = arrived.packet, self._lag_of(arrived)
        if self._options.decode == "key-frames" and not packet.is_keyframe:
            return
        if self._options.decode == "all" and self._is_after_gap(packet):
            if not self._whole.waits_for_key:
                self._lose(CUT, "packets were lost on their way", 1)
            self._whole.missed()
        self._count += 1
        if packet.pts is None:
            packet.pts = self._count
        self._times[packet.pts] = self._time_of(arrived, lag_ns)
        while len(self._times) > _HELD_MAX:
            del self._times[next(iter(self._times))]
        self._fed += 1
        for item in self._whole.feed(packet, packet.is_keyframe):
            if isinstance(item, tuple):
                kind, words, pictures = item
                self._lose(kind, words, pictures)
            elif item is not None:
                self._fed = 0
                self._images.append(item)
        if self.hardware_name and self._fed > HARDWARE_MUTE_PACKETS:
            log.warning("%s: %s gives no pictures; decoding in software", self._shown, self.hardware_name)
            self.hardware[self.hardware_name] = False
            self._make_decoder()

    def _is_after_gap(self, packet: Any) -> bool:
        """Were packets lost before this one, so that pictures are missing from which it is made?"""
        by_number = self._order is not None and self._order.has_gap(bytes(packet))
        if packet.dts is None or not packet.time_base:
            return by_number
        before_s, self._dts_s = self._dts_s, float(packet.dts * packet.time_base)
        step_s = 0.0 if before_s is None else abs(self._dts_s - before_s)
        # Numbers begin anew with each key frame: they may go on by chance where whole groups are missing.
        usual_s = self._step_s or step_s
        by_time = step_s > max(GAP_MIN_S, GAP_STEPS * usual_s)
        self._step_s = usual_s + (step_s - usual_s) / 8
        return by_number or (by_time and not packet.is_keyframe)

    def _lose(self, kind: str, words: str, pictures: int) -> None:
        self._sequence += pictures
        self._losses.add(kind, f"{self._shown}: {words}", pictures)

    def _number(self, image: Any) -> Found | None:
        """None where this one is more than ``max_fps`` allows."""
        arrived_ns = self._times.pop(image.pts, 0) or time.monotonic_ns()
        stamp_ns = max(self._stamp_ns + 1, arrived_ns)
        fps = self._options.max_fps
        if fps and self._given_ns and stamp_ns - self._given_ns < 0.9 * NS_PER_S / fps:
            return None
        self._sequence += 1
        self._stamp_ns = self._given_ns = stamp_ns
        return Found(image, self._sequence, stamp_ns)

    def _lag_of(self, arrived: Arrived) -> int:
        """``TransientError`` where the stream falls further and further behind."""
        packet = arrived.packet
        if self._about.in_bursts or self._about.format_name == "mpjpeg" or packet.dts is None:
            return 0  # it comes when it likes, or has no time of its own
        video_ns = int(packet.dts * packet.time_base * NS_PER_S) if packet.time_base else 0
        lag_ns = self._lag.take(arrived.sent_ns, video_ns, arrived.time_ns)
        if self._lag.is_behind:
            raise TransientError(
                f"{self._shown}: its pictures come {lag_ns / NS_PER_S:.0f} s late: the network carries less "
                "than it sends; lower the camera's bit rate, or use its second stream"
            )
        return lag_ns

    def _time_of(self, arrived: Arrived, lag_ns: int) -> int:
        if arrived.sent_ns:
            sent_ns = arrived.sent_ns - (time.time_ns() - time.monotonic_ns())
            if self._stamp_ns < sent_ns <= arrived.time_ns <= sent_ns + SENT_AGO_MAX_S * NS_PER_S:
                return sent_ns
        return arrived.time_ns - lag_ns

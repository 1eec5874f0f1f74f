"""One connection to a network camera, read by a thread of its own.

It is here because the network has a time of its own: what the decoder does not take in time must not pile up
in the kernel or at the camera. The thread alone opens, reads and closes FFmpeg's container.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import GnetsegError, TransientError
from ..text import clean
from . import pyav
from .whole import words_of

#: So much is kept for a decoder that is late; then what is oldest gives way.
QUEUE_MAX_BYTES = 24 << 20
QUEUE_MAX_PACKETS = 512
#: A single packet of more bytes is no picture of a camera.
PACKET_MAX_BYTES = 16 << 20


class Arrived(NamedTuple):
    """A packet, when it came (CLOCK_MONOTONIC, ns), the camera's own time of it (wall clock, ns; or 0)."""

    packet: Any
    time_ns: int
    sent_ns: int


class About(NamedTuple):
    """What is known of a stream before its first picture."""

    codec: str
    extradata: bytes | None
    width: int
    height: int
    fps: float
    in_transport: bool
    in_bursts: bool
    format_name: str
    stream: Any  # only what ``pyav.view_of`` reads


class Opened(NamedTuple):
    """What an opener gives: FFmpeg's container, whether it comes in bursts, what to call for each packet."""

    container: Any
    in_bursts: bool
    used: Callable[[], None]


class Stream:
    """Read from the camera's thread; ``opener`` and the container live in the thread that it starts."""

    def __init__(
        self, shown: str, opener: Callable[[], Opened], failure: Callable[[Exception], GnetsegError]
    ) -> None:
        self._shown = shown
        self._opener = opener
        self._failure = failure
        self._changed = threading.Condition()
        self._queue: deque[Arrived] = deque()
        self._queued_bytes = 0
        self._passed_over = 0
        self._stopping = False
        self.about: About | None = None
        self._error: GnetsegError | None = None
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Tell it to end; it does so when what it waits for has come, or its limit is over."""
        with self._changed:
            self._stopping = True
            self._queue.clear()
            self._queued_bytes = 0
            self._changed.notify_all()

    def ended(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wait_about(self, timeout_s: float) -> About:
        """``TransientError``, or what the opener raised, where there is no connection by then."""
        with self._changed:
            self._changed.wait_for(lambda: self.about is not None or self._error is not None, timeout_s)
            # One that is short may have come to its end already: its pictures are still to be taken.
            if self.about is None and self._error is not None:
                raise self._error
            if self.about is None:
                raise TransientError(
                    f"{self._shown}: no answer within {timeout_s:.3g} s; is it on, is it reached?"
                )
            return self.about

    def take(self, timeout_s: float) -> Arrived | None:
        """The oldest packet that is left; None where none comes within ``timeout_s``.

        Raises why it has ended once everything that came before is taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._error is not None, timeout_s)
            if self._queue:
                arrived = self._queue.popleft()
                self._queued_bytes -= arrived.packet.size
                self._changed.notify_all()
                return arrived
            if self._error is not None:
                raise self._error
            return None

    def passed_over(self) -> int:
        """How many packets were thrown away since this was last asked: the decoder was too slow for them."""
        with self._changed:
            passed, self._passed_over = self._passed_over, 0
            return passed

    def catch_up(self) -> None:
        """Throw away what is older than the newest key frame that has come; all, where there is none."""
        with self._changed:
            self._pass_over()

    def _pass_over(self) -> None:
        newest = max((at for at, each in enumerate(self._queue) if each.packet.is_keyframe), default=None)
        while self._queue and newest != 0:
            self._queued_bytes -= self._queue.popleft().packet.size
            self._passed_over += 1
            newest = None if newest is None else newest - 1

    def _run(self) -> None:
        try:
            self._read()
            error: GnetsegError = TransientError(f"{self._shown}: the stream has ended")
        except Exception as reason:
            error = reason if isinstance(reason, GnetsegError) else self._failure(reason)
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _read(self) -> None:
        opened = self._opener()
        with opened.container as container:
            stream = pyav.video_stream(container)
            if stream is None or stream.codec_context is None:
                raise TransientError(
                    f"{self._shown}: sends no video that FFmpeg knows; name another of the camera's addresses"
                )
            if large := pyav.too_large(stream.codec_context):
                raise TransientError(f"{self._shown}: {large}; use the camera's second stream")
            with self._changed:
                self.about = _about(container, stream, opened.in_bursts)
                self._changed.notify_all()
            for packet in container.demux(stream):
                if self._stopping:
                    return
                if not packet.size:
                    continue
                if packet.size > PACKET_MAX_BYTES:
                    raise TransientError(f"{self._shown}: sends a picture of {packet.size >> 20} MiB")
                opened.used()
                self._put(Arrived(packet, time.monotonic_ns(), _sent_ns(packet)), opened.in_bursts)

    def _put(self, arrived: Arrived, may_wait: bool) -> None:
        with self._changed:
            while not self._stopping and self._is_full():
                if may_wait:
                    self._changed.wait()
                else:
                    self._pass_over()
                    if self._is_full():  # a key frame alone
                        self._passed_over += len(self._queue)
                        self._queue.clear()
                        self._queued_bytes = 0
            if not self._stopping:
                self._queue.append(arrived)
                self._queued_bytes += arrived.packet.size
                self._changed.notify_all()

    def _is_full(self) -> bool:
        return self._queued_bytes > QUEUE_MAX_BYTES or len(self._queue) >= QUEUE_MAX_PACKETS


def _about(container: Any, stream: Any, in_bursts: bool) -> About:
    context = stream.codec_context
    aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio
    return About(
        codec=clean(context.name),
        extradata=context.extradata,
        width=int(context.width or 0),
        height=int(context.height or 0),
        fps=pyav.frame_rate(stream),
        in_transport=container.format.name == "mpegts",
        in_bursts=in_bursts,
        format_name=clean(container.format.name),
        stream=pyav.Seen(aspect, getattr(stream, "side_data", None)),
    )


def _sent_ns(packet: Any) -> int:
    """When the camera took the picture, by its own wall clock (RTCP), in ns; 0 where it does not tell."""
    each = getattr(packet, "iter_sidedata", None)  # of PyAV since 16
    if each is None:
        return 0
    for data in each():
        if data.data_type == "prft" and len(bytes(data)) >= 8:
            return int.from_bytes(bytes(data)[:8], "little", signed=True) * 1000
    return 0


def told(shown: str, error: Exception) -> TransientError:
    """FFmpeg's error as a sentence, without the address that it may hold."""
    return TransientError(f"{shown}: cannot be read ({words_of(error)})")

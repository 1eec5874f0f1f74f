"""Is the daemon getting on? The one judge of state, rate and progress; no threads of its own.

The watchdog is fed by progress, never by a timer:

* while the camera streams and the accelerator runs, only an answered frame is progress;
* otherwise (asleep, or waiting for a camera or an accelerator to come back) it is progress that
  each of the two threads that would move frames has gone round its loop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .camera_loop import CameraLoop
    from .pipeline import Pipeline


#: An accelerator that has frames and answers none for so long is told of, in seconds, or after so many of
#: its own limits for one answer if they are longer: one passes with the answer, two with mending the link.
#: A host controller that hangs lets none of them come true.
SILENCE_S = 5.0
SILENCE_ANSWERS = 3


class Progress:
    """Says whether something was achieved since it last said so."""

    def __init__(self) -> None:
        self._mark: tuple[int, ...] = ()
        self._mode = ""

    def made(self, camera: CameraLoop, pipeline: Pipeline) -> bool:
        """True at most once for each progress."""
        if camera.state == "streaming" and pipeline.state == "running":
            mode = "streaming"
            mark: tuple[int, ...] = (pipeline.results + pipeline.losses,)
        else:
            mode, mark = "waiting", (camera.beats, pipeline.beats)
        if mode != self._mode:
            # A change of state is itself something that happened.
            self._mode, self._mark = mode, mark
            return True
        # Unequal and not more: after a reload a new thread counts from 0.
        if all(new != old for new, old in zip(mark, self._mark, strict=True)):
            self._mark = mark
            return True
        return False


class Rate:
    """Masks per second, over the last interval between two calls of ``update``."""

    def __init__(self) -> None:
        self.fps = 0.0
        self._count = 0
        self._at = time.monotonic()

    def update(self, count: int) -> float:
        now = time.monotonic()
        elapsed = now - self._at
        if elapsed > 0:
            self.fps = max(0, count - self._count) / elapsed
        self._count, self._at = count, now
        return self.fps


class Silence:
    """Tells an accelerator that keeps its frames from one that has none."""

    def __init__(self, answer_timeouts_s: Iterable[float] = ()) -> None:
        #: How long an answer may be due.
        self.limit_s = max([SILENCE_S, *(SILENCE_ANSWERS * timeout for timeout in answer_timeouts_s)])
        self._answers = -1
        self._since: float | None = None

    def lasts(self, pipeline: Pipeline, now: float) -> float:
        """``limit_s`` if no answer has come for longer though one is due, else 0; ask many times a second."""
        answers = pipeline.results + pipeline.losses
        if not pipeline.in_flight:
            self._since = None  # counted from when a frame is seen: the time before was no silence
        elif answers != self._answers or self._since is None:
            self._since = now
        self._answers = answers
        return self.limit_s if self._since is not None and now - self._since > self.limit_s else 0.0


def state(camera: CameraLoop, pipeline: Pipeline, ready: bool, silent_s: float = 0.0) -> tuple[str, str]:
    """(state, reason) for ``status``; docs/messages.md lists the states. ``silent_s`` as ``Silence`` says."""
    if camera.state == "lost":
        return "no-camera", camera.reason
    if pipeline.state == "lost":
        return "no-accelerator", pipeline.reason
    if camera.state == "sleeping":
        return "idle", "nobody is subscribed"
    if pipeline.state == "opening":
        return "starting", "opening the accelerator"
    if camera.state == "opening":
        return "starting", "opening the camera"
    if not ready:
        return "starting", "waiting for the first mask"
    if silent_s:
        on_usb = pipeline.info is not None and pipeline.info.backend == "usb"
        advice = "replug the USB device" if on_usb else "choose a smaller model if it is too slow"
        return "no-accelerator", f"no answer for {silent_s:g} s and more; {advice}, or wait for the watchdog"
    if pipeline.info is not None and pipeline.info.fallback:
        return (
            "running",
            f"on the stand-in: {pipeline.accelerator.describe().get('falling_back_because', '')}",
        )
    return "running", ""

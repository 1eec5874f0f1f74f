"""Are masks coming? The one judge of state, rate and progress; no threads of its own.

The watchdog is fed by masks, never by a timer. Without masks only an honest rest counts: the camera
sleeps, the network rests as nobody listens, or a camera or an accelerator is missing and each attempt to get
it ends. Frames that go in while no mask comes out are no rest.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from ..message import STATES
from .road import Road


class Health(NamedTuple):
    """``state`` is one of ``message.STATES``; ``reason`` is for people, empty when all is well."""

    state: str
    reason: str


def judge(road: Road, ready: bool) -> Health:
    """The state of the road, for ``status``; docs/messages.md tells what each means."""
    state, reason = _judge(road, ready)
    assert state in STATES
    return Health(state, reason)


def _judge(road: Road, ready: bool) -> tuple[str, str]:
    camera, pipeline = road.camera, road.pipeline
    if camera.state == "lost":
        return "no-camera", camera.reason
    if pipeline.no_masks:
        return "no-masks", pipeline.reason or "frames go in and no mask comes out"
    if pipeline.state == "lost":
        return "no-accelerator", pipeline.reason
    if pipeline.state == "opening":
        return "starting", "opening the accelerator"
    if camera.state == "sleeping":
        return "idle", "nobody is subscribed"
    if camera.state == "opening":
        return "starting", "opening the camera"
    if not ready:
        return "starting", "not all is open yet"
    if pipeline.resting:
        return "idle", "nobody is subscribed, the network rests"
    info = pipeline.info
    if info is not None and info.fallback:
        return (
            "running",
            f"on the stand-in: {pipeline.describe().get('falling_back_because', '')}",
        )
    return "running", ""


class Progress:
    """Says whether something was achieved since it last said so."""

    def __init__(self) -> None:
        self._masks = 0
        self._marks: tuple[int, int] = (0, 0)

    def made(self, road: Road) -> bool:
        """True at most once for each progress."""
        masks = road.publisher.masks
        if masks != self._masks:
            self._masks = masks
            return True
        if not rests(road):
            return False
        marks = (road.camera.signs_of_life(), road.pipeline.signs_of_life())
        # Unequal and not more: after a reload a new thread counts from 0.
        camera, pipeline = (new != old for new, old in zip(marks, self._marks, strict=True))
        # A video that has ended has no thread any more; its last frame may wait for an accelerator.
        if pipeline and (camera or road.camera.state == "ended"):
            self._marks = marks
            return True
        return False


def rests(road: Road) -> bool:
    """Is there an honest reason why no masks come?"""
    camera, pipeline = road.camera, road.pipeline
    if pipeline.resting or camera.state != "streaming":
        return True
    return pipeline.state != "running" and not pipeline.no_masks


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

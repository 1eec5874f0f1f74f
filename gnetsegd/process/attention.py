"""Who listens decides what runs: with nobody there the network rests at once, the camera after a while."""

from __future__ import annotations

import logging

from ..config import IdleConfig
from ..quiet import Quiet
from ..road.road import Road

log = logging.getLogger(__name__)


class Attention:
    """Follows the subscriptions; the main thread's."""

    def __init__(self, road: Road, now: float) -> None:
        self._road = road
        self._watched_at = now
        self._quiet = Quiet()

    def follow(self, idle: IdleConfig, now: float) -> None:
        """Let the network and the camera run or rest, as ``idle`` wants it."""
        road, watched = self._road, self._road.publisher.watched
        road.set_wanted(watched or not idle.rest)
        info = road.camera.info
        stays_awake = not idle.sleep or (info is not None and not info.may_sleep)
        # A camera that is missing is looked for, whoever listens: else nobody would be told of it.
        is_there = road.camera.state in ("streaming", "sleeping")
        if watched or stays_awake or not is_there:
            self._watched_at = now
        awake = now - self._watched_at <= idle.linger_s
        if awake == road.awake:
            return
        if self._quiet.may_say():
            words = "waking up" if awake else "going to sleep, nobody is subscribed"
            log.info("camera: %s%s", words, self._quiet.left_out())
        road.set_awake(awake)

    @property
    def asleep(self) -> bool:
        """Is nothing to be done until somebody comes?"""
        return self._road.camera.state == "sleeping" and self._road.pipeline.resting

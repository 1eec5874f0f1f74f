"""A road without threads, and a systemd that remembers, for the main thread's own parts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gnetsegd.cameras import CameraInfo
from gnetsegd.frame import ModelInfo

from ..road.fakes import GEOMETRY, MASK, SPEC, Published

CAMERA = CameraInfo(30.0, GEOMETRY, "scripted")
MODEL = ModelInfo("standin", "m", bytes(32), SPEC, MASK, ("background", "person"))


class Road:
    """States as a test sets them; ``told`` are the calls that it got."""

    def __init__(self) -> None:
        self.publisher = Published()
        self.camera: Any = SimpleNamespace(state="streaming", reason="", info=CAMERA, attempts=1)
        self.pipeline: Any = SimpleNamespace(
            state="running", reason="", info=MODEL, no_masks=False, resting=False, describe=dict
        )
        self.awake = True
        self.wanted = True
        self.told: list[tuple[str, bool]] = []

    def set_wanted(self, wanted: bool) -> None:
        self.wanted = wanted

    def set_awake(self, awake: bool) -> None:
        self.awake = awake
        self.told.append(("awake", awake))

    def counters(self) -> dict[str, int]:
        return {"masks": self.publisher.masks}

    def lost(self) -> dict[str, int]:
        return {"damaged": 3}


class Systemd:
    """A ``Notifier`` that remembers."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.more_time = 0

    def status(self, words: str) -> None:
        self.words.append(words)

    def still_starting(self, words: str, extend_s: float) -> None:
        self.words.append(words)
        self.more_time += extend_s > 0

"""When a zone is occupied: pure arithmetic by the sensor's time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import OccupancyConfig

#: Between two masks of more than this distance nobody knows what was: frames in a row begin anew.
GAP_NS = 2_000_000_000


class Occupancy:
    """One zone. ``occupied`` is None until there is something to say: unknown is not clear.

    On after ``on_after_frames`` masks in a row with at least ``on_share`` of the zone; off after
    ``off_after_s`` without a mask of ``off_share`` or more. At first, and after ``forget``, as many masks in
    a row tell either.
    """

    def __init__(self, config: OccupancyConfig) -> None:
        self.occupied: bool | None = None
        self._config = config
        self._above = self._below = 0
        self._last_ns: int | None = None
        self._seen_ns = 0

    def forget(self) -> None:
        """What was is not known any more: there was no data."""
        self.occupied = None
        self._above = self._below = 0
        self._last_ns = None

    def add(self, share: float, sensor_ns: int, gap_ns: int = GAP_NS) -> bool:
        """One mask; True if ``occupied`` is another now. ``gap_ns``: masks further apart are no row."""
        config, before = self._config, self.occupied
        if self._last_ns is None or not 0 <= sensor_ns - self._last_ns <= gap_ns:
            # The time in which nothing was seen is none in which nobody was there.
            self._above = self._below = 0
            self._seen_ns = sensor_ns
        self._last_ns = sensor_ns
        is_above = share >= config.on_share
        self._above, self._below = (self._above + 1, 0) if is_above else (0, self._below + 1)
        is_clear = share < config.off_share or share == 0
        if not is_clear:
            self._seen_ns = sensor_ns
        if self._above >= config.on_after_frames:
            self.occupied = True
        elif self.occupied is None:
            if self._below >= config.on_after_frames:
                self.occupied = False
        elif self.occupied and is_clear and sensor_ns - self._seen_ns >= config.off_after_s * 1e9:
            self.occupied = False
        return self.occupied != before

"""Less flicker, for a delay that is told."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .mask import ReceivedMask

#: A gap in the masks that is no gap, however little is smoothed: a few frames of a slow camera.
GAP_LEAST_S = 0.5


class Smoother:
    """How much of the last while each pixel was a person: an exponential average over the sensor's time.

    The rate of the masks does not matter. After a gap, in another session, with another network, another
    crop or a time that goes back it starts anew: an old picture says nothing of now.

    Parameters
    ----------
    seconds : the average's time constant: what changed so long ago counts 63 %
    gap_s : a longer pause between two exposures is a gap; by default ``seconds``, at least 0.5

    ``ValueError`` for times that are not above 0.
    """

    def __init__(self, seconds: float, gap_s: float | None = None) -> None:
        self.seconds = seconds
        self.gap_s = max(seconds, GAP_LEAST_S) if gap_s is None else gap_s
        if not (0 < seconds < math.inf and self.gap_s > 0):
            raise ValueError(f"a smoother's seconds are {seconds}; they must be above 0, as must gap_s")
        #: How old, on average and by the sensor's time, what the last answer is made of is, in s.
        self.lag_s = 0.0
        #: The last mask began anew.
        self.restarted = False
        self._average: NDArray[np.float32] | None = None
        self._kind: tuple[object, ...] = ()
        self._time_ns = 0

    def __call__(self, mask: ReceivedMask) -> NDArray[np.float32]:
        """The average with ``mask``: float32 of shape (height, width), 0 to 1, read-only.

        The same mask again changes nothing. ``>= 0.5`` is the steadier ``mask.person``. ``NoInfoError`` and
        ``ValueError`` as ``mask.person``.
        """
        person, geometry = mask.person, mask.geometry
        kind = (mask.session, mask.model_hash, person.shape, geometry)
        passed_s = (mask.sensor_timestamp_ns - self._time_ns) / 1e9
        average = self._average
        self.restarted = average is None or kind != self._kind or not 0 <= passed_s <= self.gap_s
        if average is None or self.restarted:
            average, self.lag_s = person.astype(np.float32), 0.0
        elif passed_s:
            keep = math.exp(-passed_s / self.seconds)
            average = (average * keep + person * (1 - keep)).astype(np.float32)
            self.lag_s = (self.lag_s + passed_s) * keep
        average.flags.writeable = False
        self._average, self._kind, self._time_ns = average, kind, mask.sensor_timestamp_ns
        return average

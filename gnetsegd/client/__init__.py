"""Receive person masks: needs pyzmq and numpy, nothing of the daemon.

::

    with MaskSubscriber("ipc:///run/gnetsegd/masks.sock") as masks:
        for mask in masks:                      # NoDataError when the masks stop
            print(mask.sequence, mask.age_s, mask.share())

docs/client.md is the guide, docs/messages.md the specification of what arrives here.
"""

from .clock import CLOCK_DRIFT, Clock
from .configured import client_config
from .connect import DEFAULT_ENDPOINT, QUEUE_MESSAGES, subscribe
from .losses import LossCounter
from .mask import INFO_WAIT_S, ReceivedMask
from .masks import (
    MAX_AGE_S,
    RATE_TOLERANCE,
    RATE_WINDOW_S,
    START_TIMEOUT_S,
    MaskSubscriber,
)
from .no_data import WHYS, NoData, NoDataError, NoInfoError
from .shapes import Blob, Box
from .smoother import Smoother
from .status import ALIVE_LIMIT_S, StatusSubscriber
from .zone import Zone

__all__ = [
    "ALIVE_LIMIT_S",
    "CLOCK_DRIFT",
    "DEFAULT_ENDPOINT",
    "INFO_WAIT_S",
    "MAX_AGE_S",
    "QUEUE_MESSAGES",
    "RATE_TOLERANCE",
    "RATE_WINDOW_S",
    "START_TIMEOUT_S",
    "WHYS",
    "Blob",
    "Box",
    "Clock",
    "LossCounter",
    "MaskSubscriber",
    "NoData",
    "NoDataError",
    "NoInfoError",
    "ReceivedMask",
    "Smoother",
    "StatusSubscriber",
    "Zone",
    "client_config",
    "subscribe",
]

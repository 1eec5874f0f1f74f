"""The signals that end a command or a service of ours."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def stop_on_signals() -> threading.Event:
    """Set by SIGINT and SIGTERM, and by a terminal that goes away, unless nohup is to outlive that."""
    stop = threading.Event()
    _on_signals(lambda *_: stop.set())
    return stop


def end_on_signals() -> None:
    """The same signals raise ``KeyboardInterrupt``: what is half made is cleared away."""
    _on_signals(signal.default_int_handler)


def _on_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)

"""The signals that end a command or a service of ours."""

from __future__ import annotations

import signal
import threading


def stop_on_signals() -> threading.Event:
    """Set by SIGINT and SIGTERM, and by a terminal that goes away, unless nohup is to outlive that."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: stop.set())
    return stop

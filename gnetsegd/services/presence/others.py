"""Telling a command or an address, for those without MQTT: changes only, and the newest of each zone."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

from ...errors import ConfigError
from ...quiet import Quiet
from ...text import clean
from .watcher import Told

log = logging.getLogger(__name__)

EXEC_S = 10.0
WEBHOOK_S = 5.0
STOP_S = 1.0
WORDS = {True: "on", False: "off", None: "unavailable"}

Work = Callable[[str, str, Told], None]


class Teller:
    """Calls ``work(camera, zone, told)`` in a thread of its own where a zone's occupancy changed."""

    def __init__(self, work: Work, what: str) -> None:
        self._work = work
        self._what = what
        self._last: dict[tuple[str, str], bool | None] = {}
        self._waiting: dict[tuple[str, str], Told] = {}
        self._changed = threading.Condition()
        self._stop = False
        self._quiet = Quiet()
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)
        self._thread.start()

    def tell(self, camera: str, zone: str, told: Told) -> None:
        key = (camera, zone)
        with self._changed:
            if key in self._last and self._last[key] == told.occupied:
                return
            self._last[key] = told.occupied
            self._waiting[key] = told
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stop = True
            self._changed.notify()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stop:
                    self._changed.wait()
                if self._stop:
                    return
                key = next(iter(self._waiting))
                told = self._waiting.pop(key)
            try:
                self._work(*key, told)
            except Exception as error:  # whoever is told may fail as he likes
                if self._quiet.may_say():
                    log.warning("%s failed: %s%s", self._what, clean(str(error)), self._quiet.left_out())


def command(words: str) -> Work:
    """Runs a command without a shell, for ``EXEC_S`` at most. ``ConfigError`` for words that are none."""
    try:
        arguments = shlex.split(words)
    except ValueError as error:
        raise ConfigError(f"service.exec: {error}") from None
    if not arguments:
        raise ConfigError("service.exec is empty; name a command")

    def run(camera: str, zone: str, told: Told) -> None:
        environment = {
            **os.environ,
            "GNETSEGD_CAMERA": camera,
            "GNETSEGD_ZONE": zone,
            "GNETSEGD_OCCUPANCY": WORDS[told.occupied],
            "GNETSEGD_REASON": told.reason,
        }
        subprocess.run(arguments, env=environment, timeout=EXEC_S, check=True, stdin=subprocess.DEVNULL)

    return run


def webhook(address: str) -> Work:
    """POSTs JSON; redirections are not followed, the answer is not read."""
    opener = urllib.request.build_opener(_NoRedirection)

    def post(camera: str, zone: str, told: Told) -> None:
        body = {
            "camera": camera,
            "zone": zone,
            "occupancy": WORDS[told.occupied],
            "reason": told.reason,
            "share": round(told.share, 4),
            "blobs": told.blobs,
        }
        request = urllib.request.Request(
            address, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with opener.open(request, timeout=WEBHOOK_S):
            pass

    return post


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None

"""``gnetsegctl exporter``: serve metrics until it is ended."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import prometheus_client
from prometheus_client.registry import Collector, CollectorRegistry

from ...client import MaskSubscriber, StatusSubscriber
from ...errors import PermanentError
from ...text import clean
from .. import here, zones
from ..here import Found
from ..signals import stop_on_signals
from .masks import MaskMetrics, MaskReader
from .metrics import Seen, families

log = logging.getLogger(__name__)

#: New cameras are looked for so often.
LOOK_S = 15.0
STOP_S = 2.0


class Options(NamedTuple):
    """As the command line has them; ``endpoints`` empty: all of this machine."""

    endpoints: tuple[str, ...]
    address: str
    port: int
    masks: bool
    zones_dir: Path


class Cameras(Collector):
    """Asks at each scrape what the daemons said last; between two scrapes it does nothing."""

    def __init__(self, options: Options, registry: CollectorRegistry) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._subscribers: dict[str, StatusSubscriber] = {}
        self._cameras = here.Cameras(options.endpoints)
        self._metrics = MaskMetrics(registry) if options.masks else None
        self._readers: list[MaskReader] = []
        registry.register(self)

    def describe(self) -> list[Any]:
        """Nothing: else the registry would ask the daemons already now."""
        return []

    def look(self) -> None:
        """Take in the cameras that are new."""
        for found in self._cameras.look():
            self._add(found)

    def _add(self, found: Found) -> None:
        name, endpoint, camera = found
        subscriber = StatusSubscriber(endpoint, camera)
        with self._lock:
            self._subscribers[name] = subscriber
        log.info("camera %s at %s", name, clean(endpoint))
        if self._metrics is not None:
            path = zones.path_of(self._options.zones_dir, name)
            self._readers.append(
                MaskReader(name, lambda: MaskSubscriber(endpoint, camera, False), path, self._metrics)
            )

    def collect(self) -> Iterator[Any]:
        with self._lock:
            seen = [
                Seen(name, one.alive, one.status(), one.info()) for name, one in self._subscribers.items()
            ]
        yield from families(seen)

    def stop(self) -> None:
        for reader in self._readers:
            reader.stop(STOP_S)
        with self._lock:
            for one in self._subscribers.values():
                one.close()
            self._subscribers.clear()


def serve(options: Options) -> None:
    """Until a signal ends it. ``PermanentError`` where the port cannot be used."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    ended = stop_on_signals()
    here.check(options.endpoints, "--endpoint")
    registry = CollectorRegistry()
    cameras = Cameras(options, registry)
    try:
        cameras.look()
        prometheus_client.start_http_server(options.port, options.address, registry)
    except OSError as error:
        raise PermanentError(
            f"{clean(options.address)}:{options.port} cannot be used ({error.strerror}); "
            "choose another with --address and --port",
            os.EX_TEMPFAIL,
        ) from None
    log.info("metrics: http://%s:%d/metrics", options.address, options.port)
    try:
        while not ended.wait(LOOK_S):
            cameras.look()
    finally:
        cameras.stop()

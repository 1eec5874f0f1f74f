"""A changed configuration is taken over while the daemon runs; a bad one changes nothing.

All of it happens in a thread of its own: the main thread waits for no file and no device. A fresh process
checks the file first, with the network that it names, and nothing is given up before that has passed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import attrs

from ..config import Config, find_file
from ..config import load as load_config
from ..errors import GnetsegError, PermanentError, as_fatal
from ..model import ModelBundle
from ..road.road import Network, Road, Source
from . import logs
from .networks import finder
from .parts import Setup, in_use, make_network, make_setup, make_source, picture_width
from .prove import check_in_child, prove_in_fresh_process

log = logging.getLogger(__name__)

#: How long the first attempt of a new camera and a new network is waited for, in s, before they are believed.
VERDICT_LIMIT_S = 15.0
VERDICT_LOOK_S = 0.02


class _Change(NamedTuple):
    """The parts that differ; None where one stays."""

    source: Source | None
    network: Network | None


class Reloader:
    """``setup`` is what runs now. ``fatal`` is set where an old part does not let go: no way leads back."""

    def __init__(
        self,
        setup: Setup,
        path: Path | None,
        settings: tuple[str, ...],
        road: Road,
        wake: Callable[[], None],
        accelerator_seen: bool = False,
    ) -> None:
        self.setup = setup
        #: An accelerator is there, or was once: ``model.bundle = "auto"`` takes the pair from then on.
        self._accelerator_seen = accelerator_seen
        self.fatal: GnetsegError | None = None
        self._path = path
        self._settings = settings
        self._road = road
        self._wake = wake
        self._again = False
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None

    def request(self) -> None:
        """Begin a reload, or another one after that which is under way."""
        if self._thread is not None:
            self._again = True
            return
        self._begin(self._reload)

    def take_accelerator(self) -> None:
        """Begin to take the networks for the first accelerator, which has come; not while ``busy``."""
        self._begin(self._take_accelerator)

    def _begin(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=self._run, args=(work,), name="reload", daemon=True)
        self._thread.start()

    def finished(self) -> bool:
        """True once after each reload; the main thread asks at each tick."""
        if self._thread is None or self._thread.is_alive():
            return False
        self._thread = None
        if self._again:
            self._again = False
            self.request()
            return False
        return True

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except GnetsegError as error:
            log.error("reload: %s; the running configuration stays", error)
        except Exception as error:
            log.error("reload: %s: %s; the running configuration stays", type(error).__name__, error)
        else:
            log.info("reload: done")
        self._wake()

    def _reload(self) -> None:
        path = find_file(self._path)
        check_in_child(str(path) if path else None, self._settings)
        config = load_config(path, self._settings)
        was_there = self._road.parts[1].accelerator.was_there
        self._accelerator_seen = self._accelerator_seen or was_there or finder(config.accelerator)()
        self._apply(make_setup(config, self._accelerator_seen))

    def _take_accelerator(self) -> None:
        """With the configuration in force: its file may just be edited."""
        config = self.setup.config
        self._accelerator_seen = True
        new = make_setup(config, self._accelerator_seen)
        prove_in_fresh_process(new.bundles.fallback, config.accelerator)
        self._apply(new)

    def _apply(self, new: Setup) -> None:
        old = self.setup
        if new.config.camera.name != old.config.camera.name:
            raise GnetsegError("camera.name is part of the topics and changes only with a restart")
        _check_rebind(new.config, old.config)
        change = _Change(
            make_source(new.config) if _other_camera(new.config, old.config) else None,
            make_network(new) if _other_network(new, old) else None,
        )
        source, network = self._road.parts
        if change.network is not None:
            change.network.accelerator.succeed(network.accelerator)
        self._change(change)
        self.setup = new
        try:
            self._wait_for_verdict(change)
        except PermanentError:
            self._change(_Change(source if change.source else None, network if change.network else None))
            self.setup = old
            raise
        logs.set_level(new.config.log.level)
        self._road.publisher.set_pictures(new.config.publish)

    def _change(self, change: _Change) -> None:
        if change.source is None and change.network is None:
            return
        try:
            self._road.change(change.source, change.network)
        except Exception as error:
            # Old parts have stopped, and new ones may not have begun.
            self.fatal = as_fatal(error, "reload")
            raise

    def _wait_for_verdict(self, change: _Change) -> None:
        """Until the new parts' first attempts are over; ``PermanentError`` if one of them cannot work."""
        camera, pipeline = self._road.camera, self._road.pipeline
        deadline = time.monotonic() + VERDICT_LIMIT_S
        while time.monotonic() < deadline:
            if change.source is not None and isinstance(camera.error, PermanentError):
                raise camera.error
            if change.network is not None and isinstance(pipeline.error, PermanentError):
                raise pipeline.error
            camera_known = change.source is None or camera.attempts or camera.state == "sleeping"
            if camera_known and (change.network is None or pipeline.state != "opening"):
                return
            time.sleep(VERDICT_LOOK_S)


def _other_camera(new: Config, old: Config) -> bool:
    return in_use(new.camera) != in_use(old.camera) or picture_width(new) != picture_width(old)


def _other_network(new: Setup, old: Setup) -> bool:
    return (
        in_use(new.config.accelerator) != in_use(old.config.accelerator)
        or new.until_one_comes != old.until_one_comes
        or [_promise(bundle) for bundle in new.bundles] != [_promise(bundle) for bundle in old.bundles]
    )


def _promise(bundle: ModelBundle) -> ModelBundle:
    """What a road is built for: all but words, and which labels are persons."""
    return attrs.evolve(bundle, id="", title="", licence="", path=Path(), content=b"", persons=())


def _check_rebind(new: Config, old: Config) -> None:
    free = ("frames", "images", "image_width", "image_fps", "image_quality", "status_interval_s")
    same = attrs.evolve(old.publish, **{name: getattr(new.publish, name) for name in free})
    if same != new.publish:
        raise GnetsegError("publish: endpoints, modes and keys change only with a restart")

"""The daemon's life: build the road, watch it from the main thread, end in good order.

The main thread does what is not urgent: it follows subscriptions, sends ``info`` and ``status``, feeds the
watchdog, and obeys SIGTERM, SIGINT and SIGHUP. It waits for no file, no peer and no device.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from ..accelerators.watch import limit_s
from ..config import Config
from ..config import load as load_config
from ..errors import GnetsegError, HungError, TransientError
from ..road import health
from ..road.health import Health
from ..road.publisher import Publisher
from ..road.road import Road
from ..road.supervisor import REST_BEAT_S
from . import logs, networks
from .arrival import Arrival
from .attention import Attention
from .parts import Setup, make_network, make_setup, make_source
from .prove import prove
from .reload import Reloader
from .report import Reporter
from .sd_notify import Notifier
from .signals import Signals, Wake

log = logging.getLogger(__name__)

#: How often the main thread looks at everything, in s; the second while nobody is there.
TICK_S = 0.1
ASLEEP_TICK_S = 1.0
#: While the network is tried in a child, systemd is asked for more time so often, in s.
PROVING_TELL_S = 5.0
#: How often is looked whether the sockets' files are there, in s.
SOCKET_LOOK_S = 1.0
#: In all, stopping takes less than 2 s.
STOP_CAMERA_S = 0.4
STOP_DRAIN_S = 0.6
STOP_ROAD_S = 0.6
#: A reader takes what is older for dead (``client.MaskSubscriber``), in s.
READERS_WAIT_S = 3.0


class _StopError(GnetsegError):
    """A stop was asked for before all was open."""


class Daemon:
    """One camera, one network, one publisher. ``path`` and ``settings`` are read again at SIGHUP."""

    def __init__(self, config: Config, path: Path | None, settings: tuple[str, ...]) -> None:
        self._config = config
        self._path = path
        self._settings = settings
        self._wake = Wake()
        self._signals = Signals(self._wake)
        self._notifier = Notifier()
        self._told_at = time.monotonic()
        self._mended_at = self._told_at
        self._ready = False
        self._hung = ""
        self._road: Road | None = None
        self._reporter: Reporter | None = None
        self._publisher = Publisher(config.camera.name)
        self._arrival = Arrival(self._wake.set)

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or the end of the video; the process's exit code.

        Raises ``GnetsegError`` when it cannot start, ``HungError`` when a call into a camera or an
        accelerator does not return, and ``TransientError`` when the folder of its socket is gone or an old
        part does not let go at a reload; after READY nothing else ends it but a stop.
        """
        config = self._config
        for words in warnings(config, self._notifier.watchdog_s):
            log.warning("%s", words)
        try:
            seen = networks.finder(config.accelerator)()
            setup = make_setup(config, seen)
            # Before there are threads: the trial is a fork.
            prove(setup.bundles.fallback, config.accelerator, self._while_proving)
            self._publisher.open(config.publish)
            road = self._road = Road(
                make_source(config), make_network(setup), self._publisher,
                # New parts that cannot work are taken back by the reload, at whatever time it comes.
                lambda: not (self._ready or reloader.busy), self._wake.set,
            )  # fmt: skip
            road.set_wanted(not config.idle.rest)  # nobody has had the time to come
            reloader = Reloader(setup, self._path, self._settings, road, self._wake.set, seen)
            self._reporter = Reporter(road, self._notifier, lambda: reloader.setup)
            road.start()
            return self._loop(road, reloader, self._reporter)
        except _StopError:
            return 0
        finally:
            self._shut_down()

    def _while_proving(self) -> None:
        if self._signals.stop:
            raise _StopError("")
        now = time.monotonic()
        if now - self._told_at > PROVING_TELL_S:
            self._told_at = now
            self._notifier.still_starting("starting: trying the network", 2 * PROVING_TELL_S)

    def _loop(self, road: Road, reloader: Reloader, reporter: Reporter) -> int:
        progress = health.Progress()
        attention = Attention(road, time.monotonic())
        arrival = self._arrival
        achieved = True
        while True:
            tick_s = ASLEEP_TICK_S if attention.asleep else TICK_S
            # While masks are sent its descriptors may be readable for nothing; then the tick is enough.
            self._wake.wait(tick_s, () if self._publisher.watched else self._publisher.descriptors())
            now = time.monotonic()
            if self._signals.stop:
                log.info("%s: stopping", self._signals.stop)
                return 0
            for fatal in (road.camera.fatal, road.pipeline.fatal, reloader.fatal):
                if fatal is not None:
                    raise fatal
            self._hung = road.blocked(now)
            if self._hung:
                raise HungError(f"{self._hung}; ending, so that a clean process takes over")
            if self._signals.take_reload():
                self._notifier.reloading()
                reloader.request()
            if reloader.finished() and self._ready:
                self._notifier.ready("reloaded")
            if self._ready and not reloader.busy:
                arrival.follow(reloader.setup)
                if arrival.take():
                    log.info("accelerator: the first one has come; the networks for it are taken")
                    reloader.take_accelerator()
            self._publisher.poll_subscriptions()
            attention.follow(reloader.setup.config.idle, now)
            if not self._ready and road.pipeline.state == "running" and road.camera.attempts:
                self._become_ready(road, reloader.setup)
            if progress.made(road):
                achieved = True
                self._notifier.watchdog()
            if reporter.tick(now, self._ready, achieved):
                achieved = False
            if now - self._mended_at >= SOCKET_LOOK_S:
                self._mended_at = now
                lost = self._publisher.mend_endpoints()
                if lost:
                    raise TransientError(
                        f"{lost}: its socket's folder is gone or its path another's; ending, a clean process "
                        "binds it"
                    )
            if road.camera.state == "ended" and road.drained and not reloader.busy:
                end = road.camera.end
                if end is not None and end.exit_code:
                    raise end
                log.info("%s: done", road.camera.reason)
                return 0

    def _become_ready(self, road: Road, setup: Setup) -> None:
        """Socket bound, network proven; the camera has been tried, and may still be waited for."""
        self._ready = True
        # The one line of a start: the camera's words are in it.
        info, camera, section = road.pipeline.info, road.camera.info, setup.config.camera
        log.info(
            "ready: %s with %s on %s, camera %s: %s, publishing on %s",
            section.driver, info and info.model_id, info and info.backend,
            section.name, "none yet" if camera is None else camera.description,
            ", ".join(self._publisher.bound_endpoints()),
            extra={"GNETSEGD_STATE": "ready", "GNETSEGD_BACKEND": info and info.backend},
        )  # fmt: skip
        self._notifier.ready("ready")

    def _shut_down(self) -> None:
        """Stop the camera, let what is in flight come out, say goodbye; inside 2 s."""
        self._notifier.stopping()
        self._arrival.stop()
        if self._road is not None and self._reporter is not None:
            self._road.stop(STOP_CAMERA_S, STOP_DRAIN_S, STOP_ROAD_S)
            reason = self._signals.stop or self._hung or self._road.camera.reason
            self._reporter.send_status(Health("stopping", reason))
        self._publisher.close()


def warnings(config: Config, watchdog_s: float) -> list[str]:
    """What does not fit together and yet works, in sentences."""
    stall_s, interval_s = config.camera.stall_timeout_s, config.publish.status_interval_s
    longest_s = max(stall_s + limit_s(0.0), 2 * REST_BEAT_S)
    found = []
    if 0 < watchdog_s <= longest_s:
        found.append(
            f"the unit's WatchdogSec is {watchdog_s:g} s: with camera.stall_timeout_s = {stall_s:g} it must "
            f"be over {longest_s:g}"
        )
    if interval_s >= READERS_WAIT_S:
        found.append(
            f"publish.status_interval_s is {interval_s:g}: readers take a daemon for dead that is silent for "
            f"{READERS_WAIT_S:g} s; lower it, or raise their alive_limit_s"
        )
    return found


def run(path: Path | None, settings: tuple[str, ...]) -> int:
    """Load the configuration and run the daemon with it; the process's exit code."""
    config = load_config(path, settings)
    logs.set_up_logging(config.log.level)
    return Daemon(config, path, settings).run()

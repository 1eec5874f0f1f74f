"""The daemon: builds the road from the configuration, and lives until it is told to stop.

The main thread does what is not urgent: it looks after subscriptions some times a second, sends
``info`` and ``status``, feeds the watchdog, and handles SIGTERM, SIGINT and SIGHUP.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from .. import __version__
from ..accelerators import Accelerator
from ..config import Config
from ..config import load as load_config
from ..errors import GnetsegError, TransientError
from ..link.header import ROOM
from ..message import INFO_SCHEMA, STATUS_SCHEMA
from ..model import ModelBundle, load_bundle
from ..plugins import find
from ..road import health
from ..road.camera_loop import GRACE_S, CameraLoop
from ..road.mailbox import Mailbox, Pool
from ..road.pipeline import Pipeline
from ..road.publisher import Publisher
from . import sd_notify as service

log = logging.getLogger(__name__)

TICK_S = 0.1
#: How much more time systemd is asked for while something is still awaited.
EXTEND_S = 20.0
#: Frames that any accelerator may keep in flight: sizes the pool.
DEPTH_MAX_FRAMES = 4
#: In all, stopping takes less than 2 s.
STOP_CAMERA_S = 0.4
STOP_DRAIN_S = 0.6
STOP_ROAD_S = 0.6
#: A reload may wait longer for what an accelerator is just doing.
STOP_ACCELERATOR_S = 5.0


class Daemon:
    """One camera, one network, one publisher.

    ``reload_config`` is called at SIGHUP and gives the new configuration or raises ``ConfigError``.
    """

    def __init__(self, config: Config, reload_config: Callable[[], Config]) -> None:
        self._config = config
        self._reload_config = reload_config
        self._notifier = service.Notifier()
        self._wake = threading.Event()
        self._stop_signal = ""
        self._reload_wanted = False
        self._ready = False
        self._started = time.monotonic()
        self._progress = health.Progress()
        self._rate = health.Rate()
        self._silence = health.Silence()
        self._silent_s = 0.0
        self._told: tuple[str, str, str] = ("", "", "")
        self._watched_at = time.monotonic()
        self._achieved = True
        #: What loops that a reload replaced had counted.
        self._before: Counter[str] = Counter()
        self._fatal: GnetsegError | None = None

    # -- the whole life ---------------------------------------------------------------------------

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or the end of the video; the process's exit code.

        Raises ``GnetsegError`` when it cannot start; after READY nothing but a stop ends it.
        """
        config = self._config
        limit_s = config.camera.stall_timeout_s + GRACE_S
        if 0 < self._notifier.watchdog_s <= limit_s:
            log.warning(
                "the unit's WatchdogSec is %g s: with camera.stall_timeout_s = %g it must be over %g",
                self._notifier.watchdog_s, config.camera.stall_timeout_s, limit_s,
            )  # fmt: skip
        self._publisher = Publisher(config.camera.name)
        try:
            bundle = load_bundle(config.model.bundle)
            self._publisher.open(config.publish)
            self._build(bundle)
            self._handle_signals()
            self._camera.start()
            self._pipeline.start()
            return self._loop()
        finally:
            self._shut_down()

    def _build(self, bundle: ModelBundle, sequence: int = 0) -> None:
        self._bundle = bundle
        self._pool = Pool(bundle.input, bundle.mask.size_bytes, DEPTH_MAX_FRAMES, ROOM)
        self._mailbox = Mailbox()
        self._camera = self._make_camera(sequence, 0)
        self._pipeline = self._make_pipeline(0)

    def _make_camera(self, sequence: int, dropped: int) -> CameraLoop:
        return CameraLoop(
            self._config.camera, self._pool, self._mailbox, lambda: not self._ready, self._wake.set,
            sequence, dropped,
        )  # fmt: skip

    def _make_pipeline(self, losses: int) -> Pipeline:
        section, bundle = self._config.accelerator, self._bundle
        self._silence = health.Silence(
            getattr(options, "answer_timeout_s", 0.0) for options in in_use(section).options.values()
        )

        kind = find("gnetsegd.accelerators", section.driver)
        made: Accelerator = kind.from_options(bundle, section.driver, section.options)
        return Pipeline(
            made, self._pool, self._mailbox, self._publisher, section.backoff_max_s,
            lambda: not self._ready, self._wake.set, losses,
        )  # fmt: skip

    def _handle_signals(self) -> None:
        # The handlers run in the main thread, wherever that is: they may take no lock, so they leave
        # a note and the next tick reads it.
        def stop(number: int, _: Any) -> None:
            self._stop_signal = signal.Signals(number).name

        def reload(_: int, __: Any) -> None:
            self._reload_wanted = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, reload)

    def _loop(self) -> int:
        status_due = 0.0
        while True:
            self._wake.wait(TICK_S)
            self._wake.clear()
            if self._stop_signal:
                log.info("%s: stopping", self._stop_signal)
                return 0
            for fatal in (self._camera.fatal, self._pipeline.fatal, self._fatal):
                if fatal is not None:
                    raise fatal
            if self._reload_wanted:
                self._reload_wanted = False
                self._reload()
            self._publisher.poll_subscriptions()
            self._camera.check()
            self._sleep_or_wake()
            if not self._ready and self._pipeline.results:
                self._become_ready()
            now = time.monotonic()
            # Not only for each status, which may be far apart: it has to see when a frame is under way.
            self._silent_s = self._silence.lasts(self._pipeline, now)
            if now >= status_due:
                status_due = now + self._config.publish.status_interval_s
                self._send_info_and_status()
            if self._progress.made(self._camera, self._pipeline):
                self._achieved = True
                self._notifier.watchdog()
            if self._camera.state == "ended" and self._drained():
                log.info("%s: done", self._camera.reason)
                return 0

    def _become_ready(self) -> None:
        self._ready = True
        log.info(
            "ready: %s with %s on %s, publishing on %s",
            self._config.camera.driver, self._bundle.id, self._pipeline.info and self._pipeline.info.backend,
            ", ".join(self._publisher.bound_endpoints()),
        )  # fmt: skip
        self._notifier.ready("ready")

    def _drained(self) -> bool:
        return not self._mailbox and self._pipeline.in_flight == 0

    def _shut_down(self) -> None:
        """Stop the camera, let what is in flight come out, say goodbye; inside 2 s."""
        self._notifier.stopping()
        if hasattr(self, "_pipeline"):
            self._camera.stop(STOP_CAMERA_S)
            deadline = time.monotonic() + STOP_DRAIN_S
            while self._pipeline.state == "running" and not self._drained() and time.monotonic() < deadline:
                time.sleep(0.005)
            self._pipeline.stop(STOP_ROAD_S)
            self._send_status("stopping", self._stop_signal or self._camera.reason)
        self._publisher.close()

    # -- what is said -----------------------------------------------------------------------------

    def _send_info_and_status(self) -> None:
        fps = self._rate.update(self._publisher.masks)
        state, reason = health.state(self._camera, self._pipeline, self._ready, self._silent_s)
        info = self._info_body()
        if info is not None:
            self._publisher.send_info(info)
        self._send_status(state, reason)
        backend = self._pipeline.info.backend if self._pipeline.info else ""
        words = (
            f"{state}: {reason}" if reason else f"{state}: {fps:.1f} masks/s from {backend or 'nothing yet'}"
        )
        if self._ready:
            self._notifier.status(words)
        elif self._achieved:
            # More time only for what gets on: a camera that hangs as it opens gets none.
            self._achieved = False
            self._notifier.still_starting(words, EXTEND_S)
        if (state, reason, backend) != self._told:
            self._told = (state, reason, backend)
            log.info(
                "%s%s%s", state, f" on {backend}" if backend else "", f": {reason}" if reason else "",
                extra={"GNETSEGD_STATE": state, "GNETSEGD_BACKEND": backend, "GNETSEGD_REASON": reason},
            )  # fmt: skip

    def _info_body(self) -> dict[str, Any] | None:
        model, camera = self._pipeline.info, self._camera.info
        if model is None or camera is None:
            return None
        mask, bundle, geometry = model.mask, self._bundle, camera.geometry
        return {
            "schema": INFO_SCHEMA,
            "version": __version__,
            "camera": self._config.camera.name,
            "session": self._publisher.session,
            "backend": model.backend,
            "model": {
                "id": bundle.id,
                "sha256": bundle.sha256.hex(),
                "title": bundle.title,
                "licence": bundle.licence,
            },
            "labels": list(model.labels),
            "input": {
                "width": model.input.width,
                "height": model.input.height,
                "pixel_format": model.input.pixel_format,
            },
            "mask": {"width": mask.width, "height": mask.height, "bits": mask.bits, "stride": mask.stride},
            "geometry": dataclasses.asdict(geometry),
            "fps_nominal": camera.fps,
            "monotonic_to_wall_offset_ns": time.time_ns() - time.monotonic_ns(),
        }

    def _send_status(self, state: str, reason: str) -> None:
        camera, pipeline = self._camera, self._pipeline
        model = pipeline.info
        self._publisher.send_status(
            {
                "schema": STATUS_SCHEMA,
                "camera": self._config.camera.name,
                "session": self._publisher.session,
                "state": state,
                "reason": reason,
                "backend": model.backend if model else "",
                "fallback": model.fallback if model else False,
                "fps": round(self._rate.fps, 2),
                "subscribers": self._publisher.watched,
                "uptime_s": round(time.monotonic() - self._started, 3),
                "timestamp_ns": time.monotonic_ns(),
                "counters": {
                    "frames": self._before["frames"] + camera.frames,
                    "masks": self._publisher.masks,
                    "dropped_camera": camera.dropped,
                    "dropped_daemon": self._mailbox.displaced + pipeline.losses,
                    "losses": pipeline.losses,
                    "camera_reopens": self._before["camera_reopens"] + camera.reopens,
                    "accelerator_reopens": self._before["accelerator_reopens"] + pipeline.reopens,
                },
                "camera_device": {
                    "driver": self._config.camera.driver,
                    "description": camera.info.description if camera.info else "",
                    "fps": camera.info.fps if camera.info else 0.0,
                },
                "accelerator": pipeline.accelerator.describe(),
            }
        )

    # -- changes while it runs --------------------------------------------------------------------

    def _sleep_or_wake(self) -> None:
        idle, now = self._config.idle, time.monotonic()
        if self._publisher.watched or not idle.sleep or not self._ready:
            self._watched_at = now
        awake = now - self._watched_at <= idle.linger_s if idle.sleep else True
        if awake != self._camera.awake:
            log.info("camera: %s", "waking up" if awake else "going to sleep, nobody is subscribed")
            self._camera.set_awake(awake)

    def _reload(self) -> None:
        """Take over a changed configuration; a bad one changes nothing."""
        self._notifier.reloading()
        try:
            self._apply(self._reload_config())
        except GnetsegError as error:
            log.error("reload: %s; the running configuration stays", error)
        else:
            log.info("reload: done")
        finally:
            if self._ready:
                self._notifier.ready("reloaded")

    def _apply(self, new: Config) -> None:
        old = self._config
        bundle = load_bundle(new.model.bundle)
        if new.camera.name != old.camera.name:
            raise GnetsegError("camera.name is part of the topics and changes only with a restart")
        self._check_rebind(new, old)
        new_slots = (bundle.input, bundle.mask) != (self._bundle.input, self._bundle.mask)
        new_camera = in_use(new.camera) != in_use(old.camera) or new_slots
        new_network = (
            in_use(new.accelerator) != in_use(old.accelerator)
            or bundle.sha256 != self._bundle.sha256
            or new_slots
        )
        awake = self._camera.awake
        if new_camera:
            # Longer than one capture may take, so that the device is free for the new one.
            self._camera.stop(min(old.camera.stall_timeout_s, STOP_ACCELERATOR_S) + STOP_CAMERA_S)
        if new_network and not self._pipeline.stop(STOP_ACCELERATOR_S):
            # There is no way back from here, and none forward: systemd starts a fresh process.
            self._fatal = TransientError("reload: the accelerator does not let go of its frames; restarting")
            return
        self._config, self._bundle = new, bundle
        service.set_level(new.log.level)
        self._publisher.set_frames(new.publish.frames)
        sequence, dropped = self._camera.next_sequence, self._camera.dropped
        losses = self._pipeline.losses
        if new_slots:
            self._mailbox.steal()  # counted as displaced: no mask of the old size will come of it
            displaced = self._mailbox.displaced
            self._pool = Pool(bundle.input, bundle.mask.size_bytes, DEPTH_MAX_FRAMES, ROOM)
            self._mailbox = Mailbox()
            self._mailbox.displaced = displaced
        if new_camera:
            self._before["frames"] += self._camera.frames
            self._before["camera_reopens"] += self._camera.reopens
            self._camera = self._make_camera(sequence, dropped)
            self._camera.set_awake(awake)
            self._camera.start()
        if new_network:
            self._before["accelerator_reopens"] += self._pipeline.reopens
            self._pipeline = self._make_pipeline(losses)
            self._pipeline.start()

    @staticmethod
    def _check_rebind(new: Config, old: Config) -> None:
        same = attrs.evolve(
            old.publish, frames=new.publish.frames, status_interval_s=new.publish.status_interval_s
        )
        if same != new.publish:
            raise GnetsegError("publish: endpoints, modes and keys change only with a restart")


def in_use(section: Any) -> Any:
    """A section without the options of drivers that are not in use."""
    group = attrs.fields_dict(type(section))["options"].metadata["table"]
    used = {section.driver, *getattr(find(group, section.driver), "uses", ())}
    return attrs.evolve(section, options={name: section.options[name] for name in used})


def run(path: Path | None, settings: tuple[str, ...]) -> int:
    """Load the configuration and run the daemon with it; the process's exit code."""
    config = load_config(path, settings)
    service.set_up_logging(config.log.level)
    return Daemon(config, lambda: load_config(path, settings)).run()

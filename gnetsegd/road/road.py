"""The whole road: camera loop, pool, mailbox, pipeline, and the counters that outlive a change of its parts.

The daemon, the tests and the benches use this one. It knows nothing of configuration files or of systemd.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from ..accelerators import Accelerator
from ..accelerators.watch import limit_s
from ..cameras import Camera
from ..config import CameraConfig
from ..errors import TransientError
from ..frame import FrameSpec
from .camera_loop import CameraLoop
from .mailbox import Mailbox, Pool
from .pipeline import Pipeline
from .publisher import Publisher

#: Frames that any accelerator may keep in flight: sizes the pool.
DEPTH_MAX_FRAMES = 4
#: A change of parts may wait so long for what an accelerator, or a camera's close, is just doing, in s.
CHANGE_LIMIT_S = 5.0
#: How often is looked whether the last frames have come out, in s.
DRAIN_LOOK_S = 0.005


class Source(NamedTuple):
    """Where frames come from."""

    config: CameraConfig
    make_camera: Callable[[], Camera]
    #: How wide pictures for people are wanted, in pixels; 0 where they are switched off.
    picture_width: int = 0


class Network(NamedTuple):
    """What makes masks of them: ``input`` is the picture that it takes, ``mask_bytes`` its largest answer."""

    accelerator: Accelerator
    input: FrameSpec
    mask_bytes: int
    backoff_max_s: float


class Road:
    """One camera, one accelerator, one publisher.

    ``may_fail_hard`` says whether a permanent error still ends the process; ``wake`` is called when whoever
    watches the road should look at once. Parts may be changed by one thread while others read them.
    """

    def __init__(
        self,
        source: Source,
        network: Network,
        publisher: Publisher,
        may_fail_hard: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self.publisher = publisher
        self._may_fail_hard = may_fail_hard
        self._wake = wake
        self._source = source
        self._network = network
        #: What parts that were replaced had counted.
        self._before: Counter[str] = Counter()
        self._lost_before: Counter[str] = Counter()
        #: Held while parts are exchanged, so that nothing is counted twice or not at all.
        self._changing = threading.Lock()
        self._wanted = True
        #: As ``set_awake`` was called last.
        self.awake = True
        self.mailbox = Mailbox()
        self.pool = self._make_pool()
        self.camera = self._make_camera(0, 0)
        self.pipeline = self._make_pipeline(0)

    @property
    def parts(self) -> tuple[Source, Network]:
        """What it is made of just now."""
        return self._source, self._network

    # -- its parts --------------------------------------------------------------------------------

    def _make_pool(self) -> Pool:
        network = self._network
        return Pool(network.input, network.mask_bytes, DEPTH_MAX_FRAMES, network.accelerator.room)

    def _make_camera(self, sequence: int, dropped: int) -> CameraLoop:
        source = self._source
        made = CameraLoop(
            source.config, source.make_camera, self.pool, self.mailbox, self._may_fail_hard, self._wake,
            sequence, dropped, self.publisher.images, source.picture_width,
        )  # fmt: skip
        made.set_awake(self.awake)
        return made

    def _make_pipeline(self, losses: int) -> Pipeline:
        network = self._network
        made = Pipeline(
            network.accelerator, self.pool, self.mailbox, self.publisher, network.backoff_max_s,
            self._may_fail_hard, self._wake, losses,
        )  # fmt: skip
        made.set_wanted(self._wanted)
        return made

    def change(self, source: Source | None, network: Network | None) -> None:
        """Take other parts for these; None keeps one. The numbers and the counters go on.

        A network whose pictures or masks have another size needs new slots, so the camera begins anew, too.
        ``TransientError`` where an old part does not let go: there is no way back from there.
        """
        new_slots = network is not None and (
            (network.input, network.mask_bytes, network.accelerator.room)
            != (self._network.input, self._network.mask_bytes, self._network.accelerator.room)
        )
        new_camera = source is not None or new_slots
        camera_s = self._source.config.stall_timeout_s + CHANGE_LIMIT_S
        if new_camera and not self.camera.stop(camera_s):
            raise TransientError("the camera does not let go of its thread; restarting")
        # One answer, or the giving up of what gives none, may be under way.
        pipeline_s = limit_s(self._network.accelerator.answer_limit_s) + CHANGE_LIMIT_S
        if network is not None and not self.pipeline.stop(pipeline_s):
            raise TransientError("the accelerator does not let go of its frames; restarting")
        camera, pipeline = self.camera, self.pipeline
        with self._changing:
            self._source, self._network = source or self._source, network or self._network
            if new_slots:
                self.mailbox.steal()  # counted as displaced: no mask of the old size will come of it
                displaced = self.mailbox.displaced
                self.pool, self.mailbox = self._make_pool(), Mailbox()
                self.mailbox.displaced = displaced
            if new_camera:
                self._before["frames"] += camera.frames
                self._before["camera_reopens"] += camera.reopens
                self._lost_before += camera.lost()
                self.camera = self._make_camera(camera.next_sequence, camera.dropped)
            if network is not None:
                self._before["accelerator_reopens"] += pipeline.reopens
                self.pipeline = self._make_pipeline(pipeline.losses)
        if new_camera:
            self.camera.start()
        if network is not None:
            self.pipeline.start()

    # -- its life ---------------------------------------------------------------------------------

    def start(self) -> None:
        self.camera.start()
        self.pipeline.start()

    def set_wanted(self, wanted: bool) -> None:
        """Does anybody want masks? If not, the network rests."""
        with self._changing:
            self._wanted = wanted
            self.pipeline.set_wanted(wanted)

    def set_awake(self, awake: bool) -> None:
        """Let the camera sleep, or wake it."""
        with self._changing:
            self.awake = awake
            self.camera.set_awake(awake)

    def blocked(self, now: float) -> str:
        """The call into a camera or an accelerator that has outlasted its limit; empty if none has."""
        return self.camera.blocked(now) or self.pipeline.blocked(now)

    @property
    def drained(self) -> bool:
        """Nothing is on its way any more."""
        pipeline = self.pipeline
        return pipeline.resting or (not self.mailbox and pipeline.in_flight == 0)

    def stop(self, camera_s: float, drain_s: float, pipeline_s: float) -> bool:
        """Stop the camera, let what is on its way come out, stop the rest; False if something hangs."""
        ended = self.camera.stop(camera_s)
        deadline = time.monotonic() + drain_s
        while self.pipeline.state == "running" and not self.drained and time.monotonic() < deadline:
            time.sleep(DRAIN_LOOK_S)
        ended &= self.pipeline.stop(pipeline_s)
        self.mailbox.steal()  # counted as displaced: it will get no mask
        return ended

    def lost(self) -> dict[str, int]:
        """How many pictures the camera lost, by kind."""
        return dict(self._lost_before + self.camera.lost())

    def counters(self) -> dict[str, int]:
        """As docs/messages.md lists them."""
        with self._changing:
            camera, pipeline, before = self.camera, self.pipeline, self._before
            return {
                "frames": before["frames"] + camera.frames,
                "masks": self.publisher.masks,
                "dropped_camera": camera.dropped,
                "dropped_daemon": self.mailbox.displaced + pipeline.losses,
                "losses": pipeline.losses,
                "camera_reopens": before["camera_reopens"] + camera.reopens,
                "accelerator_reopens": before["accelerator_reopens"] + pipeline.reopens,
            }

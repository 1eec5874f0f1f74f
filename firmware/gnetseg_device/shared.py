"""What a port and its two bulk endpoints have in common: one lock, and everything that it guards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .bus import Bus, Chip
from .defects import Defects
from .engine import Engine
from .faults import Injector
from .jobs import FrameJob
from .transfer import Cancel, Reason, TransferError

if TYPE_CHECKING:
    from gnetseg_device.jobs import Job

FOREVER = float("inf")
#: A "slow" device takes so many times as long.
SLOW_FACTOR = 10.0


class Shared:
    """The state of one device on its port. Every method is called under ``changed``.

    Attributes
    ----------
    changed : the lock, and the bell that is rung when anything happens
    defects : what a broken device does with all of it
    halted : addresses of the bulk endpoints that STALL
    round : counts what ends everything under way: ABORT, HELLO, resets, unplugging
    attachment : counts the times it was plugged in
    working : whether a thread of its own runs the networks
    unplug : pulls the cable; (seconds until it is back or None, whether elsewhere)
    """

    def __init__(self, engine: Engine, bus: Bus, chip: Chip, faults: Injector) -> None:
        self.engine = engine
        self.bus = bus
        self.chip = chip
        self.faults = faults
        self.defects = Defects(faults, engine)
        self.changed = threading.Condition()
        self.halted: set[int] = set()
        self.round = 0
        self.attachment = 1
        self.plugged = True
        self.working = False
        self.unplug: Callable[[float | None, bool], None] = lambda _after, _elsewhere: None

    def offer(self) -> None:
        """Before the engine is asked anything: what it offers now."""
        self.engine.limits = self.defects.offered()

    def check(self, attachment: int, cancel: Cancel | None = None) -> None:
        """Raises NO_DEVICE after the attachment is gone, CANCELLED if that was asked for."""
        if attachment != self.attachment or not self.plugged:
            raise TransferError(Reason.NO_DEVICE)
        if cancel and cancel.wanted:
            raise TransferError(Reason.CANCELLED)

    def wait(self, deadline: float) -> bool:
        """For the bell, until ``deadline``; False if it did not ring."""
        left = deadline - time.monotonic()
        return left > 0 and self.changed.wait(None if left == FOREVER else left)

    def sleep(self, attachment: int, cancel: Cancel | None, deadline: float) -> None:
        """Until ``deadline`` or the next round; raises like ``check``."""
        before = self.round
        while self.round == before:
            self.check(attachment, cancel)
            if not self.wait(deadline):
                return

    def compute_one(self) -> bool:
        """Run the next job, if there is one; the lock is given up while the network computes."""
        had_answer = self.engine.answer() is not None
        job = self.engine.take_job()
        if job is None:
            # A request that was refused when its turn came has its answer now: nothing else tells of it.
            if not had_answer and self.engine.answer() is not None:
                self.changed.notify_all()
            return False
        self.changed.release()
        try:
            job.run()
        finally:
            self.changed.acquire()
        self.engine.finish(job)
        self._pace(job)
        self.changed.notify_all()
        return True

    def _pace(self, job: Job) -> None:
        """From now on the request's tag is when the emulated chip has its answer."""
        if isinstance(job, FrameJob) and not job.request.aborted:
            factor = SLOW_FACTOR if self.faults.draw("compute") else 1.0
            job.request.tag = self.chip.reserve(job.request.tag, factor)

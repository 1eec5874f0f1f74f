"""The road from the mailbox through the accelerator to the publisher.

Two threads: OUT takes the newest frame and submits it; IN collects answers, publishes them and
brings the slots back. IN also opens the accelerator, and reopens it with back-off when it is lost, or
when it takes frames and gives no masks. While nobody wants masks, both rest.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ..accelerators import Accelerator
from ..accelerators.watch import MaskWatch, limit_s
from ..errors import TransientError
from ..frame import Frame, Loss, Mask, ModelInfo
from .mailbox import Mailbox, Pool
from .publisher import Publisher
from .supervisor import BEAT_S, REST_BEAT_S, Supervised

log = logging.getLogger(__name__)

#: Without a sign of life for so long a call into the accelerator is taken for blocked, in s.
OPEN_LIMIT_S = 30.0
COLLECT_LIMIT_S = 5.0
CLOSE_LIMIT_S = 5.0


class NoMasks(TransientError):
    """The accelerator takes frames and gives no masks."""


class _Out:
    """The OUT thread of one opened accelerator."""

    def __init__(self, accelerator: Accelerator, mailbox: Mailbox, wanted: bool) -> None:
        self.submitted = 0
        self.error: Exception | None = None
        #: The frame at which ``submit`` raised.
        self.refused: Frame | None = None
        self._accelerator = accelerator
        self._mailbox = mailbox
        #: Plain, as it is asked for each frame; whoever changes it calls ``stir``.
        self.wanted = wanted
        #: Waits for masks to be wanted, and holds no frame.
        self.parked = False
        self._stirred = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="out", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; where a call of it does not return, neither does this, which ``blocked`` tells."""
        self._stop = True
        self.stir()
        self._thread.join()

    def stir(self) -> None:
        """Wake it from its rest, to look whether that is over."""
        self._stirred.set()

    def _run(self) -> None:
        accelerator, mailbox = self._accelerator, self._mailbox
        frame: Frame | None = None
        try:
            while not self._stop:
                if not self.wanted:
                    self._park()
                    continue
                # First the permission, then the frame: so the frame is the newest there is.
                if not accelerator.wait_for_credit(BEAT_S):
                    continue
                frame = mailbox.take(BEAT_S)
                if frame is not None:
                    self.submitted += 1
                    accelerator.submit(frame)
        except Exception as error:  # handed to IN, which closes the accelerator
            self.refused = frame
            self.error = error

    def _park(self) -> None:
        self.parked = True
        while not (self.wanted or self._stop):
            self._stirred.wait(REST_BEAT_S)
            self._stirred.clear()
        self.parked = False


class Pipeline(Supervised):
    """OUT and IN; IN is the supervised thread, its states are opening, running and lost.

    Beside those of ``Supervised``, written by IN alone: ``info`` (of the last mask), ``results``,
    ``losses``, ``no_masks`` (frames go in and for some time no mask has come out).
    """

    def __init__(
        self,
        accelerator: Accelerator,
        pool: Pool,
        mailbox: Mailbox,
        publisher: Publisher,
        backoff_max_s: float,
        may_fail_hard: Callable[[], bool],
        wake: Callable[[], None],
        losses: int = 0,
    ) -> None:
        super().__init__(log, "accelerator", backoff_max_s, may_fail_hard, wake, "in")
        self.accelerator = accelerator
        self._pool = pool
        self._mailbox = mailbox
        self._publisher = publisher
        self.info: ModelInfo | None = None
        self.results = 0
        self.losses = losses
        self.no_masks = False
        self._opens = False
        self._out: _Out | None = None
        #: Results and losses before this session.
        self._returned = 0
        self._answered = 0
        self._watch = MaskWatch(time.monotonic())
        self._wanted = threading.Event()
        self._wanted.set()

    def set_wanted(self, wanted: bool) -> None:
        """Compute masks, or rest: then frames wait in the mailbox, the newest only."""
        with self._telling:
            if self.stopping:
                return
            if wanted:
                self._wanted.set()
            else:
                self._wanted.clear()
        out = self._out
        if out is not None and out.wanted != wanted:
            out.wanted = wanted
            out.stir()

    @property
    def resting(self) -> bool:
        """Nobody wants masks, and none is under way."""
        out = self._out
        return not self._wanted.is_set() and (out is None or (out.parked and self.in_flight == 0))

    def stop(self, timeout_s: float) -> bool:
        with self._telling:
            self.stopping = True
            self._wanted.set()  # whoever rests sees the stop
        if self._opens:
            self.accelerator.interrupt()  # it may take long
        return super().stop(timeout_s)

    @property
    def in_flight(self) -> int:
        """Frames submitted and not yet returned."""
        out = self._out
        return out.submitted - (self.results + self.losses - self._returned) if out is not None else 0

    def describe(self) -> dict[str, Any]:
        """The accelerator's own words, as JSON can say them; a driver of others may fail here."""
        try:
            words = self.accelerator.describe()
            json.dumps(words, allow_nan=False)
            return dict(words)
        except Exception as error:
            return {"error": f"describe() failed: {type(error).__name__}"}

    def signs_of_life(self) -> int:
        # An answer is one: so none has to be counted twice.
        return self.beats + self.results + self.losses + self.accelerator.signs_of_life()

    def _session(self) -> None:
        """One opened accelerator, until it fails or the road stops."""
        accelerator = self.accelerator
        out = _Out(accelerator, self._mailbox, self._wanted.is_set())
        first = self.results
        # At the end of opening one answer may be waited for.
        self._enter("opening the accelerator", OPEN_LIMIT_S + accelerator.answer_limit_s)
        try:
            try:
                self._opens = True
                self.info = accelerator.open()
            except Exception:
                self.no_masks = False  # it is not there, or does not even begin: that is another matter
                raise
            finally:
                self._opens = False
            self._returned = self.results + self.losses
            self._watch = MaskWatch(time.monotonic())
            self._out = out
            out.wanted = self._wanted.is_set()  # it may have changed before there was somebody to tell
            out.start()
            self._enter_collect()
            self.state, self.reason = "running", ""
            self._wake()
            self._collect(accelerator, out)
        except Exception:
            if self.results != self._answered:
                self._answered, self._served_until = self.results, time.monotonic()
            if out.submitted and self.results == first:
                self.no_masks = True
            raise
        finally:
            self._enter("closing the accelerator", CLOSE_LIMIT_S)
            if self._out is out:
                out.stop()
                self._out = None
            left = accelerator.close()
            if out.refused is not None and not any(frame is out.refused for frame in left):
                left.append(out.refused)
            for frame in left:
                self._lose(frame)

    def _collect(self, accelerator: Accelerator, out: _Out) -> None:
        pool, publish = self._pool, self._publisher.publish
        serving = False
        while not self.stopping:
            if out.error is not None:
                raise out.error
            result = accelerator.collect(BEAT_S)
            if isinstance(result, Mask):
                self.info = result.info
                try:
                    publish(result, self.losses)
                except BaseException:
                    self._lose(result.frame)
                    raise
                self.results += 1
                pool.give(result.frame)
                if not serving:
                    serving = True
                    self._serving("running")
                if self.no_masks:
                    self.no_masks = False
                continue
            self.beats += 1
            if result is not None:
                log.debug("frame %d is lost: %s", result.frame.sequence, result.reason)
                self._lose(result.frame)
            self._judge(accelerator, result)
            if self.resting:
                self._enter("resting", REST_BEAT_S + BEAT_S + COLLECT_LIMIT_S)
                self._wanted.wait(REST_BEAT_S)
                self._watch.look(self.results, False, 0, time.monotonic())
                accelerator.rested()
                self._enter_collect()

    def _enter_collect(self) -> None:
        answer_s = limit_s(self.accelerator.answer_limit_s)
        self._enter("a call for the accelerator's answer", BEAT_S + max(COLLECT_LIMIT_S, answer_s))

    def _judge(self, accelerator: Accelerator, loss: Loss | None) -> None:
        """After an answer that is no mask: is it given up?"""
        now = time.monotonic()
        if self.results != self._answered:
            self._answered, self._served_until = self.results, now
        watch, answer_limit_s = self._watch, accelerator.answer_limit_s
        watch.look(self.results, loss is not None, self.in_flight, now)
        if watch.lasts_s > limit_s(answer_limit_s) / 2 and (loss is not None or self.in_flight):
            self.no_masks = True
        if watch.is_over(answer_limit_s):
            why = f" (the last frame was lost: {loss.reason})" if loss is not None else ""
            raise NoMasks(
                f"the accelerator takes frames and has given no mask for {watch.lasts_s:.1f} s{why}; "
                f"{accelerator.advice}"
            )

    def _lose(self, frame: Frame) -> None:
        self.losses += 1
        self._pool.give(frame)

"""``auto``: the USB accelerator when it is there, the stand-in when it is not.

An accelerator made of two. The stand-in is loaded from the beginning, so that it takes over with
the next frame; the USB accelerator is looked for by a thread of its own, which opens it wholly
(model on board, one picture answered) before the road changes over. Every mask says which of the
two made it; the change is logged. On a machine that never had a USB accelerator the stand-in stands in for
nothing, and no mask says so.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import attrs

from ..config import option
from ..errors import AbsentError, GnetsegError
from ..flag import Flag
from ..frame import Frame, Loss, Mask, ModelInfo
from ..model import ModelBundle
from ..quiet import Quiet
from ..text import clean
from . import Accelerator
from .standin import StandinAccelerator, StandinOptions
from .usb import UsbAccelerator, UsbOptions, usb_finder
from .watch import GIVEN_UP_ANSWERS, MaskWatch, limit_s

log = logging.getLogger(__name__)

#: One that served for less than this is trusted half as much at each loss: it is left alone twice as long, up
#: to so long again. A stick that flaps costs a few changes a minute at first, and then one.
LASTING_S = 60.0
LEFT_ALONE_MAX_S = 60.0
#: One that is plugged in and cannot be opened is tried again after pauses that double, up to this, in s. One
#: that is plugged in anew is tried at once.
RETRY_MAX_S = 10.0
#: How long ``open`` waits for the preferred one, in s, before the stand-in serves meanwhile.
FIRST_WAIT_S = 1.5


@attrs.frozen
class AutoOptions:
    """``[accelerator.auto]``"""

    search_interval_s: float = option(
        0.5,
        "how often is looked whether a USB accelerator was plugged in",
        unit="s",
        minimum=0.05,
        maximum=60,
    )


class AutoAccelerator(Accelerator):
    """``preferred`` while it works, else ``fallback``; both are accelerators."""

    Options: ClassVar[type[Any]] = AutoOptions
    #: The tables ``[accelerator.usb]`` and ``[accelerator.standin]`` hold here, too.
    uses = ("usb", "standin")
    falls_back = True
    room = UsbAccelerator.room

    def __init__(self, preferred: Accelerator, fallback: Accelerator, options: AutoOptions) -> None:
        self._preferred = preferred
        self._fallback = fallback
        self._options = options
        self.wanted_device = preferred.wanted_device
        # Where each frame in flight went, oldest first: answers must come back in this order.
        self._order: deque[Accelerator] = deque()
        self._sent = Flag()
        # What frames are submitted to; OUT holds the lock while it submits, a change takes it.
        self._current = fallback
        self._waited_for = fallback
        self._switching = threading.Lock()
        self._fallback_info: ModelInfo | None = None
        self._lost: deque[Frame] = deque()
        self._masks = 0
        self._watch = MaskWatch(time.monotonic())
        #: Why the stand-in serves in place of one that was there; empty if there was none.
        self._reason = ""
        self._changes = 0
        self._served_from = 0.0
        self._left_alone_s = 0.0
        self._quiet = Quiet()
        self._stop = threading.Event()
        #: The first attempt to open the preferred one is over.
        self._tried = threading.Event()
        self._preferred_info: ModelInfo | None = None
        #: Frames may have gone to the stand-in since ``open``.
        self._begun = False
        self._search: threading.Thread | None = None

    @classmethod
    def from_options(
        cls, bundle: ModelBundle, driver: str, options: dict[str, Any], fallback: ModelBundle | None = None
    ) -> AutoAccelerator:
        """USB before stand-in, from the tables ``usb``, ``standin`` and ``auto``.

        ``fallback`` is the stand-in's network, if another: of the same input, mask and labels.
        """
        usb: UsbOptions = options["usb"]
        standin: StandinOptions = options["standin"]
        return cls(
            UsbAccelerator(bundle, usb), StandinAccelerator(fallback or bundle, standin), options[driver]
        )

    @classmethod
    def alone(cls, bundle: ModelBundle, options: dict[str, Any]) -> Accelerator:
        return StandinAccelerator(bundle, options["standin"])

    @classmethod
    def finder(cls, driver: str, options: dict[str, Any]) -> Callable[[], bool]:
        del driver
        return usb_finder(options["usb"])

    def succeed(self, former: Accelerator) -> None:
        """Also why the one that is wanted still is missed."""
        super().succeed(former)
        if isinstance(former, AutoAccelerator) and former.wanted_device == self.wanted_device:
            self._reason = former._reason

    @classmethod
    def prepare(cls, bundle: ModelBundle, driver: str, options: dict[str, Any]) -> None:
        StandinAccelerator.prepare(bundle, driver, options)

    @classmethod
    def prove(cls, bundle: ModelBundle, driver: str, options: dict[str, Any]) -> None:
        StandinAccelerator.prove(bundle, driver, options)

    def signs_of_life(self) -> int:
        return self._preferred.signs_of_life() + self._fallback.signs_of_life()

    def attachments(self) -> frozenset[tuple[int, int]]:
        return self._preferred.attachments()

    def open(self) -> ModelInfo:
        """Open the stand-in, and the USB accelerator if it is there; errors are the stand-in's."""
        self.close()
        self._stop.clear()
        self._fallback_info = self._fallback.open()
        # The preferred one is judged here, by its own limit. Whoever judges both must grant the other one
        # its time after that, or it would give up both at once.
        both_s = limit_s(self._preferred.answer_limit_s) + limit_s(self._fallback.answer_limit_s)
        self.answer_limit_s = both_s / GIVEN_UP_ANSWERS
        self._current = self._fallback
        self._tried.clear()
        self._begun = False
        self._search_again(0.0)
        # A device that first takes the model may need seconds: until then the stand-in serves.
        self._tried.wait(FIRST_WAIT_S)
        with self._switching:
            self._begun = True
            if self._current is self._preferred and self._preferred_info is not None:
                return self._preferred_info
            return self._serving_info()

    def _serving_info(self) -> ModelInfo:
        assert self._fallback_info is not None, "open() comes first"
        return self._fallback_info

    # -- the way of a frame -----------------------------------------------------------------------

    def wait_for_credit(self, timeout_s: float) -> bool:
        self._waited_for = self._current
        return self._waited_for.wait_for_credit(timeout_s)

    def submit(self, frame: Frame) -> None:
        with self._switching:
            current = self._current
            self._order.append(current)
            if current is not self._waited_for:
                # It changed since the wait. Nothing is in flight there, so this room is taken at once.
                current.wait_for_credit(0)
            current.submit(frame)
            self._sent.set()

    def collect(self, timeout_s: float) -> Mask | Loss | None:
        if self._lost:
            return Loss(self._lost.popleft(), self._reason)
        while not self._order:
            if not self._sent.wait(timeout_s):
                self.rested()
                return None
        source = self._order[0]
        try:
            result = source.collect(timeout_s)
        except Exception as error:
            if source is self._fallback:
                raise
            foreseen = isinstance(error, GnetsegError)
            return self._change_to_fallback(str(error) if foreseen else f"{type(error).__name__}: {error}")
        if result is not None:
            self._order.popleft()
        if isinstance(result, Mask):
            self._masks += 1
            return Mask(result.frame, self._serving_info()) if source is self._fallback else result
        if source is self._preferred:
            self._judge(result)
        return result

    def rested(self) -> None:
        self._watch.look(self._masks, False, 0, time.monotonic())

    def _judge(self, result: Loss | None) -> None:
        """Give the preferred one up where frames go in and no masks come out: the next call changes over."""
        watch = self._watch
        watch.look(self._masks, result is not None, len(self._order), time.monotonic())
        if watch.is_over(self._preferred.answer_limit_s):
            why = f" (the last frame was lost: {result.reason})" if result is not None else ""
            lost = self._change_to_fallback(
                f"the USB accelerator takes frames and has given no mask for {watch.lasts_s:.1f} s{why}"
            )
            if lost is not None:
                self._lost.appendleft(lost.frame)

    # -- from one to the other --------------------------------------------------------------------

    def _take_preferred(self) -> None:
        """From now on frames go there."""
        self.was_there = True
        self._reason = ""
        self._served_from = time.monotonic()
        self._watch = MaskWatch(self._served_from)
        self._current = self._preferred

    def _change_to_fallback(self, reason: str) -> Loss | None:
        with self._switching:
            self._current = self._fallback
            # Those in flight on the link are the oldest: the stand-in got none since then.
            while self._order and self._order[0] is self._preferred:
                self._order.popleft()
            self._lost.extend(self._preferred.close())
        self._changes += 1
        self._miss(reason)
        lasted = time.monotonic() - self._served_from >= LASTING_S
        interval_s = self._options.search_interval_s
        self._left_alone_s = (
            interval_s if lasted else min(LEFT_ALONE_MAX_S, max(interval_s, 2 * self._left_alone_s))
        )
        self._search_again(self._left_alone_s)
        return Loss(self._lost.popleft(), reason) if self._lost else None

    def _miss(self, reason: str) -> None:
        """The stand-in serves in place of one that is there or was: from now on each mask says so."""
        news = not self._reason
        self._reason = clean(reason, 500)
        self._flag(True)
        if news and self._quiet.may_say():
            log.warning(
                "accelerator: %s; the stand-in takes over%s", self._reason, self._quiet.left_out(),
                extra={"GNETSEGD_BACKEND": "standin", "GNETSEGD_REASON": self._reason},
            )  # fmt: skip

    def _flag(self, fallback: bool) -> None:
        info = self._serving_info()
        if info.fallback != fallback:
            self._fallback_info = dataclasses.replace(info, fallback=fallback)

    def _try_preferred(self) -> ModelInfo | None:
        """Open the preferred one; None if it is not there or cannot be used, which is then told."""
        try:
            return self._preferred.open()
        except AbsentError as error:
            if self.was_there:
                self._miss(self._reason or str(error))
            else:
                self._reason = ""
                self._flag(False)
        except GnetsegError as error:
            if not self._stop.is_set():  # else it was interrupted
                self._miss(str(error))
        except Exception as error:
            if self._quiet.may_say():
                log.exception("accelerator: unexpected error while opening it%s", self._quiet.left_out())
            self._miss(f"{type(error).__name__}: {error}")
        return None

    def _search_again(self, left_alone_s: float) -> None:
        self._search = threading.Thread(target=self._look, args=(left_alone_s,), name="search", daemon=True)
        self._search.start()

    def _look(self, left_alone_s: float) -> None:
        """Until it is found: the thread ends with the change back."""
        tried: frozenset[tuple[int, int]] | None = None
        retry_s = self._options.search_interval_s
        retry_at = 0.0
        pause_s = left_alone_s
        while not self._stop.wait(pause_s):
            pause_s = self._options.search_interval_s
            there = self._attachments()
            if there == tried and (not there or time.monotonic() < retry_at):
                continue
            # Also when the last one has gone: to be told apart is what was there from what was only refused.
            if there != tried:
                tried, retry_s = there, self._options.search_interval_s
            info = self._try_preferred()
            if info is None:
                self._tried.set()
                retry_at = time.monotonic() + retry_s
                retry_s = min(RETRY_MAX_S, 2 * retry_s)
                continue
            with self._switching:
                # IN cannot fall back before this: no frame has gone there yet.
                self._preferred_info = info
                begun = self._begun
                self._changes += begun
                self._take_preferred()
            self._tried.set()
            if begun and self._quiet.may_say():
                log.warning(
                    "accelerator: USB is back%s", self._quiet.left_out(), extra={"GNETSEGD_BACKEND": "usb"}
                )
            return

    def _attachments(self) -> frozenset[tuple[int, int]]:
        try:
            return self._preferred.attachments()
        except Exception:  # to open it will tell what is the matter
            return super().attachments()

    def describe(self) -> dict[str, Any]:
        return {
            "preferred": self._preferred.describe(),
            "fallback": self._fallback.describe(),
            "falling_back_because": self._reason,
            "changes": self._changes,
        }

    def interrupt(self) -> None:
        self._stop.set()
        self._preferred.interrupt()

    def close(self) -> list[Frame]:
        if self._search is not None:
            self.interrupt()
            self._search.join()
            self._search = None
        left = [*self._lost, *self._preferred.close(), *self._fallback.close()]
        self._lost.clear()
        self._order.clear()
        return left

"""``auto``: the USB accelerator when it is there, the stand-in when it is not.

An accelerator made of two. The stand-in is loaded from the beginning, so that it takes over with
the next frame; the USB accelerator is looked for by a thread of its own, which opens it wholly
(model on board, one picture answered) before the road changes over. Every mask says which of the
two made it; the change is logged.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections import deque
from typing import Any, ClassVar

import attrs

from ..config import option
from ..errors import GnetsegError, TransientError
from ..flag import Flag
from ..frame import Frame, Loss, Mask, ModelInfo
from ..model import ModelBundle
from . import Accelerator
from .standin import StandinAccelerator, StandinOptions
from .usb import UsbAccelerator, UsbOptions

log = logging.getLogger(__name__)


@attrs.frozen
class AutoOptions:
    """``[accelerator.auto]``"""

    search_interval_s: float = option(
        0.5,
        "how often the USB accelerator is looked for while it is missing",
        unit="s",
        minimum=0.05,
        maximum=60,
    )


class AutoAccelerator(Accelerator):
    """``preferred`` while it works, else ``fallback``; both are accelerators."""

    Options: ClassVar[type[Any]] = AutoOptions
    #: The tables ``[accelerator.usb]`` and ``[accelerator.standin]`` hold here, too.
    uses = ("usb", "standin")
    room = UsbAccelerator.room

    def __init__(self, preferred: Accelerator, fallback: Accelerator, options: AutoOptions) -> None:
        self._preferred = preferred
        self._fallback = fallback
        self._options = options
        # Where each frame in flight went, oldest first: answers must come back in this order.
        self._order: deque[Accelerator] = deque()
        self._sent = Flag()
        # What frames are submitted to; OUT holds the lock while it submits, a change takes it.
        self._current = fallback
        self._waited_for = fallback
        self._switching = threading.Lock()
        self._fallback_info: ModelInfo | None = None
        self._lost: deque[Frame] = deque()
        self._reason = ""
        self._changes = 0
        self._stop = threading.Event()
        self._search: threading.Thread | None = None

    @classmethod
    def from_options(cls, bundle: ModelBundle, driver: str, options: dict[str, Any]) -> AutoAccelerator:
        """USB before stand-in, from the tables ``usb``, ``standin`` and ``auto``."""
        usb: UsbOptions = options["usb"]
        standin: StandinOptions = options["standin"]
        return cls(UsbAccelerator(bundle, usb), StandinAccelerator(bundle, standin), options[driver])

    def open(self) -> ModelInfo:
        """Open the stand-in, and the USB accelerator if it is there; errors are the stand-in's."""
        self.close()
        self._stop.clear()
        info = dataclasses.replace(self._fallback.open(), fallback=True)
        self._fallback_info = info
        self._current = self._fallback
        try:
            info = self._preferred.open()
        except GnetsegError as error:
            self._fall_back(str(error))
        else:
            self._current = self._preferred
        return info

    def wait_for_credit(self, timeout_s: float) -> bool:
        self._waited_for = self._current
        return self._waited_for.wait_for_credit(timeout_s)

    def submit(self, frame: Frame) -> None:
        with self._switching:
            current = self._current
            self._order.append(current)
            if current is not self._waited_for:
                # It changed since wait. Nothing is in flight there, so this room is taken at once.
                current.wait_for_credit(0)
            current.submit(frame)
            self._sent.set()

    def collect(self, timeout_s: float) -> Mask | Loss | None:
        if self._lost:
            return Loss(self._lost.popleft(), self._reason)
        while not self._order:
            if not self._sent.wait(timeout_s):
                return None
        source = self._order[0]
        try:
            result = source.collect(timeout_s)
        except TransientError as error:
            if source is self._fallback:
                raise
            return self._change_to_fallback(str(error))
        if result is None:
            return None
        self._order.popleft()
        if source is self._fallback and isinstance(result, Mask):
            assert self._fallback_info is not None
            return Mask(result.frame, self._fallback_info)
        return result

    def _change_to_fallback(self, reason: str) -> Loss | None:
        with self._switching:
            self._current = self._fallback
            # Those in flight on the link are the oldest: the stand-in got none since then.
            while self._order and self._order[0] is self._preferred:
                self._order.popleft()
            self._lost.extend(self._preferred.close())
        self._fall_back(reason)
        return Loss(self._lost.popleft(), reason) if self._lost else None

    def _fall_back(self, reason: str) -> None:
        self._reason = reason
        self._changes += 1
        log.warning(
            "accelerator: %s; the stand-in takes over", reason,
            extra={"GNETSEGD_BACKEND": "standin", "GNETSEGD_REASON": reason},
        )  # fmt: skip
        self._search = threading.Thread(target=self._look, name="search", daemon=True)
        self._search.start()

    def _look(self) -> None:
        """Until it is found: the thread ends with the change back."""
        while not self._stop.wait(self._options.search_interval_s):
            try:
                self._preferred.open()
            except GnetsegError as error:
                self._reason = str(error)
                continue
            except Exception:
                log.exception("accelerator: unexpected error while looking for it")
                continue
            with self._switching:
                # IN cannot fall back before this: no frame has gone there yet.
                self._changes += 1
                self._reason = ""
                self._current = self._preferred
            log.warning("accelerator: USB is back", extra={"GNETSEGD_BACKEND": "usb"})
            return

    def describe(self) -> dict[str, Any]:
        return {
            "preferred": self._preferred.describe(),
            "fallback": self._fallback.describe(),
            "falling_back_because": self._reason,
            "changes": self._changes,
        }

    def close(self) -> list[Frame]:
        self._stop.set()
        if self._search is not None:
            self._search.join()
            self._search = None
        left = [*self._lost, *self._preferred.close(), *self._fallback.close()]
        self._lost.clear()
        self._order.clear()
        return left

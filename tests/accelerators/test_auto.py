"""``auto`` with two scripted accelerators and a clock of its own: when it falls back, and when it tells."""

from __future__ import annotations

import dataclasses
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gnetsegd import quiet
from gnetsegd.accelerators import auto as module
from gnetsegd.accelerators import watch
from gnetsegd.accelerators.auto import AutoAccelerator, AutoOptions
from gnetsegd.errors import AbsentError, TransientError
from gnetsegd.frame import Frame, Loss, Mask, ModelInfo
from gnetsegd.road.mailbox import Mailbox, Pool
from gnetsegd.road.pipeline import Pipeline

from ..road.fakes import MASK, SPEC, EchoAccelerator, wait_until

HERE = frozenset({(1, 4)})
NOWHERE: frozenset[tuple[int, int]] = frozenset()
ABSENT = AbsentError("no USB accelerator 1209:0001 is plugged in")


class Clock:
    """Seconds that pass only while somebody waits, as the search's event does."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.until = 0.0
        #: (when, what is done then).
        self.events: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self.now

    def set(self) -> None:
        """The search is always over when anybody closes: it runs in the test's own thread."""

    def clear(self) -> None:
        """It begins again with each opening."""

    def is_set(self) -> bool:
        return False

    def wait(self, timeout_s: float) -> bool:
        self.now += timeout_s
        while self.events and self.events[0][0] <= self.now:
            self.events.pop(0)[1]()
        return self.now > self.until


class Scripted(EchoAccelerator):
    """One whose presence, greeting and answers the test decides; ``asked`` are the times of its ``open``."""

    answer_limit_s = 0.1

    def __init__(self, backend: str, clock: Clock) -> None:
        super().__init__(depth=4)
        self.info = dataclasses.replace(self.info, backend=backend)
        self.clock = clock
        self.attached = HERE
        self.refusal: Exception | None = None
        #: What each frame gets: a mask, a loss, nothing, or an exception.
        self.gives: Any = "mask"
        self.asked: list[float] = []

    def attachments(self) -> frozenset[tuple[int, int]]:
        return self.attached

    def open(self) -> ModelInfo:
        self.asked.append(self.clock.now)
        if self.attached == NOWHERE and self.refusal is None:
            raise ABSENT
        if self.refusal is not None:
            raise self.refusal
        return super().open()

    def collect(self, timeout_s: float) -> Mask | Loss | None:
        if self.gives == "nothing":
            self.clock.now += timeout_s
            return None
        if isinstance(self.gives, Exception):
            raise self.gives
        result = super().collect(0)
        if result is not None and self.gives == "loss":
            return Loss(result.frame, "the device says no")
        return result

    def unplug(self) -> None:
        self.attached, self.gives = NOWHERE, TransientError("the device is gone; plug it in again")

    def plug(self, address: int = 5) -> None:
        self.attached, self.gives, self.refusal = frozenset({(1, address)}), "mask", None


class Pair:
    """An ``auto`` of two scripted ones, and what a road does with it."""

    def __init__(self, clock: Clock, pauses: list[float], wanted_device: object = None) -> None:
        self.clock = clock
        self.usb, self.standin = Scripted("usb", clock), Scripted("standin", clock)
        self.usb.wanted_device = wanted_device
        self.auto = AutoAccelerator(self.usb, self.standin, AutoOptions())
        self.auto._stop = clock  # type: ignore[assignment]
        self._pauses = pauses
        self._number = 0

    @property
    def reason(self) -> str:
        return str(self.auto.describe()["falling_back_because"])

    def search(self, for_s: float) -> None:
        """Let the search go on for so long, or until it has found the device."""
        self.clock.until = self.clock.now + for_s
        self.auto._look(self._pauses[-1])

    def submit(self) -> Frame:
        assert self.auto.wait_for_credit(0)
        frame = Frame(SPEC, MASK.size_bytes)
        frame.sequence = self._number
        self._number += 1
        self.auto.submit(frame)
        return frame

    def answer(self) -> Any:
        return self.auto.collect(0.25)

    def mask(self) -> ModelInfo:
        """What a frame's mask says of itself."""
        self.submit()
        answer = self.answer()
        assert isinstance(answer, Mask)
        return answer.info

    def lose_the_device(self) -> None:
        self.usb.unplug()
        frame = self.submit()
        answer = self.answer()
        assert isinstance(answer, Loss)
        assert answer.frame is frame


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Pair:
    clock, pauses = Clock(), [0.0]
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(quiet.Quiet.__init__, "__defaults__", (6, 400.0, clock.monotonic))

    def search_again(self: AutoAccelerator, pause_s: float) -> None:
        pauses.append(pause_s)
        if pause_s == 0.0:  # an opening, which waits for the first attempt
            clock.until = clock.now
            self._look(0.0)
            pauses[-1] = 0.5

    monkeypatch.setattr(AutoAccelerator, "_search_again", search_again)
    made = Pair(clock, pauses)
    made.pauses = pauses  # type: ignore[attr-defined]
    return made


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "gnetsegd")
    return lambda: [record.getMessage() for record in caplog.records]


# -- when it says that it falls back


def test_on_a_machine_that_never_had_one_there_is_no_flag_no_reason_no_line_and_it_is_not_opened_again(
    pair: Pair, lines: Callable[[], list[str]]
) -> None:
    pair.usb.attached = NOWHERE
    assert pair.auto.open() == pair.standin.info
    pair.search(3600)
    info = pair.mask()
    assert (info.backend, info.fallback, pair.reason) == ("standin", False, "")
    assert lines() == []
    assert len(pair.usb.asked) <= 2, "to look for one costs next to nothing"


@pytest.mark.parametrize(("wanted", "missed"), [("1209:0001", True), ("1209:0002", False)])
def test_after_a_reload_one_that_was_lost_is_lost_still_and_another_one_never_was(
    pair: Pair, wanted: str, missed: bool
) -> None:
    before = Pair(pair.clock, pair._pauses, ("1209:0001", ""))
    before.auto.open()
    assert before.mask().backend == "usb"
    before.lose_the_device()
    after = Pair(pair.clock, pair._pauses, (wanted, ""))
    after.usb.attached = NOWHERE
    after.auto.succeed(before.auto)
    assert bool(after.reason) is missed
    after.auto.open()
    assert after.mask().fallback is missed
    assert ("the device is gone" in after.reason) is missed


@pytest.mark.parametrize("was_there", [True, False])
def test_one_that_was_lost_under_a_driver_of_its_own_is_missed_after_a_reload_to_auto(
    pair: Pair, was_there: bool
) -> None:
    alone = Scripted("usb", pair.clock)
    alone.wanted_device, alone.was_there = ("1209:0001", ""), was_there
    after = Pair(pair.clock, pair._pauses, ("1209:0001", ""))
    after.usb.attached = NOWHERE
    after.auto.succeed(alone)
    after.auto.open()
    assert after.mask().fallback is was_there
    assert bool(after.reason) is was_there


def test_one_that_is_there_and_cannot_be_used_is_flagged_with_its_reason_and_logged_once(
    pair: Pair, lines: Callable[[], list[str]]
) -> None:
    pair.usb.refusal = TransientError("USB accelerator 7: it has no room for this model")
    assert pair.auto.open().fallback
    pair.search(3600)
    info = pair.mask()
    assert (info.backend, info.fallback) == ("standin", True)
    assert pair.reason == "USB accelerator 7: it has no room for this model"
    assert lines() == [f"accelerator: {pair.reason}; the stand-in takes over"]
    # At its slowest every 10 s, for an hour.
    assert 300 < len(pair.usb.asked) < 380


def test_one_that_was_there_and_is_gone_is_flagged_also_after_the_road_opened_it_all_again(
    pair: Pair,
) -> None:
    assert pair.auto.open().backend == "usb"
    assert not pair.mask().fallback
    pair.lose_the_device()
    assert pair.mask().fallback
    assert "the device is gone" in pair.reason
    pair.search(60)
    assert pair.mask().fallback
    pair.auto.close()
    assert pair.auto.open().fallback
    assert pair.mask().fallback
    assert "the device is gone" in pair.reason
    pair.usb.plug()
    pair.search(60)
    info = pair.mask()
    assert (info.backend, info.fallback, pair.reason) == ("usb", False, "")


def test_one_that_was_only_refused_and_is_unplugged_leaves_no_flag_behind(pair: Pair) -> None:
    pair.usb.refusal = TransientError("not this firmware")
    assert pair.auto.open().fallback
    pair.usb.refusal, pair.usb.attached = None, NOWHERE
    pair.search(2)
    assert (pair.mask().fallback, pair.reason) == (False, "")
    pair.usb.plug()
    pair.usb.refusal = TransientError("nor this one")
    pair.search(2)
    assert (pair.mask().fallback, pair.reason) == (True, "nor this one")
    pair.usb.refusal, pair.usb.attached = None, NOWHERE
    pair.search(2)
    assert (pair.mask().fallback, pair.reason) == (False, "")


def test_one_that_is_named_by_its_serial_number_is_missed_though_it_never_was_there(pair: Pair) -> None:
    # So says the driver: for it this is no AbsentError.
    pair.usb.attached = NOWHERE
    pair.usb.refusal = TransientError("no USB accelerator with the serial number 7 is plugged in")
    assert pair.auto.open().fallback
    pair.search(600)
    assert (pair.mask().fallback, pair.reason) == (True, str(pair.usb.refusal))


# -- how often it looks


def test_one_that_is_lost_within_a_minute_is_left_alone_for_twice_as_long_each_time_up_to_a_minute(
    pair: Pair,
) -> None:
    pair.auto.open()
    for _ in range(10):
        pair.clock.now += 59
        pair.lose_the_device()
        pair.usb.plug()
        pair.search(100)
        assert pair.mask().backend == "usb"
    pauses: list[float] = pair.pauses[2:]  # type: ignore[attr-defined]  # without that of the opening
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    pair.clock.now += 60
    pair.lose_the_device()
    assert pair.pauses[-1] == 0.5, "a minute of service makes the losses before forgotten"  # type: ignore[attr-defined]


def test_a_device_that_flaps_all_day_costs_a_few_lines(pair: Pair, lines: Callable[[], list[str]]) -> None:
    pair.auto.open()
    for address in range(30):
        pair.lose_the_device()
        pair.usb.plug(address)
        pair.search(100)
        assert pair.mask().backend == "usb"
    assert pair.auto.describe()["changes"] == 60
    # 30 flaps take 24 minutes: six lines at once, and one each 400 s.
    assert len(lines()) <= 10
    assert any(re.search(r"\(\d+ lines like this were left out\)", line) for line in lines()[6:])


def test_what_was_refused_is_tried_again_after_pauses_that_double_and_at_once_when_it_is_plugged_in_anew(
    pair: Pair,
) -> None:
    pair.usb.refusal = TransientError("it has no room for this model")
    pair.auto.open()
    pair.search(31)
    begun = pair.usb.asked[1]
    assert [when - begun for when in pair.usb.asked[1:]] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 25.5]
    before = len(pair.usb.asked)
    refusal = pair.usb.refusal
    now = pair.clock.now
    pair.clock.events = [
        (now + 1.0, lambda: setattr(pair.usb, "attached", frozenset({(1, 9)}))),
        (now + 1.5, pair.usb.unplug),
        (now + 2.0, lambda: setattr(pair.usb, "attached", frozenset({(1, 9)}))),
    ]
    pair.usb.refusal = refusal
    pair.search(2.6)
    again = [when - now for when in pair.usb.asked[before:]]
    assert {1.0, 2.0} <= set(again), "plugged in elsewhere, and plugged in again at the same place"
    assert again[-2:] == [2.0, 2.5], "and its pauses begin anew"


def test_where_nobody_can_tell_what_is_plugged_in_the_search_goes_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise() -> Any:
        raise OSError("/sys is not there")

    pair.usb.attached = NOWHERE
    pair.auto.open()
    monkeypatch.setattr(pair.usb, "attachments", surprise)
    pair.search(5)
    pair.usb.plug()
    pair.search(20)
    assert pair.mask().backend == "usb"


# -- frames that are with a device that is given up


@pytest.mark.parametrize("error", [TransientError("gone"), ValueError("a bug in the driver")])
def test_frames_in_flight_come_back_as_losses_in_order_and_exactly_once(pair: Pair, error: Exception) -> None:
    pair.auto.open()
    frames = [pair.submit() for _ in range(4)]
    first = pair.answer()
    assert isinstance(first, Mask)
    assert first.frame is frames[0]
    pair.usb.gives = error
    back = [pair.answer() for _ in range(3)]
    assert [loss.frame for loss in back] == frames[1:]
    assert all(isinstance(loss, Loss) and str(error) in loss.reason for loss in back)
    assert pair.mask().fallback
    assert pair.answer() is None
    assert pair.auto.close() == []


@pytest.mark.parametrize("gives", ["nothing", "loss"])
def test_a_device_that_answers_its_proof_only_is_given_up_within_its_limit_and_no_frame_is_lost_twice(
    pair: Pair, gives: str
) -> None:
    pair.auto.open()
    pair.mask()
    pair.usb.gives = gives
    begun = pair.clock.now
    sent, back = [], []
    while pair.auto._current is pair.usb:
        while pair.auto._current is pair.usb and pair.auto.wait_for_credit(0) and len(sent) < len(back) + 4:
            sent.append(pair.submit())
        answer = pair.answer()
        if gives == "loss":
            pair.clock.now += 0.05
        if answer is not None:
            back.append(answer)
    assert pair.clock.now - begun <= watch.limit_s(pair.usb.answer_limit_s) + 0.55
    while len(back) < len(sent):
        back.append(pair.answer())
    assert [loss.frame for loss in back] == sent
    assert all(isinstance(loss, Loss) for loss in back)
    assert "the USB accelerator takes frames and has given no mask for 2." in pair.reason
    assert (gives == "loss") == ("the last frame was lost: the device says no" in pair.reason)
    assert pair.mask().fallback


def test_a_hiccup_after_a_long_rest_is_no_reason_to_give_a_device_up(pair: Pair) -> None:
    pair.auto.open()
    pair.mask()
    pair.usb.gives = "loss"
    pair.submit()
    assert isinstance(pair.answer(), Loss)
    for _ in range(100):
        pair.clock.now += 5
        assert pair.auto.collect(0) is None
        pair.auto.rested()
    pair.clock.now += 5
    pair.auto.rested()
    for _ in range(4):
        pair.submit()
    for _ in range(4):
        assert isinstance(pair.answer(), Loss)
    pair.usb.gives = "mask"
    assert pair.mask().backend == "usb"
    assert pair.auto.describe()["changes"] == 0


# -- with its road, by the real clock


class Slot:
    """A road's publisher, as far as the pipeline knows one."""

    def __init__(self) -> None:
        self.backends: list[str] = []

    def publish(self, mask: Mask, losses: int) -> None:
        del losses
        self.backends.append(mask.info.backend)


@pytest.fixture
def real() -> Iterator[Any]:
    made = []

    def make() -> SimpleNamespace:
        usb, standin = (Scripted(name, Clock()) for name in ("usb", "standin"))
        accelerator = AutoAccelerator(usb, standin, AutoOptions(search_interval_s=30.0))
        pool, mailbox, publisher = Pool(SPEC, MASK.size_bytes, 4), Mailbox(), Slot()
        road: Any = (pool, mailbox, publisher, 0.2, lambda: False, lambda: None)
        pipeline = Pipeline(accelerator, *road)
        made.append(pipeline)
        return SimpleNamespace(
            usb=usb, auto=accelerator, pool=pool, mailbox=mailbox, publisher=publisher, pipeline=pipeline
        )

    yield make
    for pipeline in made:
        assert pipeline.stop(5)


@pytest.mark.parametrize("gives", ["nothing", "loss"])
def test_the_road_does_not_give_up_both_with_the_one_that_gives_no_masks(
    real: Any, monkeypatch: pytest.MonkeyPatch, gives: str
) -> None:
    monkeypatch.setattr(watch, "GIVEN_UP_S", 0.3)
    road = real()
    road.pipeline.start()
    road.usb.gives = gives
    monkeypatch.setattr(road.usb, "collect", _slowly(road.usb.collect))
    number = 0

    def put() -> bool:
        nonlocal number
        slot = road.pool.take() or road.mailbox.steal()
        if slot is not None:
            slot.sequence, number = number, number + 1
            displaced = road.mailbox.put(slot)
            if displaced is not None:
                road.pool.give(displaced)
        time.sleep(0.005)
        return len(road.publisher.backends) >= 20

    wait_until(put)
    assert set(road.publisher.backends) == {"standin"}
    assert road.pipeline.reopens == 0
    assert road.auto.describe()["changes"] == 1


def _slowly(collect: Any) -> Any:
    def wrapped(timeout_s: float) -> Any:
        time.sleep(0.01)
        return collect(timeout_s)

    return wrapped


def test_a_close_ends_an_opening_that_is_under_way(real: Any) -> None:
    road = real()
    road.pipeline.start()
    wait_until(lambda: road.pipeline.state == "running")
    usb, opening, interrupted = road.usb, threading.Event(), threading.Event()

    def upload() -> Any:
        opening.set()
        assert interrupted.wait(10), "nobody interrupted it"
        raise TransientError("it is being closed while it is opened")

    usb.open, usb.interrupt = upload, interrupted.set
    road.auto._options = AutoOptions(search_interval_s=0.05)
    usb.gives = TransientError("gone")
    slot = road.pool.take()
    road.mailbox.put(slot)
    assert opening.wait(10)
    assert road.pipeline.stop(5)
    assert interrupted.is_set()
    assert road.auto.describe()["falling_back_because"] == "gone", "and says nothing of its own end"

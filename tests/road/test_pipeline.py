"""The road: every frame gets its own mask, or is counted."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from gnetsegd.accelerators import watch
from gnetsegd.config import PublishConfig
from gnetsegd.errors import PermanentError, TransientError
from gnetsegd.frame import HEADROOM, Loss
from gnetsegd.message import parse_header
from gnetsegd.road import pipeline as pipeline_module
from gnetsegd.road.mailbox import Mailbox, Pool
from gnetsegd.road.pipeline import Pipeline
from gnetsegd.road.publisher import Publisher

from .fakes import MASK, SPEC, EchoAccelerator, wait_until


class Road:
    """Mailbox to subscriber, with frames put in by the test."""

    def __init__(self, endpoint: str, accelerator: EchoAccelerator, hard: bool = False) -> None:
        self.publisher = Publisher("cam0")
        self.publisher.open(PublishConfig(endpoints=[endpoint], send_hwm_messages=1000))
        self.pool = Pool(SPEC, MASK.size_bytes, 4)
        self.mailbox = Mailbox()
        self.accelerator = accelerator
        self.pipeline = Pipeline(
            accelerator, self.pool, self.mailbox, self.publisher, 0.2, lambda: hard, lambda: None
        )
        self.context = zmq.Context()
        self.reader = self.context.socket(zmq.SUB)
        self.reader.setsockopt(zmq.RCVHWM, 100_000)
        self.reader.setsockopt(zmq.SUBSCRIBE, b"mask/")
        self.reader.connect(endpoint)
        wait_until(lambda: self.publisher.poll_subscriptions() or self.publisher.watched)
        self.pipeline.start()
        wait_until(lambda: self.pipeline.state != "opening" or self.pipeline.fatal is not None)

    def put(self, sequence: int, wait: bool = True) -> None:
        slot = self.pool.take() or self.mailbox.steal()
        while slot is None:
            time.sleep(0.001)
            slot = self.pool.take() or self.mailbox.steal()
        slot.sequence = sequence
        slot.sensor_timestamp_ns = 1000 + sequence
        slot.pixels[0, :8] = list(sequence.to_bytes(8, "little"))
        displaced = self.mailbox.put(slot)
        if displaced is not None:
            self.pool.give(displaced)
        if wait:
            wait_until(lambda: not self.mailbox or self.pipeline.state != "running")

    def read(self) -> tuple[Any, int]:
        """(header, the sequence number that stands in the mask's own pixels)"""
        assert self.reader.poll(5000), "no mask came"
        message = self.reader.recv()
        return parse_header(message), int.from_bytes(message[HEADROOM : HEADROOM + 8], "little")

    def close(self) -> None:
        assert self.pipeline.stop(5)
        self.reader.close()
        self.publisher.close()
        self.context.term()


@pytest.fixture
def roads(ipc_endpoint: str) -> Iterator[Any]:
    made = []

    def make(accelerator: EchoAccelerator, **options: Any) -> Road:
        made.append(Road(ipc_endpoint, accelerator, **options))
        return made[-1]

    yield make
    for road in made:
        road.close()


def test_over_ten_thousand_frames_every_mask_has_its_own_frames_number_and_time_and_every_gap_is_counted(
    roads: Any,
) -> None:
    lost = dict.fromkeys(range(500, 10_000, 997), "the cable says so")
    road = roads(EchoAccelerator(fate=dict(lost)))
    seen: list[Any] = []
    for number in range(10_000):
        # Two in three frames meet a free mailbox, the third may displace its forerunner.
        road.put(number, wait=number % 3 != 0)
        while road.reader.poll(0):
            seen.append(road.read())
    wait_until(lambda: not road.mailbox and road.pipeline.in_flight == 0)
    while road.reader.poll(200):
        seen.append(road.read())

    assert all(header.sequence == in_pixels for header, in_pixels in seen)
    assert all(header.sensor_timestamp_ns == 1000 + header.sequence for header, _ in seen)
    headers = [header for header, _ in seen]
    for before, after in itertools.pairwise(headers):
        dropped_between = after.dropped_daemon - before.dropped_daemon
        assert after.sequence - before.sequence == 1 + dropped_between
    assert not {header.sequence for header in headers} & lost.keys()
    assert road.mailbox.displaced > 0, "the test is to see displaced frames"
    assert len(seen) + road.mailbox.displaced + road.pipeline.losses == 10_000


def test_a_lost_accelerator_is_reopened_and_its_frames_are_counted_as_losses(roads: Any) -> None:
    road = roads(EchoAccelerator(fate={2: TransientError("unplugged")}))
    for number in range(3):
        road.put(number)
    wait_until(lambda: road.accelerator.opened == 2 and road.pipeline.state == "running")
    road.put(3)
    headers = [road.read()[0] for _ in range(3)]
    assert [header.sequence for header in headers] == [0, 1, 3]
    assert headers[-1].dropped_daemon == 1
    assert road.pipeline.reopens == 1


class Refusing(EchoAccelerator):
    """Never opens."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def open(self) -> Any:
        self.opened += 1
        raise self.error


def test_while_it_is_lost_the_state_says_why(roads: Any) -> None:
    road = roads(Refusing(TransientError("no device")))
    wait_until(lambda: road.pipeline.state == "lost")
    assert road.pipeline.reason == "no device"
    wait_until(lambda: road.accelerator.opened >= 3)


@pytest.mark.parametrize("hard", [True, False])
def test_a_permanent_error_ends_the_road_only_before_it_is_ready(roads: Any, hard: bool) -> None:
    road = roads(Refusing(PermanentError("bad model")), hard=hard)
    if hard:
        wait_until(lambda: road.pipeline.fatal is not None)
    else:
        wait_until(lambda: road.accelerator.opened >= 2)
        assert road.pipeline.fatal is None


def test_an_error_that_nobody_foresaw_does_not_end_the_road(roads: Any) -> None:
    road = roads(EchoAccelerator(fate={0: RuntimeError("a bug")}))
    road.put(0)
    wait_until(lambda: road.accelerator.opened == 2 and road.pipeline.state == "running")
    road.put(1)
    assert road.read()[0].sequence == 1


class Reluctant(EchoAccelerator):
    """Takes its first frame only when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.willing = threading.Event()

    def wait_for_credit(self, timeout_s: float) -> bool:
        return self.willing.wait(timeout_s) and super().wait_for_credit(timeout_s)


def test_the_frame_that_is_submitted_is_the_newest_at_that_moment(roads: Any) -> None:
    road = roads(Reluctant())
    time.sleep(0.05)  # OUT is waiting for permission, not holding a frame
    for number in range(3):
        road.put(number, wait=False)
    road.accelerator.willing.set()
    assert road.read()[0].sequence == 2


def test_a_mask_that_cannot_be_published_is_a_loss_and_its_slot_comes_back(roads: Any) -> None:
    road = roads(EchoAccelerator(fate={0: TransientError("so that it begins anew")}))
    publish, failures = road.publisher.publish, []

    def failing(mask: Any, losses: int) -> None:
        if len(failures) < 9:  # more than there are slots
            failures.append(mask.frame.sequence)
            raise ValueError("a field does not fit")
        publish(mask, losses)

    road.publisher.publish = failing
    for number in range(10):
        road.put(number)
        # Each failure, and the first loss, opens it again.
        opened = number + 2
        wait_until(lambda n=opened: road.accelerator.opened == n and road.pipeline.state == "running")
    road.put(10)
    assert road.read()[0].sequence == 10
    assert road.pipeline.losses == 10


def test_all_slots_come_back_whatever_happens(roads: Any) -> None:
    road = roads(EchoAccelerator(fate={3: TransientError("gone"), 5: "crc", 7: "timeout"}))
    for number in range(50):
        road.put(number, wait=False)
    wait_until(lambda: not road.mailbox and road.pipeline.in_flight == 0)
    time.sleep(0.05)
    slots = []
    while (slot := road.pool.take()) is not None:
        slots.append(slot)
    assert len(set(map(id, slots))) == len(slots) == 7


class Refuser(EchoAccelerator):
    """A driver of others whose ``submit`` raises, though it must not."""

    left = 9

    def submit(self, frame: Any) -> None:
        if self.left:
            self.left -= 1
            raise ValueError("a bug")
        super().submit(frame)


def test_a_driver_that_raises_in_submit_costs_its_frame_and_no_slot(roads: Any) -> None:
    road = roads(Refuser())
    for number in range(9):  # more than there are slots
        road.put(number)
        wait_until(lambda n=number: road.pipeline.losses == n + 1 and road.pipeline.state == "running")
    road.put(9)
    assert road.read()[0].sequence == 9
    wait_until(lambda: len(road.pool) == 7)


class Mute(EchoAccelerator):
    """Opens well, and then loses or keeps every frame until it is mended."""

    advice = "mend the accelerator"
    answer_limit_s = 0.05
    words = "the device says no"

    def __init__(self, keeps: bool) -> None:
        super().__init__(depth=4)
        self.keeps = keeps
        self.mended = False

    def collect(self, timeout_s: float) -> Any:
        if self.mended:
            return super().collect(timeout_s)
        if self.keeps:
            time.sleep(0.02)
            return None
        result = super().collect(timeout_s)
        return result and Loss(result.frame, self.words)


@pytest.mark.parametrize("keeps", [True, False])
def test_an_accelerator_that_takes_frames_and_gives_no_masks_is_given_up_and_told(
    roads: Any, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    monkeypatch.setattr(watch, "GIVEN_UP_S", 0.2)
    road = roads(Mute(keeps))
    pipeline = road.pipeline
    number = 0
    while pipeline.reopens < 2:
        road.put(number, wait=False)
        number += 1
        time.sleep(0.005)
    assert pipeline.no_masks
    assert "takes frames and has given no mask for" in pipeline.reason
    assert pipeline.reason.endswith("mend the accelerator")
    assert keeps or "the device says no" in pipeline.reason
    road.accelerator.mended = True
    wait_until(lambda: pipeline.state == "running")
    while pipeline.results == 0:
        road.put(number, wait=False)
        number += 1
        time.sleep(0.005)
    wait_until(lambda: not pipeline.no_masks)


def test_losses_without_a_word_are_losses_too(roads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "GIVEN_UP_S", 0.2)
    accelerator = Mute(keeps=False)
    accelerator.words = ""
    road = roads(accelerator)
    number = 0
    while not road.pipeline.reopens:
        assert number < 2000, "it takes frames and gives no masks, and runs on"
        road.put(number, wait=False)
        number += 1
        time.sleep(0.005)
    assert road.pipeline.no_masks


def test_while_nobody_wants_masks_no_frame_is_given_to_the_network_and_then_the_newest(roads: Any) -> None:
    road = roads(EchoAccelerator())
    road.pipeline.set_wanted(False)
    wait_until(lambda: road.pipeline.resting)
    for number in range(5):
        road.put(number, wait=False)
    time.sleep(0.1)
    assert road.pipeline.results == 0
    road.pipeline.set_wanted(True)
    assert road.read()[0].sequence == 4


def test_a_road_that_rests_stops_at_once(roads: Any) -> None:
    road = roads(EchoAccelerator())
    road.pipeline.set_wanted(False)
    wait_until(lambda: road.pipeline.resting)
    begun = time.monotonic()
    assert road.pipeline.stop(4)
    assert time.monotonic() - begun < 2


class Blocked(EchoAccelerator):
    """Does not come back from ``collect`` until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.leave = threading.Event()

    def collect(self, timeout_s: float) -> Any:
        self.leave.wait(20)
        return super().collect(timeout_s)


def test_a_call_that_does_not_return_is_told_and_one_that_gets_on_is_not(
    roads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "COLLECT_LIMIT_S", 0.1)
    monkeypatch.setattr(watch, "GIVEN_UP_S", 0.1)
    road = roads(Blocked())
    road.accelerator.answer_limit_s = 0.01
    wait_until(lambda: road.pipeline.blocked(time.monotonic()))
    words = road.pipeline.blocked(time.monotonic())
    assert words.startswith("a call for the accelerator's answer has not returned for")
    road.accelerator.progress += 1
    assert road.pipeline.blocked(time.monotonic()) == "", "a sign of life"
    road.accelerator.leave.set()


def test_a_back_off_is_not_forgotten_after_one_mask(roads: Any) -> None:
    road = roads(EchoAccelerator(fate={n: TransientError("gone") for n in range(1, 100, 2)}))
    number = 0
    begun = time.monotonic()
    while time.monotonic() - begun < 1.5:
        road.put(number, wait=False)
        number += 1
        time.sleep(0.002)
    # Pauses of 0.1 and then 0.2 s, its longest; each session gives one mask at the most.
    assert road.pipeline.reopens <= 9


def test_service_that_lasted_makes_the_failures_before_forgotten(roads: Any) -> None:
    fate = {n: TransientError("gone") for n in range(4)}
    road = roads(EchoAccelerator(fate=fate))  # its longest pause is 0.2 s
    for number in range(4):
        road.put(number, wait=False)
        wait_until(lambda n=number: road.pipeline.reopens == n + 1 and road.pipeline.state == "running")
    assert road.pipeline._backoff.failures == 4
    begun = time.monotonic()
    number = 4
    while time.monotonic() - begun < 0.3:
        road.put(number)
        number += 1
        time.sleep(0.01)
    beats = road.pipeline.beats
    wait_until(lambda: road.pipeline.beats > beats + 1)  # there is nothing to do for a while
    road.accelerator.fate[number] = TransientError("gone again")
    road.put(number, wait=False)
    wait_until(lambda: road.pipeline.reopens == 5)
    assert road.pipeline._backoff.failures == 1


def test_a_hiccup_right_after_a_rest_is_no_reason_to_give_it_up(
    roads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "GIVEN_UP_S", 0.5)
    road = roads(EchoAccelerator(depth=4, fate=dict.fromkeys(range(1, 5), "the link was mended")))
    road.accelerator.answer_limit_s = 0.01
    rested = []
    monkeypatch.setattr(road.accelerator, "rested", lambda: rested.append(True))
    road.put(0)
    road.read()
    road.pipeline.set_wanted(False)
    wait_until(lambda: road.pipeline.resting)
    time.sleep(1.0)
    road.pipeline.set_wanted(True)
    for number in range(1, 6):
        road.put(number)
    assert road.read()[0].sequence == 5
    assert (road.pipeline.losses, road.pipeline.reopens, road.pipeline.no_masks) == (4, 0, False)
    assert rested, "one that judges by itself is told, too"


class Steady(EchoAccelerator):
    """Takes ``answer_s`` for each answer."""

    answer_s = answer_limit_s = 0.1

    def collect(self, timeout_s: float) -> Any:
        result = super().collect(timeout_s)
        if result is not None:
            time.sleep(self.answer_s)
        return result


def feed(road: Any, for_s: float) -> set[bool]:
    """Frames far faster than it takes them; whether it was ever said to give no masks."""
    said, number, begun = set(), 0, time.monotonic()
    while time.monotonic() - begun < for_s:
        road.put(number, wait=False)
        number += 1
        time.sleep(0.005)
        said.add(road.pipeline.no_masks)
    return said


def test_a_slow_network_that_gets_far_more_frames_than_it_can_take_is_never_said_to_give_no_masks(
    roads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "GIVEN_UP_S", 0.01)
    road = roads(Steady())
    assert feed(road, 1.0) == {False}
    assert road.pipeline.reopens == 0
    assert road.pipeline.results >= 5


def test_a_network_that_takes_far_longer_than_the_limits_for_calls_is_neither_blocked_nor_given_up(
    roads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "GIVEN_UP_S", 0.01)
    monkeypatch.setattr(pipeline_module, "COLLECT_LIMIT_S", 0.01)
    monkeypatch.setattr(pipeline_module, "BEAT_S", 0.02)
    accelerator = Steady()
    accelerator.answer_s = accelerator.answer_limit_s = 0.4
    road = roads(accelerator)
    told = []
    watcher = threading.Event()

    def ask() -> None:
        while not watcher.wait(0.01):
            told.append(road.pipeline.blocked(time.monotonic()))

    asking = threading.Thread(target=ask)
    asking.start()
    assert feed(road, 1.3) == {False}
    watcher.set()
    asking.join(5)
    assert set(told) == {""}
    assert road.pipeline.results >= 2


def test_a_driver_may_change_how_long_an_answer_may_take_while_it_serves(
    roads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "GIVEN_UP_S", 0.2)
    road = roads(Mute(keeps=True))
    road.accelerator.answer_limit_s = 1000.0
    feed(road, 0.5)
    assert road.pipeline.reopens == 0
    road.accelerator.answer_limit_s = 0.01
    wait_until(lambda: road.pipeline.reopens == 1)


class Uploading(EchoAccelerator):
    """Opens for as long as nobody interrupts it."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupted = threading.Event()

    def open(self) -> Any:
        if not self.interrupted.wait(0.05):
            return super().open()
        raise TransientError("it is being closed while it is opened")

    def interrupt(self) -> None:
        self.interrupted.set()


def test_a_stop_ends_an_opening_at_once_and_says_nothing_of_it(
    roads: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = threading.Event()

    def upload(self: Uploading) -> Any:
        opening.set()
        assert self.interrupted.wait(10), "nobody interrupted it"
        raise TransientError("it is being closed while it is opened")

    accelerator = Uploading()
    road = roads(accelerator)
    monkeypatch.setattr(Uploading, "open", upload)
    accelerator.fate[0] = TransientError("unplugged")
    road.put(0, wait=False)
    assert opening.wait(10)
    caplog.clear()
    assert road.pipeline.stop(5)
    assert not caplog.records
    assert road.pipeline.reopens == 1


def test_a_stop_that_finds_it_at_work_interrupts_nothing(roads: Any) -> None:
    accelerator = Uploading()
    road = roads(accelerator)
    wait_until(lambda: road.pipeline.state == "running")
    assert road.pipeline.stop(5)
    assert not accelerator.interrupted.is_set()


@pytest.mark.parametrize("words", [{"a": {1, 2}}, {"a": float("nan")}, ["no table"], ZeroDivisionError()])
def test_what_a_driver_says_of_itself_may_be_nonsense_and_harms_nobody(roads: Any, words: Any) -> None:
    def describe() -> Any:
        if isinstance(words, Exception):
            raise words
        return words

    road = roads(EchoAccelerator())
    assert road.pipeline.describe() == {}
    road.accelerator.describe = describe
    assert road.pipeline.describe()["error"].startswith("describe() failed: ")

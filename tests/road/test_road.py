"""The road as a whole: its parts may be changed while it runs, and numbers and counters go on."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gnetsegd.config import CameraConfig
from gnetsegd.errors import EndOfVideo, TransientError
from gnetsegd.frame import HEADROOM, FrameSpec, Mask, MaskFormat
from gnetsegd.road import road as module
from gnetsegd.road.road import Network, Road, Source

from .fakes import SPEC, EchoAccelerator, NoOptions, Published, Script, wait_until

Make = Callable[..., Road]


def source(script: Script) -> Source:
    config = CameraConfig(driver="scripted", stall_timeout_s=0.5, options={"scripted": NoOptions()})
    return Source(config, lambda: script(None))


def network(accelerator: EchoAccelerator) -> Network:
    return Network(accelerator, accelerator.info.input, accelerator.info.mask.size_bytes, 0.2)


@pytest.fixture
def start() -> Iterator[Make]:
    made = []

    def make(script: Script, accelerator: EchoAccelerator) -> Road:
        publisher: Any = Published()
        road = Road(source(script), network(accelerator), publisher, lambda: False, lambda: None)
        made.append(road)
        road.start()
        return road

    yield make
    for road in made:
        road.stop(2, 1, 8)


def camera(first: int = 0) -> Script:
    return Script(list(range(first, first + 100_000)), period_s=0.001)


def check_that_all_is_counted(road: Road) -> None:
    """After the end: the equation of docs/messages.md, and each gap between two masks."""
    counters = road.counters()
    assert counters["frames"] == counters["masks"] + counters["dropped_daemon"]
    publisher: Any = road.publisher
    for (before, camera_0, daemon_0), (after, camera_1, daemon_1) in itertools.pairwise(publisher.seen):
        assert after - before == 1 + camera_1 - camera_0 + daemon_1 - daemon_0


def masks(road: Road, count: int) -> None:
    goal = road.publisher.masks + count
    wait_until(lambda: road.publisher.masks >= goal)


def test_another_camera_goes_on_with_the_numbers_and_the_counters(start: Make) -> None:
    # One of these at least is taken, however busy the machine.
    road = start(camera(), EchoAccelerator(fate=dict.fromkeys(range(3, 13), "the cable says so")))
    masks(road, 20)
    other = camera(first=5000)
    road.change(source(other), None)
    before = road.counters()
    masks(road, 20)
    assert other.opened == 1
    assert road.counters()["frames"] > before["frames"] >= 20
    assert road.counters()["dropped_camera"] == 0, "another camera's own numbers are no gap"
    assert road.stop(2, 1, 2)
    check_that_all_is_counted(road)
    assert 1 <= road.counters()["losses"] <= 10


def test_another_network_of_the_same_size_leaves_the_camera_as_it_is(start: Make) -> None:
    script, first = camera(), EchoAccelerator(fate={5: TransientError("unplugged")})
    road = start(script, first)
    masks(road, 20)
    assert road.counters()["accelerator_reopens"] == 1
    second = EchoAccelerator()
    road.change(None, network(second))
    masks(road, 20)
    assert (script.opened, second.opened) == (1, 1)
    assert road.counters()["accelerator_reopens"] == 1
    assert road.counters()["losses"] >= 1
    assert road.stop(2, 1, 2)
    check_that_all_is_counted(road)


class Smaller(EchoAccelerator):
    """Makes masks of pictures of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        small = MaskFormat(8, 8, 8, 2)
        self.info = dataclasses.replace(self.info, input=FrameSpec(8, 8, "Y"), mask=small)

    def collect(self, timeout_s: float) -> Any:
        frame = self._queue.get() if not self._queue.empty() else None
        if frame is None:
            time.sleep(min(timeout_s, 0.002))
            return None
        self._free.release()
        frame.reply[HEADROOM : HEADROOM + 64] = frame.pixels.tobytes()
        return Mask(frame, self.info)


def test_a_network_of_another_size_gets_slots_of_its_own_and_every_gap_is_counted(start: Make) -> None:
    script = Script(*(list(range(n * 7, n * 7 + 50_000)) for n in range(3)), period_s=0.001)
    road = start(script, EchoAccelerator())
    masks(road, 20)
    pool = road.pool
    road.change(None, network(Smaller()))
    assert road.pool is not pool
    masks(road, 20)
    assert script.opened == 2
    road.change(None, network(EchoAccelerator()))
    masks(road, 20)
    assert road.pool.spec == SPEC
    assert road.stop(2, 1, 2)
    check_that_all_is_counted(road)
    assert road.counters()["camera_reopens"] == 0


class Slow(EchoAccelerator):
    """Each answer takes its time, and nothing can hurry it."""

    answer_limit_s = 1.0

    def collect(self, timeout_s: float) -> Any:
        result = super().collect(timeout_s)
        if result is not None:
            time.sleep(0.5)
        return result


def test_a_network_whose_answers_take_long_is_waited_for_when_another_one_takes_over(
    start: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHANGE_LIMIT_S", 0.05)
    road = start(camera(), Slow())
    masks(road, 1)
    road.change(None, network(EchoAccelerator()))
    masks(road, 5)


def test_a_part_that_does_not_let_go_is_told_and_nothing_is_put_beside_it(
    start: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHANGE_LIMIT_S", 0.05)
    blocked = threading.Event()
    road = start(Script([0, blocked, 1]), EchoAccelerator())
    wait_until(lambda: road.publisher.masks)
    other = camera()
    with pytest.raises(TransientError, match="the camera does not let go of its thread; restarting"):
        road.change(source(other), None)
    assert other.opened == 0
    blocked.set()


@pytest.mark.parametrize("live", [True, False])
def test_what_waits_for_the_network_at_the_stop_is_counted(start: Make, live: bool) -> None:
    road = start(Script(list(range(100_000)), period_s=0.001, live=live), EchoAccelerator())
    masks(road, 3)
    road.set_wanted(False)
    wait_until(lambda: road.pipeline.resting and road.mailbox)
    assert road.stop(2, 1, 2)
    check_that_all_is_counted(road)
    assert not road.mailbox


def test_nobody_listens_and_the_camera_sleeps_also_after_a_change(start: Make) -> None:
    script = camera()
    road = start(script, EchoAccelerator())
    masks(road, 3)
    road.set_wanted(False)
    road.set_awake(False)
    wait_until(lambda: road.camera.state == "sleeping" and road.pipeline.resting)
    other = camera()
    accelerator = EchoAccelerator()
    road.change(source(other), network(accelerator))
    wait_until(lambda: road.camera.state == "sleeping" and accelerator.opened and road.pipeline.resting)
    assert other.opened == 0
    before = road.publisher.masks
    road.set_awake(True)
    road.set_wanted(True)
    masks(road, 5)
    assert road.publisher.masks > before
    assert road.stop(2, 1, 2)
    check_that_all_is_counted(road)


def test_counters_that_are_read_in_the_middle_of_a_change_count_nothing_twice(
    start: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    road = start(camera(), EchoAccelerator())
    masks(road, 5)
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.append(road.counters()["frames"]))
    make = road._make_camera

    def slowly(*arguments: int) -> Any:
        reader.start()
        reader.join(0.1)
        return make(*arguments)

    monkeypatch.setattr(road, "_make_camera", slowly)
    old = road.camera
    road.change(source(Script([])), None)
    reader.join(5)
    assert seen == [old.frames]


def test_a_network_that_is_told_to_rest_while_it_stops_still_stops_at_once() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Held(EchoAccelerator):
        def collect(self, timeout_s: float) -> Any:
            entered.set()
            leave.wait(10)
            return super().collect(min(timeout_s, 0.01))

    publisher: Any = Published()
    road = Road(source(Script([])), network(Held()), publisher, lambda: False, lambda: None)
    road.set_wanted(False)
    road.start()
    wait_until(lambda: entered.is_set() and road.pipeline.resting)
    assert not road.pipeline.stop(0)
    # The main thread knows nothing of the stop, which a reload asked for.
    road.set_wanted(False)
    leave.set()
    road.pipeline._thread.join(3)
    assert not road.pipeline._thread.is_alive()
    assert road.camera.stop(3)


def test_a_camera_that_is_put_to_sleep_while_it_stops_still_stops_at_once() -> None:
    publisher: Any = Published()
    road = Road(source(camera()), network(EchoAccelerator()), publisher, lambda: False, lambda: None)
    road.set_awake(False)
    loop = road.camera
    wait = loop._awake.wait

    def just_then(timeout_s: float) -> bool:
        stopper = threading.Thread(target=loop.stop, args=(0,))
        stopper.start()
        stopper.join()
        road.set_awake(False)
        return wait(timeout_s)

    loop._awake.wait = just_then  # type: ignore[method-assign]
    loop.start()
    loop._thread.join(3)
    assert not loop._thread.is_alive()
    road.set_awake(True)
    assert not loop._goes_on


def test_a_film_that_ends_while_nobody_listens_is_at_its_end(start: Make) -> None:
    road = start(Script([0, 1, EndOfVideo("the clip is over")], period_s=0.02), EchoAccelerator())
    road.set_wanted(False)
    wait_until(lambda: road.camera.state == "ended")
    wait_until(lambda: road.drained)


def test_from_a_film_that_waits_for_its_taker_no_frame_is_lost_over_a_rest_and_its_end(start: Make) -> None:
    road = start(
        Script([*range(30), EndOfVideo("the clip is over")], period_s=0.005, live=False), EchoAccelerator()
    )
    masks(road, 5)
    road.set_wanted(False)
    wait_until(lambda: road.pipeline.resting)
    number = road.publisher.masks
    time.sleep(0.1)
    assert road.publisher.masks == number
    assert road.camera.state == "streaming", "it waits"
    road.set_wanted(True)
    wait_until(lambda: road.camera.state == "ended" and road.drained)
    publisher: Any = road.publisher
    assert [sequence for sequence, _, _ in publisher.seen] == list(range(30))


def test_the_parts_of_a_road_are_those_that_it_was_given(start: Make) -> None:
    road = start(camera(), EchoAccelerator())
    wanted, kept = source(camera()), road.parts[1]
    road.change(wanted, None)
    assert road.parts == (wanted, kept)

"""``auto``: from USB to the stand-in and back within a second, and nobody has to reconnect for it."""

from __future__ import annotations

import contextlib
import random
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from gnetseg_device.device import MockDevice
from gnetseg_device.faults import FAULTS
from gnetseg_device.networks import FakeNetwork

from gnetsegd.accelerators import standin, usb_patience
from gnetsegd.accelerators.auto import AutoAccelerator, AutoOptions
from gnetsegd.accelerators.runtimes import Runtime
from gnetsegd.accelerators.standin import StandinAccelerator, StandinOptions
from gnetsegd.accelerators.usb import UsbAccelerator, UsbOptions
from gnetsegd.frame import Frame, Loss
from gnetsegd.link.header import ROOM
from gnetsegd.link.model_upload import ModelRecord
from gnetsegd.road import health

from ..road.fakes import wait_until
from .conftest import MakeRoad
from .model import MODEL, driver

#: Promised is a second; what it takes is printed by tools/bench/recovery.py. Here the machine may be busy.
CHANGE_S = 3.0
Words = Callable[[], str]


@pytest.fixture(autouse=True)
def _standin_that_computes_what_the_device_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Network:
        runtime, host_s = Runtime("fake", "", None), 0.0

        def __init__(self, bundle: Any, *_: Any) -> None:
            self._real = FakeNetwork(ModelRecord.of(bundle), bundle.content)
            self._shape = (bundle.mask.height, bundle.mask.width)

        def run(self, pixels: Any, out: Any) -> None:
            self._real.run(pixels, out.reshape(self._shape))

    monkeypatch.setattr(standin, "TfliteNetwork", Network)


def auto(device: MockDevice, **options: Any) -> AutoAccelerator:
    """As the daemon makes it, with the limits that it is shipped with."""
    usb = UsbAccelerator(MODEL, UsbOptions(**options), device.backend)
    return AutoAccelerator(usb, StandinAccelerator(MODEL, StandinOptions(threads=1)), AutoOptions())


def wait_for_backend(running: Any, backend: str, since: float) -> float:
    """How long after ``since`` the first mask of ``backend`` came."""

    def found() -> Any:
        return [seen for seen in running.seen if seen.received_at > since and seen.backend == backend]

    wait_until(found)
    return float(found()[0].received_at - since)


def check_flags(running: Any) -> None:
    """Each mask says which one made it, and whether that was the wanted one."""
    for seen in running.seen:
        assert seen.fallback is (seen.backend == "standin")


def check_nothing_was_lost(running: Any) -> None:
    """Where there never was a device the stand-in stands in for nothing."""
    assert not any(seen.fallback for seen in running.seen)
    assert health.judge(running, True) == ("running", "")


def test_unplugged_and_plugged_in_it_changes_over_soon(road: MakeRoad, words: Words) -> None:
    device = MockDevice(model=MODEL)
    with road(auto(device)) as running:
        running.wait_for_masks(20)
        for number in range(2):
            assert running.seen[-1].backend == "usb"
            device.unplug()
            assert wait_for_backend(running, "standin", time.monotonic()) <= CHANGE_S
            running.wait_for_masks(20)
            device.plug(elsewhere=number == 1)
            # One that was lost again within a minute is left alone for twice as long.
            assert wait_for_backend(running, "usb", time.monotonic()) <= CHANGE_S
            running.wait_for_masks(20)
        check_flags(running)
        assert running.pipeline.reopens == 0
        assert running.accelerator.describe()["changes"] == 4
        assert running.accelerator.describe()["preferred"]["faults"]["gone"] == 2
    assert words().count("the device is gone; plug it in again; the stand-in takes over") == 2
    assert words().count("accelerator: USB is back") == 2


def test_a_device_that_hangs_is_replaced_soon_and_taken_back_when_it_answers(
    road: MakeRoad, words: Words
) -> None:
    device = MockDevice(model=MODEL)
    with road(auto(device)) as running:
        running.wait_for_masks(20)
        device.inject("mute")
        assert wait_for_backend(running, "standin", time.monotonic()) <= CHANGE_S
        running.wait_for_masks(20)
        state, reason = health.judge(running, True)
        assert state == "running"
        assert reason.startswith("on the stand-in: USB accelerator mock-0001: the device did not answer in ")
        device.clear("mute")
        assert wait_for_backend(running, "usb", time.monotonic()) <= CHANGE_S
        running.wait_for_masks(20)
        check_flags(running)
        assert health.judge(running, True) == ("running", "")
    assert "did not answer in time; looking for it again; the stand-in takes over" in words()


@pytest.mark.parametrize(
    "name",
    ["proof-only", "few-then-hang", "error-all", "lost-all", "stale-all", "mute-control", "stall-control",
     "bad-labels"],
)  # fmt: skip
def test_a_device_that_works_in_name_only_gives_way_to_the_stand_in_and_status_says_why(
    name: str, road: MakeRoad, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usb_patience, "PATIENCE_S", 0.4)
    device = MockDevice(model=MODEL)
    with road(auto(device, answer_timeout_s=0.05), live=True, period_s=0.002) as running:
        running.wait_for_masks(20)
        since = time.monotonic()
        device.inject(name)
        wait_for_backend(running, "standin", since)
        reason = str(running.accelerator.describe()["falling_back_because"])
        assert re.search(
            "did not answer|lost its place|injected fault|endpoint 0|has the label|halted|serial", reason
        )
        device.clear()
        device.unplug()
        device.plug()
        wait_for_backend(running, "usb", time.monotonic())
        check_flags(running)
    assert "the stand-in takes over" in words()


def test_a_passing_fault_is_mended_without_a_change(road: MakeRoad) -> None:
    device = MockDevice(model=MODEL)
    with road(auto(device)) as running:
        for name in ("stall-in", "wrong-sequence", "short-read", "timeout"):
            running.wait_for_masks(10)
            device.inject(name)
            wait_until(lambda name=name: device.injected[name])
            running.wait_for_new_frame(time.monotonic())
        check_flags(running)
        assert running.accelerator.describe()["changes"] == 0
        assert {seen.backend for seen in running.seen} == {"usb"}


def test_on_a_machine_without_a_device_nothing_is_a_fallback_and_one_that_comes_later_is_taken(
    road: MakeRoad,
) -> None:
    device = MockDevice(model=MODEL)
    device.unplug()
    with road(auto(device)) as running:
        running.wait_for_masks(20)
        assert {seen.backend for seen in running.seen} == {"standin"}
        check_nothing_was_lost(running)
        device.plug()
        assert wait_for_backend(running, "usb", time.monotonic()) <= CHANGE_S
        assert not any(seen.fallback for seen in running.seen)


def test_without_pyusb_the_stand_in_serves_and_status_says_what_is_missing(
    road: MakeRoad, monkeypatch: pytest.MonkeyPatch, words: Words
) -> None:
    device = MockDevice(model=MODEL)
    monkeypatch.setitem(sys.modules, "usb.core", None)
    with road(auto(device)) as running:
        running.wait_for_masks(20)
        assert {seen.backend for seen in running.seen} == {"standin"}
        check_flags(running)
        _, reason = health.judge(running, True)
        assert "needs pyusb; install gnetsegd[usb] or python3-usb" in reason
    assert "needs pyusb" in words()


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.place != "compute"])
def test_a_device_that_comes_with_a_fault_never_gives_a_wrong_mask(name: str, road: MakeRoad) -> None:
    device = MockDevice(model=MODEL, seed=3)
    device.inject(name)
    with road(auto(device, answer_timeout_s=0.05, payload_crc=name == "bad-payload-crc")) as running:
        running.wait_for_masks(50)
        device.clear()
        wait_for_backend(running, "usb", time.monotonic())
        running.wait_for_masks(20)
        check_flags(running)


def test_a_device_that_comes_and_goes_at_any_moment_leaves_no_frame_behind(road: MakeRoad) -> None:
    device = MockDevice(model=MODEL, seed=4)
    draw = random.Random(4)
    usb = driver(device, answer_timeout_s=0.02)
    accelerator = AutoAccelerator(
        usb, StandinAccelerator(MODEL, StandinOptions(threads=1)), AutoOptions(search_interval_s=0.05)
    )
    names = [name for name, fault in FAULTS.items() if not fault.lasting and "unplug" not in name]
    with road(accelerator, live=True, period_s=0.0002) as running:
        for _ in range(60):
            device.inject(draw.choice(names), after=draw.randrange(4))
            running.wait_for_masks(draw.randrange(1, 30))
            if draw.random() < 0.4:
                device.unplug(draw.choice((0.0, 0.01, 0.06)), elsewhere=draw.random() < 0.5)
        device.clear()
        wait_for_backend(running, "usb", time.monotonic())
        check_flags(running)
        assert {seen.backend for seen in running.seen} == {"usb", "standin"}


# -- ends and beginnings that meet


class Held:
    """Stops the calling thread inside a method, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, target: Any, name: str) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()
        self._real = getattr(target, name)
        monkeypatch.setattr(target, name, self._call)

    def _call(self, *arguments: Any) -> Any:
        self.entered.set()
        assert self.leave.wait(10)
        return self._real(*arguments)


def searching(device: MockDevice) -> AutoAccelerator:
    """Opened without a device, so that it looks for one."""
    device.unplug()
    accelerator = AutoAccelerator(
        driver(device),
        StandinAccelerator(MODEL, StandinOptions(threads=1)),
        AutoOptions(search_interval_s=0.05),
    )
    assert accelerator.open().backend == "standin"
    device.plug()
    return accelerator


def close_in_thread(accelerator: Any) -> tuple[threading.Thread, list[Frame]]:
    left: list[Frame] = []
    thread = threading.Thread(target=lambda: left.extend(accelerator.close()))
    thread.start()
    return thread, left


@pytest.mark.parametrize("step", ["_find", "_greet"])
def test_closed_while_it_opens_a_device_it_found_it_lets_the_device_go(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = MockDevice(model=MODEL)
    accelerator = searching(device)
    held = Held(monkeypatch, accelerator._preferred, step)
    assert held.entered.wait(10)
    thread, _ = close_in_thread(accelerator)
    held.leave.set()
    thread.join(10)
    assert not thread.is_alive()
    assert not device.host.claims
    assert accelerator._search is None
    # And it can be opened again.
    assert accelerator.open().backend == "usb"
    accelerator.close()


def test_frames_of_both_are_answered_in_the_order_of_their_submission(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = MockDevice(model=MODEL)
    accelerator = searching(device)
    held = Held(monkeypatch, accelerator._preferred, "_greet")
    frames = [Frame(MODEL.input, MODEL.mask.size_bytes, ROOM) for _ in range(5)]
    # One is with the stand-in when the device comes; the device answers its two at once.
    assert accelerator.wait_for_credit(1.0)
    accelerator.submit(frames[0])
    held.leave.set()
    wait_until(lambda: accelerator._current is accelerator._preferred)
    for frame in frames[1:3]:
        assert accelerator.wait_for_credit(1.0)
        accelerator.submit(frame)
    back = [accelerator.collect(1.0) for _ in range(2)]
    assert [(mask.frame, mask.info.backend) for mask in back] == [(frames[0], "standin"), (frames[1], "usb")]
    # It goes while it has one; permission was given for it, and the next goes to the stand-in.
    assert accelerator.wait_for_credit(1.0)
    device.unplug()
    lost = accelerator.collect(1.0)
    assert isinstance(lost, Loss)
    assert lost.frame is frames[2]
    accelerator.submit(frames[3])
    mask = accelerator.collect(1.0)
    assert (mask.frame, mask.info.backend, mask.info.fallback) == (frames[3], "standin", True)
    assert accelerator.wait_for_credit(1.0)
    accelerator.submit(frames[4])
    assert accelerator.close() == [frames[4]]


def test_an_error_that_nobody_thought_of_does_not_end_the_search(
    monkeypatch: pytest.MonkeyPatch, words: Words
) -> None:
    device = MockDevice(model=MODEL)
    accelerator = searching(device)
    failures = iter([RuntimeError("a surprise"), OSError("another")])
    real = accelerator._preferred._find

    def surprise() -> Any:
        for failure in failures:
            raise failure
        return real()

    monkeypatch.setattr(accelerator._preferred, "_find", surprise)
    wait_until(lambda: accelerator._current is accelerator._preferred)
    assert "a surprise" in words()
    accelerator.close()


@pytest.mark.parametrize("name", ["unplug-out", "unplug-in", "mute", "stall-out", "timeout-out", "timeout"])
def test_a_stop_in_the_middle_of_a_recovery_ends_in_time_and_brings_every_slot_back(
    name: str, road: MakeRoad
) -> None:
    device = MockDevice(model=MODEL)
    for number in range(3):
        device.inject(name, after=2 * number)
        with contextlib.ExitStack() as stack:
            stack.enter_context(road(auto(device, answer_timeout_s=0.1), live=True, period_s=0.0002))
            wait_until(lambda: device.injected[name])
            begun = time.monotonic()
        assert time.monotonic() - begun < 3.0
        device.clear()
        device.injected.clear()
        device.plug()
        assert not device.host.claims


def test_after_many_openings_and_closings_no_thread_and_no_claim_is_left() -> None:
    device = MockDevice(model=MODEL)
    before = threading.active_count()
    accelerator = AutoAccelerator(
        driver(device),
        StandinAccelerator(MODEL, StandinOptions(threads=1)),
        AutoOptions(search_interval_s=0.05),
    )
    for number in range(200):
        (device.plug, device.unplug)[number % 3 == 0]()
        accelerator.open()
        if number % 5 == 0:
            device.unplug()
            device.plug()
        if number % 2:
            accelerator.close()
    accelerator.close()
    assert threading.active_count() == before
    assert not device.host.claims

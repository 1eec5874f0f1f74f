"""Every fault of the table on the whole road: no wrong, stale or duplicated mask, and back in 2 s.

What a mask must be is checked by ``gnetsegd.testing.road``, for each one, in every test here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from gnetseg_device.device import MockDevice
from gnetseg_device.faults import DEFECT
from gnetseg_device.faults import FAULTS as ALL

from ..road.fakes import wait_until
from .conftest import MakeRoad
from .model import MODEL, driver, recovers, wait_for_fault

#: What a cable and a hub do, and a device now and then. What a broken device does all the time is not here.
FAULTS = {name: fault for name, fault in ALL.items() if fault.place != DEFECT}


@dataclass(frozen=True)
class Outcome:
    """What the host must have counted (one of ``kinds``, none if empty) and said."""

    kinds: tuple[str, ...]
    words: str
    #: Where it is mended: in place ("link"), by opening again ("open"), or nothing is to mend ("").
    mended: str = "link"


GONE = Outcome(("gone",), "the device is gone; plug it in again", "open")
SEQUENCE = Outcome(("sequence", "timeout"), "out of turn|did not answer in time")
OUTCOMES = {
    "unplug-idle": GONE,
    "unplug-out": GONE,
    "unplug-in": GONE,
    "unplug-upload": GONE,
    "replug": GONE,
    "replug-elsewhere": GONE,
    "reboot-lost-model": GONE,
    "stall-out": Outcome(("stall",), "the device halted an endpoint"),
    "stall-in": Outcome(("stall",), "the device halted an endpoint"),
    "timeout": Outcome(("timeout",), "did not answer in time"),
    "timeout-out": Outcome(("timeout",), "did not answer in time"),
    "short-read": Outcome(("short",), "bytes came, not a whole mask"),
    "short-write": Outcome(("short",), "the device took 512 of 1568 bytes"),
    "zero-length-packet": Outcome(("protocol",), "0 bytes are no header"),
    "garbage-header": Outcome(("protocol",), "the header's magic is"),
    "bad-header-crc": Outcome(("protocol",), "the header's magic is|the header's CRC is wrong"),
    "bad-payload-crc": Outcome(("crc",), "the CRC of a mask is wrong"),
    "wrong-sequence": SEQUENCE,
    "duplicate-sequence": SEQUENCE,
    "missing-sequence": SEQUENCE,
    "reordered-sequence": SEQUENCE,
    "stale-epoch": SEQUENCE,
    "over-cap-length": Outcome(("format",), "was not agreed on"),
    "mask-size": Outcome(("format",), "was not agreed on"),
    "error-reply": Outcome(("error",), "NETWORK_FAILED: an injected fault", ""),
    "no-memory": Outcome(("memory",), "raise usbcore.usbfs_memory_mb"),
    "older-minor": Outcome((), "", ""),
    "other-major": Outcome(
        ("incompatible",), "speaks version 2.0 of the link, this host 1.1; update", "open"
    ),
    "not-ours": Outcome(("incompatible",), "has the same USB ids; unplug it or configure other ids", "open"),
    "no-credit": Outcome(("no-credit",), "the device grants no frame slots; wait, or restart it", "open"),
    "mute": Outcome(("timeout",), "did not answer in time", "open"),
    "slow": Outcome((), "", ""),
    "permission": Outcome(("permission",), "may not open the device; install the udev rule", "open"),
    "busy": Outcome(("busy",), "another program uses the device; stop it, or name another", "open"),
    "full-speed": Outcome((), "linked at only 12 Mbit/s; try another cable, port or hub", ""),
}
TRANSIENT = [name for name, fault in FAULTS.items() if not fault.lasting]
#: A lasting fault that is there while frames flow; any other is seen when the device is opened.
WHILE_RUNNING = ("mute", "slow")
AT_OPENING = [name for name, fault in FAULTS.items() if fault.lasting and name not in WHILE_RUNNING]
REFUSED = [name for name in AT_OPENING if OUTCOMES[name].mended]

Words = Callable[[], str]


def test_each_fault_of_the_table_has_an_outcome() -> None:
    assert set(OUTCOMES) == set(FAULTS)
    assert set(TRANSIENT) | set(AT_OPENING) | set(WHILE_RUNNING) == set(FAULTS)


def check_told(name: str, running: Any, said: str) -> None:
    outcome = OUTCOMES[name]
    told = running.accelerator.describe()
    counted = sum(told["faults"].get(kind, 0) for kind in outcome.kinds)
    assert counted >= 1 if outcome.kinds else told["faults"] == {}, told
    assert any(words in said for words in outcome.words.split("|")), said
    if outcome.mended == "link":
        assert told["recoveries"] >= 1
        assert running.pipeline.reopens == 0
    elif outcome.mended == "open":
        assert running.pipeline.reopens >= 1
    else:
        assert (told["recoveries"], running.pipeline.reopens) == (0, 0)


@pytest.mark.parametrize("name", TRANSIENT)
def test_a_passing_fault_costs_only_frames(name: str, road: MakeRoad, words: Words) -> None:
    has_model = name != "unplug-upload"
    device = MockDevice(model=MODEL if has_model else None, seed=1)
    if not has_model:
        device.inject(name)
    with road(driver(device, payload_crc=name == "bad-payload-crc")) as running:
        if has_model:
            running.wait_for_masks(20)
            if FAULTS[name].place == "idle":
                running.source.gate.clear()
                wait_until(lambda: not running.mailbox and running.pipeline.in_flight == 0)
            device.inject(name, after=0 if FAULTS[name].place == "idle" else 3)
            running.source.gate.set()
        recovers(running, wait_for_fault(device, name))
        running.wait_for_masks(20)
        check_told(name, running, words())
        assert (running.pipeline.losses > 0) == has_model
    assert device.store.active is not None
    if name == "stale-epoch":
        assert running.accelerator.describe()["stale"] >= 1
    if name in ("reboot-lost-model", "unplug-upload"):
        assert "uploading model" in words()


@pytest.mark.parametrize("name", [n for n in TRANSIENT if "plug" not in n and n != "reboot-lost-model"])
def test_a_fault_that_comes_again_at_once_is_outlasted(name: str, road: MakeRoad) -> None:
    device = MockDevice(model=MODEL, seed=2)
    with road(driver(device, answer_timeout_s=0.05, payload_crc=name == "bad-payload-crc")) as running:
        running.wait_for_masks(5)
        device.inject(name, count=4)
        running.source.gate.set()
        recovers(running, wait_for_fault(device, name, 4))


@pytest.mark.parametrize("name", [n for n in TRANSIENT if FAULTS[n].place in ("in", "out", "answer")])
def test_a_fault_in_the_middle_of_an_upload_costs_a_second_at_most(name: str, road: MakeRoad) -> None:
    device = MockDevice(seed=6)
    # BEGIN is answered, the first MODEL_CHUNK meets the fault (one that spoils masks waits for those).
    device.inject(name, after=1)
    with road(driver(device, payload_crc=name == "bad-payload-crc")) as running:
        recovers(running, wait_for_fault(device, name))
    assert device.store.active is not None
    assert device.store.active.content == MODEL.content


@pytest.mark.parametrize("name", AT_OPENING)
def test_a_condition_at_opening_is_said_and_looked_at_again(name: str, road: MakeRoad, words: Words) -> None:
    device = MockDevice(model=MODEL)
    device.inject(name)
    with road(driver(device)) as running:
        if name in REFUSED:
            wait_until(lambda: running.pipeline.reopens >= 2)
            # No mask, and status says why.
            assert running.pipeline.state == "lost"
            assert OUTCOMES[name].words in running.pipeline.reason
            assert running.reader.masks == 0
        else:
            running.wait_for_masks(20)
        check_told(name, running, words())
        device.clear(name)
        recovers(running, time.monotonic())
        if name == "full-speed":
            assert running.accelerator.describe()["speed"] == "12 Mbit/s"


def test_a_mute_device_is_never_taken_for_a_working_one(road: MakeRoad, words: Words) -> None:
    device = MockDevice(model=MODEL)
    with road(driver(device)) as running:
        running.wait_for_masks(20)
        device.inject("mute")
        wait_until(lambda: running.pipeline.reopens >= 2)
        wait_until(lambda: running.pipeline.state == "lost")
        assert OUTCOMES["mute"].words in running.pipeline.reason
        check_told("mute", running, words())
        device.clear("mute")
        recovers(running, time.monotonic())


def test_a_device_ten_times_slower_gives_fewer_masks_and_each_the_right_one(road: MakeRoad) -> None:
    device = MockDevice(model=MODEL)
    with road(driver(device, answer_timeout_s=1.0)) as running:
        running.wait_for_masks(20)
        device.inject("slow")
        running.wait_for_masks(6)
        device.clear("slow")
        recovers(running, time.monotonic())
        check_told("slow", running, "")


def test_a_device_slower_than_the_time_limit_never_gives_a_late_mask(road: MakeRoad) -> None:
    device = MockDevice(model=MODEL)
    with road(driver(device, answer_timeout_s=0.03)) as running:
        running.wait_for_masks(20)
        device.inject("slow")
        wait_until(lambda: running.pipeline.reopens >= 2)
        device.clear("slow")
        recovers(running, time.monotonic())

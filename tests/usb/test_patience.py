"""A mended link that gives no mask is a failure in a row; a row that lasts too long ends with a sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from gnetseg_device.device import MockDevice

from gnetsegd.accelerators import usb_patience
from gnetsegd.accelerators.usb import UsbAccelerator
from gnetsegd.accelerators.usb_patience import STABLE_MASKS, Patience
from gnetsegd.errors import TransientError
from gnetsegd.frame import Frame, Loss, Mask
from gnetsegd.link.header import ROOM

from .model import MODEL, driver

MENDED = "though its link was mended each time"
#: Broken devices that no mending helps, with the number that each takes, and what is said of them.
GIVEN_UP = [
    ("proof-only", None, MENDED),
    ("few-then-hang", 1, MENDED),
    ("few-then-hang", 5, MENDED),
    ("lost-all", None, MENDED),
    ("stale-all", None, MENDED),
    ("error-all", None, r"NETWORK_FAILED.*it refused \d+ frames"),
]


class Clock:
    """In the place of ``time`` in the module."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(usb_patience, "time", clock)
    return clock


def fail(patience: Patience, clock: Clock, every_s: float, masks: int, count: int, **options: Any) -> bool:
    """``count`` failures, each after ``masks`` masks and ``every_s``; whether it is over now."""
    for _ in range(count):
        clock.now += every_s
        patience.failed(masks, refused_only=options.get("refused_only", False))
        if patience.is_over:
            return True
        patience.serves()
    return False


@pytest.mark.parametrize("masks", [0, 1, 5, STABLE_MASKS - 1])
def test_a_row_of_failures_is_over_after_the_limit_however_few_masks_lie_between(
    masks: int, clock: Clock
) -> None:
    patience = Patience(0.3)
    assert patience.limit_s == 2.0
    begun = clock.now
    assert fail(patience, clock, 0.3, masks, 100)
    assert clock.now - begun <= patience.limit_s


@pytest.mark.parametrize("answer_limit_s", [0.05, 0.3, 2.0, 30.0])
def test_the_limit_holds_with_the_waits_at_both_ends(answer_limit_s: float, clock: Clock) -> None:
    patience = Patience(answer_limit_s)
    assert patience.limit_s == max(2.0, 3 * answer_limit_s)
    begun = clock.now
    assert fail(patience, clock, answer_limit_s, 0, 1000)
    assert clock.now - begun <= patience.limit_s + 1e-6


def test_a_stretch_of_masks_ends_the_row(clock: Clock) -> None:
    patience = Patience(0.3)
    for _ in range(100):
        assert not fail(patience, clock, 0.3, 0, 4)
        assert not fail(patience, clock, 0.3, STABLE_MASKS, 1)


def test_so_do_few_masks_if_they_came_for_as_long_as_the_limit(clock: Clock) -> None:
    patience = Patience(0.3)
    assert not fail(patience, clock, 2.5, 3, 100)
    # But time alone is no service.
    assert fail(patience, clock, 2.5, 0, 3)


def test_one_failure_or_two_are_no_row_however_far_apart(clock: Clock) -> None:
    patience = Patience(0.3)
    assert not fail(patience, clock, 3600.0, 0, 2)
    patience.forget()
    assert not fail(patience, clock, 3600.0, 0, 2)


def test_frames_that_are_refused_now_and_then_are_borne_and_all_of_them_are_not(clock: Clock) -> None:
    patience = Patience(0.3)
    assert not fail(patience, clock, 0.1, 1, 1000, refused_only=True)
    assert fail(patience, clock, 0.1, 0, 1000, refused_only=True)


def test_being_opened_again_is_no_service(clock: Clock) -> None:
    patience = Patience(0.3)
    assert fail(patience, clock, 0.3, 0, 100)
    clock.now += 60.0  # it was closed meanwhile
    patience.serves()
    assert fail(patience, clock, 0.3, 1, 1)


# -- the driver


@pytest.fixture
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usb_patience, "PATIENCE_S", 0.3)


def run(accelerator: UsbAccelerator, until: Callable[[list[Mask], list[Loss]], bool]) -> list[Loss]:
    """Frames, one after another, until ``until(masks, losses)``; the losses. Raises as ``collect``."""
    frame = Frame(MODEL.input, MODEL.mask.size_bytes, ROOM)
    masks: list[Mask] = []
    losses: list[Loss] = []
    end = time.monotonic() + 20
    while not until(masks, losses):
        assert time.monotonic() < end
        assert accelerator.wait_for_credit(1.0)
        accelerator.submit(frame)
        while (result := accelerator.collect(1.0)) is None:
            pass
        if isinstance(result, Mask):
            masks.append(result)
        else:
            losses.append(result)
    return losses


@pytest.mark.usefixtures("_quickly")
@pytest.mark.parametrize(("name", "value", "words"), GIVEN_UP)
def test_a_device_that_no_mending_helps_is_given_up_with_a_sentence(
    name: str, value: float | None, words: str
) -> None:
    device = MockDevice(model=MODEL)
    accelerator = driver(device, answer_timeout_s=0.03)
    accelerator.open()
    run(accelerator, lambda masks, _: len(masks) >= 10)
    device.inject(name, value=value)
    with pytest.raises(TransientError, match=words) as caught:
        run(accelerator, lambda _, __: False)
    assert re.search(r"in \d+\.\d s it", str(caught.value))
    assert accelerator.describe()["faults"]["given-up"] == 1
    # It serves again as soon as it is mended and opened.
    device.clear()
    accelerator.close()
    accelerator.open()
    run(accelerator, lambda masks, _: len(masks) >= 10)
    accelerator.close()


@pytest.mark.usefixtures("_quickly")
def test_a_device_that_was_given_up_has_to_earn_new_patience() -> None:
    device = MockDevice(model=MODEL)
    device.inject("proof-only")
    accelerator = driver(device, answer_timeout_s=0.03)
    accelerator.open()
    with pytest.raises(TransientError, match=MENDED):
        run(accelerator, lambda _, __: False)
    accelerator.close()
    accelerator.open()
    recoveries = accelerator.describe()["recoveries"]
    with pytest.raises(TransientError, match=MENDED):
        run(accelerator, lambda _, __: False)
    assert accelerator.describe()["recoveries"] == recoveries
    accelerator.close()
    # Plugged in anew it begins from the beginning.
    device.unplug()
    device.plug()
    accelerator.open()
    with pytest.raises(TransientError, match=MENDED):
        run(accelerator, lambda _, __: False)
    assert accelerator.describe()["recoveries"] >= recoveries + 2
    accelerator.close()


def test_a_device_that_is_gone_is_said_to_be_gone_whatever_was_before(clock: Clock) -> None:
    device = MockDevice(model=MODEL)
    accelerator = driver(device)
    accelerator.open()
    frame = Frame(MODEL.input, MODEL.mask.size_bytes, ROOM)
    for fault in ("short-read", "short-read", "unplug-in"):
        device.inject(fault)
        assert accelerator.wait_for_credit(1.0)
        accelerator.submit(frame)
        if fault == "unplug-in":
            clock.now += 100.0
            with pytest.raises(TransientError, match=r"is gone; plug it in again$"):
                accelerator.collect(1.0)
        else:
            assert isinstance(accelerator.collect(1.0), Loss)
    assert "given-up" not in accelerator.describe()["faults"]
    accelerator.close()


def test_a_device_that_refuses_each_third_frame_is_kept(clock: Clock) -> None:
    device = MockDevice(model=MODEL)
    accelerator = driver(device)
    accelerator.open()
    frame = Frame(MODEL.input, MODEL.mask.size_bytes, ROOM)
    for number in range(60):
        clock.now += 0.5
        if number % 3 == 0:
            device.inject("error-reply")
        assert accelerator.wait_for_credit(1.0)
        accelerator.submit(frame)
        assert isinstance(accelerator.collect(1.0), Loss) is (number % 3 == 0)
    accelerator.close()

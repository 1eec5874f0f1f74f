"""Each case of gnetseg-conform passes on a device that does as the page says, and fails on one that lies."""

from __future__ import annotations

import random
from typing import Any

import pytest
from gnetseg_conform import mock, page
from gnetseg_conform.bench import Bench
from gnetseg_conform.registry import CASES
from gnetseg_conform.run import MAX_DEAD, ORDER, Result, check, climb, leave, run
from gnetseg_conform.wire import Wire
from gnetseg_device.engine import Limits
from gnetseg_device.faults import FAULTS
from gnetseg_device.model_store import ModelStore
from gnetseg_device.plain_port import backend_of

from gnetsegd.frame import FrameSpec
from gnetsegd.link.constants import USB_ID
from gnetsegd.model import ModelBundle

from .liars import LIES, MORE_LIES, OPTIONS, Lie

BY_FAULT = {case.name for case in ORDER if case.catches}
#: Whole runs with these two take tens of seconds: ``--mock --faults all`` does them.
SLOW = {"slow", "slow-flash"}
ALLOWED = {fault for fault, why in mock.NOT_THE_DEVICES.items() if why.startswith(mock.ALLOWED)}


def test_every_case_passes_on_the_mock_device() -> None:
    device = mock.device()
    bench = mock.bench_on(device)
    results = mock.fill(list(run(bench, ORDER)))
    assert {result.case.name: result.words for result in results if result.outcome != "passed"} == {}
    assert leave(bench) == ""
    assert len(results) == len(CASES) >= 40


@pytest.mark.parametrize("case", ORDER, ids=lambda case: case.name)
def test_the_page_says_what_the_case_checks(case: object) -> None:
    assert isinstance(case, type(ORDER[0]))
    assert page.line_of(case.heading, case.quote) > 0
    assert case.sentence.endswith(".")
    assert case.sentence[0].isupper()


def test_a_quote_that_is_not_under_its_heading_is_not_found() -> None:
    with pytest.raises(LookupError):
        page.line_of("Descriptors", "no zero-length packet is ever needed")
    first, second = (
        page.line_of("Types", quote) for quote in ("Every request is answered", "answers come in")
    )
    assert second - first in (0, 1)


def test_each_fault_is_for_a_case_or_not_the_devices() -> None:
    caught = {fault for case in ORDER for fault in case.catches}
    assert caught.isdisjoint(mock.NOT_THE_DEVICES)
    assert caught | set(mock.NOT_THE_DEVICES) == set(FAULTS)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in mock.NOT_THE_DEVICES])
def test_a_fault_is_caught_by_the_case_that_names_it(fault: str) -> None:
    told = mock.try_fault(fault)
    assert told["caught"], told
    assert told["usable"]
    assert all(words.isprintable() for words in told["cases"].values())


@pytest.mark.parametrize(
    "fault",
    [fault for fault, why in mock.NOT_THE_DEVICES.items() if mock.ALLOWED in why and fault not in SLOW],
)
def test_what_the_page_allows_fails_no_case(fault: str) -> None:
    assert mock.try_allowed(fault) == {"passed": True, "failed": {}}


def test_a_device_that_is_slow_within_the_page_fails_no_case() -> None:
    device = mock.device("slow")
    device.inject("slow-flash", value=0.4)  # longer than the mock is given for a frame
    bench = mock.bench_on(device)
    names = ("frame-answered", "status-counts", "bad-hash", "upload-lengths", "upload-committed")
    assert [check(bench, CASES[name]).outcome for name in names] == ["passed"] * len(names)


def test_each_case_has_a_fault_or_a_lie_that_fails_it() -> None:
    assert set(LIES).isdisjoint(BY_FAULT)
    assert set(LIES) | BY_FAULT == set(CASES)


@pytest.mark.parametrize(("name", "lie"), MORE_LIES)
def test_another_lie_is_caught_as_well(name: str, lie: Lie, monkeypatch: pytest.MonkeyPatch) -> None:
    device = mock.device()
    lie(device, monkeypatch)
    result = check(mock.bench_on(device), CASES[name])
    assert result.outcome == "failed"
    assert "could not be judged" not in result.words


def test_a_device_that_does_not_come_back_is_waited_for_so_long_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnetseg_conform.wire.AWAY_S", 0.05)
    device = mock.device()
    bench = mock.bench_on(device)
    device.unplug()
    assert not bench.wire.find_again()
    results = list(run(bench, ORDER))
    assert [result.outcome for result in results].count("failed") == MAX_DEAD
    assert "left the bus" in leave(bench)
    device.plug(elsewhere=True)
    assert bench.wire.find_again()
    assert leave(bench) == ""


@pytest.mark.parametrize("name", LIES)
def test_a_device_that_lies_is_caught_by_the_case_for_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device = mock.device(**OPTIONS.get(name, {}))
    assert check(mock.bench_on(device), CASES[name]).outcome == "passed"
    device = mock.device(**OPTIONS.get(name, {}))
    LIES[name](device, monkeypatch)
    result = check(mock.bench_on(device), CASES[name])
    assert result.outcome == ("advised" if CASES[name].should else "failed")
    assert "could not be judged" not in result.words
    assert result.words.isprintable()
    assert len(result.words) > 20


def on(pixel: str, width: int = 24, height: int = 10, classes: int = 2) -> ModelBundle:
    return mock.model(b"a network", FrameSpec(width, height, pixel), classes)


#: All of these do as the page says.
GOOD: dict[str, dict[str, Any]] = {
    "luminance": {"model": on("Y")},
    "RGB": {"model": on("RGB")},
    "an odd side": {"model": on("YUV444", 23, 9)},
    "one pixel": {"model": on("Y", 1, 1)},
    "a picture of whole packets": {"model": on("Y", 32, 15)},
    "255 classes": {"model": on("Y", classes=255)},
    "YUV420 alone": {"model": on("YUV444"), "limits": Limits(pixel_formats=(1,), max_payload=360)},
    "one slot": {"limits": Limits(slots=1)},
    "16 slots": {"limits": Limits(slots=16)},
    "1 bit alone": {"model": on("Y"), "limits": Limits(mask_bits=(1,))},
    "no features": {"limits": Limits(features=0)},
    "no payload CRC": {"limits": Limits(features=2)},
    "small chunks": {"limits": Limits(max_chunk=1)},
    "payloads of one picture": {"limits": Limits(max_payload=1440, max_chunk=100)},
    "room for 40 bytes": {"store": ModelStore(40)},
    "no model": {"model": None},
    "no model, RGB alone": {"model": None, "limits": Limits(pixel_formats=(3,))},
}


@pytest.mark.parametrize("name", GOOD)
def test_no_good_device_fails_a_case(name: str) -> None:
    bench = mock.bench_on(mock.device(**GOOD[name]))
    results = list(run(bench, ORDER))
    assert {result.case.name: result.words for result in results if result.outcome == "failed"} == {}
    assert leave(bench) == ""


class Noise:
    """A device that says anything, or nothing."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def _words(self) -> bytes:
        beginning = self._random.choice((b"", b"GS\1\x20\x81", b"GSLK\1\1\x80\0"))
        return beginning + self._random.randbytes(self._random.choice((0, 1, 27, 64, 120, 600)))

    def control_in(self, request: int, length: int) -> bytes | None:
        del request
        return self._words()[:length] if self._random.random() < 0.9 else None

    def control_out(self, request: int, data: bytes) -> bool:
        del request, data
        return self._random.random() < 0.9

    def bulk_out(self, data: bytes) -> None:
        del data

    def bulk_in(self) -> bytes | None:
        return self._words()


def results_of(device: Noise) -> tuple[list[Result], str]:
    bench = Bench(
        Wire(USB_ID, backend=backend_of(device)), mock.TIMES, bundle=mock.UPLOADED, destructive=True, seed=1
    )
    return list(run(bench, ORDER)), leave(bench)


@pytest.mark.parametrize("seed", range(10))
def test_a_device_that_says_anything_gets_a_sentence_for_each_case(seed: int) -> None:
    results, left = results_of(Noise(seed))
    assert len(results) == len(ORDER)
    assert left
    for result in results:
        if result.case.check.__module__.endswith("cases_frames"):
            assert result.outcome != "passed"
        assert result.words.isprintable()
        assert result.words or result.outcome == "passed"


class Deaf(Noise):
    """Refuses everything."""

    def control_in(self, request: int, length: int) -> bytes | None:
        del request, length
        return None

    def control_out(self, request: int, data: bytes) -> bool:
        del request, data
        return False


def test_a_device_that_cannot_be_brought_back_is_left_alone() -> None:
    results, left = results_of(Deaf(0))
    failed = [result for result in results if result.outcome == "failed"]
    assert len(failed) == MAX_DEAD
    assert "power it off" in results[-1].words
    assert "STALL" in left


def test_what_changes_the_device_is_run_on_request_only() -> None:
    device = mock.device()
    before = device.store.active
    bench = Bench(Wire(USB_ID, backend=device.backend), mock.TIMES, bundle=mock.UPLOADED)
    results = list(run(bench, ORDER))
    asked = {result.case.name for result in results if "--destructive" in result.words}
    assert asked == {case.name for case in ORDER if case.changes}
    assert device.store.active == before
    assert device.store.progress == (0, 0)
    assert device.port.attachment == 1


def test_an_unfinished_upload_survives_a_run_that_is_not_destructive() -> None:
    device = mock.device()
    device.store.begin(mock.ModelRecord.of(mock.UPLOADED))
    device.store.write(0, memoryview(mock.UPLOADED.content[:7]))
    list(run(Bench(Wire(USB_ID, backend=device.backend), mock.TIMES), ORDER))
    assert device.store.progress[0] == 7


@pytest.mark.parametrize("fault", ["stall-out", "stall-in", "garbage-header", "mute", "lost-all"])
def test_one_fault_does_not_fail_the_cases_after_it(fault: str) -> None:
    device = mock.device()
    bench = mock.bench_on(device)
    device.inject(fault, count=1)  # mute is lasting: cleared below
    first = check(bench, CASES["serves-on"])
    assert first.outcome == "failed"
    device.clear()
    climb(bench)  # as behind each case that fails
    rest = run(bench, [CASES["serves-on"], CASES["frame-taken"]])
    assert [result.outcome for result in rest] == ["passed", "passed"]
    assert leave(bench) == ""

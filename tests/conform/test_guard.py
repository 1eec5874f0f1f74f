"""A maker's own pyusb backend may do anything: the run ends, and what it spoils has its sentence."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner
from gnetseg_conform import guard, mock
from gnetseg_conform.bench import PATIENCE
from gnetseg_conform.main import main
from gnetseg_conform.registry import CASES
from gnetseg_conform.run import MAX_DEAD, ORDER, check, leave, run
from gnetseg_device.device import MockDevice
from gnetseg_device.faults import rebuild

from gnetsegd.link.header import Header, read_header


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def returns(value: object) -> Any:
    return lambda *_: value


def raises(error: BaseException) -> Any:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


#: What a transfer may do instead of moving bytes, and a word of the sentence that it gets.
MISDEEDS: dict[str, tuple[Any, str]] = {
    "None": (returns(None), "returns a NoneType as the count of bytes"),
    "-1": (returns(-1), "returns -1 as the count of bytes"),
    "1e9": (returns(1e9), "returns a float as the count"),
    "10**9": (returns(10**9), "returns 1000000000 as the count of bytes; 0 to"),
    "10**5000": (returns(10**5000), "returns a number beyond 63 bits"),
    "text": (returns("516"), "returns a str as the count"),
    "the bytes themselves": (returns(b"GS"), "returns a bytes as the count"),
    "OSError": (raises(OSError("boom\x1b")), "raised OSError: boom?"),
    "an exception without words": (raises(Mute()), "raised Mute"),
    "SystemExit": (raises(SystemExit(0)), "raised SystemExit: 0"),
    "KeyboardInterrupt": (raises(KeyboardInterrupt()), "raised KeyboardInterrupt"),
}


@pytest.mark.parametrize("transfer", ["bulk_read", "bulk_write", "ctrl_transfer"])
@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_a_backend_that_misbehaves_ends_the_run_with_sentences(misdeed: str, transfer: str) -> None:
    device = mock.device()
    bench = mock.bench_on(device)
    deed, words = MISDEEDS[misdeed]
    setattr(device.backend, transfer, deed)
    results = list(run(bench, ORDER))
    failed = {result.case.name: result.words for result in results if result.outcome == "failed"}
    assert words in failed["frame-answered" if transfer.startswith("bulk") else "capabilities-magic"]
    assert all("could not be judged" not in sentence for sentence in failed.values())
    assert words in leave(bench)


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A call waits for it in vain while the test runs."""
    monkeypatch.setattr(guard, "GRACE_S", 0.05)
    monkeypatch.setattr(guard, "_CALL_S", 0.05)
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("name", ["bulk_read", "bulk_write", "ctrl_transfer", "clear_halt"])
def test_a_call_that_never_returns_is_left_behind(name: str, never: threading.Event) -> None:
    device = mock.device()
    bench = mock.bench_on(device)
    setattr(device.backend, name, lambda *_: never.wait())
    results = list(run(bench, ORDER))
    failed = [result.words for result in results if result.outcome == "failed"]
    assert "has not returned 0.05 s after its time limit" in failed[0]
    assert len(failed) == MAX_DEAD
    assert "an earlier call into the backend has not returned yet" in leave(bench)
    bench.wire.close()


def test_a_call_that_returns_late_is_a_fault_of_that_case_alone(never: threading.Event) -> None:
    device = mock.device()
    bench = mock.bench_on(device)
    real = device.backend.bulk_read
    late = iter([True])

    def bulk_read(*arguments: Any) -> int:
        return 0 * never.wait() if next(late, False) else real(*arguments)

    device.backend.bulk_read = bulk_read
    assert "has not returned" in check(bench, CASES["frame-result"]).words
    never.set()
    for thread in threading.enumerate():
        if thread.name == guard.THREAD:
            thread.join(10)
    assert leave(bench) == ""
    assert check(bench, CASES["frame-result"]).outcome == "passed"


def other_epoch(device: MockDevice, epoch: int = 1) -> None:
    """Whatever is read, another answer of an epoch that was never begun comes."""
    real = device.backend.bulk_read
    kept = bytearray()

    def bulk_read(handle: Any, ep: int, intf: int, buff: Any, timeout: int) -> int:
        if not kept:
            count = real(handle, ep, intf, buff, timeout)
            header = Header(*read_header(memoryview(buff)[:count]))
            kept[:] = rebuild(header._replace(epoch=epoch), bytes(buff[32 : 32 + header.length]))
        memoryview(buff)[: len(kept)] = kept
        return len(kept)

    device.backend.bulk_read = bulk_read


@pytest.mark.parametrize("case", [case for case in ORDER if "frames" in case.check.__module__])
def test_a_device_that_sends_on_and_on_of_another_epoch_ends_each_case(case: Any) -> None:
    device = mock.device()
    bench = mock.bench_on(device)
    other_epoch(device)
    result = check(bench, case)
    assert result.outcome == "failed"
    assert f"{PATIENCE} answers in a row" in result.words or "epoch" in result.words or "came" in result.words


def test_the_time_limit_of_an_answer_runs_on_while_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    device = mock.device()
    bench = mock.bench_on(device)
    other_epoch(device)
    monkeypatch.setattr("gnetseg_conform.bench.time.monotonic", iter(range(100)).__next__)
    result = check(bench, CASES["frame-answered"])
    assert "1 answers came that belong to nothing, and none that is owed" in result.words


def test_a_device_that_is_gone_is_waited_for_once_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    device = mock.device()
    bench = mock.bench_on(device)
    waits: list[float] = []
    monkeypatch.setattr("gnetseg_conform.wire.AWAY_S", 0)
    real = bench.wire.find_again
    monkeypatch.setattr(bench.wire, "find_again", lambda: bool(waits.append(0)) or real())
    device.unplug()
    list(run(bench, ORDER))
    assert "left the bus" in leave(bench)
    assert len(waits) == MAX_DEAD + 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit(0)", "cannot be loaded: SystemExit: 0"),
        ("def backend():\n    raise SystemExit(0)", "cannot be opened (SystemExit: 0)"),
        ("backend = dict", "'dict' object has no attribute"),
    ],
)
def test_a_maker_that_ends_the_process_has_not_passed(tmp_path: Path, code: str, words: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    result = CliRunner().invoke(
        main, ["--backend", f"{tmp_path / 'mine.py'}:backend"], catch_exceptions=False
    )
    assert result.exit_code not in (0, 1)
    assert words in result.stderr


def test_a_backend_that_cannot_let_go_does_not_hide_the_report(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from gnetseg_conform import mock\nthe = mock.device().backend\ndef backend():\n    return the\n"
        "def fail(*_):\n    raise OSError('boom')\nthe.close_device = the.release_interface = fail\n"
    )
    result = CliRunner().invoke(
        main, ["--backend", f"{tmp_path / 'mine.py'}:backend", "--case", "speed"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "the device works" in result.stdout

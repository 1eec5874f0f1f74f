"""``gnetseg-conform`` on the command line: what it prints, and what a mistake gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from gnetseg_conform import mock
from gnetseg_conform.main import main, parse_id
from gnetseg_conform.registry import CASES

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = f"{REPOSITORY / 'examples/device/minimal_device.py'}:backend"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def told(result: Result) -> dict[str, Any]:
    return json.loads(result.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def test_the_mock_device_passes_everything() -> None:
    result = call("--mock", "--json")
    report = told(result)
    assert result.exit_code == 0
    assert report["passed"]
    assert report["usable"]
    assert report["counts"] == {"passed": len(CASES), "failed": 0, "advised": 0, "skipped": 0}
    assert report["transcripts"]["played"] >= 30
    assert report["transcripts"]["failed"] == {}
    for case in report["cases"]:
        line = (REPOSITORY / report["page"]).read_text("utf-8").splitlines()[case["line"] - 1]
        assert case["quote"].split()[0] in line


def test_a_fault_is_told_with_the_case_that_caught_it() -> None:
    result = call("--mock", "--faults", "bad-labels", "--json")
    assert result.exit_code == 0
    assert told(result)["faults"]["bad-labels"]["cases"].keys() == {"labels-are-classes"}
    assert "caught" in call("--mock", "--faults", "bad-labels").stdout


def test_a_fault_that_is_not_the_devices_is_listed_as_that() -> None:
    report = told(call("--mock", "--faults", "unplug-idle", "--json"))
    assert report["not_the_devices"].keys() == {"unplug-idle"}
    assert not report["faults"]


def test_a_device_of_somebody_else_is_held_against_the_page() -> None:
    result = call("--backend", EXAMPLE, "--answer-s", "1", "--patience", "0.2", "--json")
    report = told(result)
    assert result.exit_code == 0, result.stdout
    assert report["device"]["firmware"] == "minimal device 1.0"
    assert "not played" in report["transcripts"]["words"]


BROKEN = """
from gnetseg_conform import mock

def backend():
    device = mock.device("bad-labels")
    return device.backend

def of_setup(setup=None):
    return mock.make_backend(setup) if setup else mock.device().backend
"""


def test_a_device_that_breaks_the_page_ends_with_1_and_the_place_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    result = call("--backend", f"{tmp_path / 'broken.py'}:backend", "--case", "labels-are-classes")
    assert result.exit_code == 1
    assert "FAILED   labels-are-classes" in result.stdout
    assert "the mask has the label 3, the model 3 classes" in result.stdout
    assert "docs/protocol.md:" in result.stdout
    assert "THE DEVICE DOES NOT WORK" in result.stdout  # no mask of it is right


def test_devices_made_of_a_setup_are_given_the_transcripts(tmp_path: Path) -> None:
    (tmp_path / "maker.py").write_text(BROKEN)
    report = told(call("--backend", f"{tmp_path / 'maker.py'}:of_setup", "--patience", "0.1", "--json"))
    assert report["transcripts"]["played"] >= 30
    assert report["transcripts"]["failed"] == {}


def test_an_id_is_hexadecimal_of_16_bits_each() -> None:
    assert parse_id("1d6b:FFFF") == (0x1D6B, 0xFFFF)
    assert parse_id("ffff:0") == (0xFFFF, 0)


def test_the_list_shows_each_case_with_its_place() -> None:
    text = call("--list").stdout
    assert text.count("docs/protocol.md:") == len(CASES)
    assert "[destructive: the port is reset]" in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "name one device"),
        (("--mock", "--usb", "1209:0001"), 2, "name one device"),
        (("--usb", "1209"), 2, "'1209' is not VID:PID in hexadecimal"),
        (("--usb", "12345:1"), 2, "is not VID:PID"),
        (("--usb", "1209:0001", "--faults", "mute"), 2, "--faults is for --mock"),
        (("--mock", "--model", "nonsense"), 2, "--model and --serial are for a device"),
        (("--mock", "--serial", "another"), 2, "--model and --serial are for a device"),
        (("--mock", "--case", "nonsense"), 2, "there is no case 'nonsense'"),
        (("--mock", "--faults", "nonsense"), 64, "there is no fault 'nonsense'"),
        (("--backend", "nonsense"), 64, "give FILE.py:NAME or MODULE:NAME"),
        (("--backend", "/nowhere.py:x"), 66, "cannot be loaded: FileNotFoundError"),
        (("--backend", "json:nothing"), 66, "has no attribute 'nothing'"),
        (("--backend", "json:__name__"), 64, "is no function"),
        (("--backend", EXAMPLE, "--serial", "another"), 75, "serial numbers there: plain-0001"),
        (("--backend", EXAMPLE, "--usb", "1209:9999"), 75, "no device 1209:9999"),
        (("--backend", EXAMPLE, "--model", "/nowhere"), 66, "/nowhere"),
    ],
)
def test_a_mistake_gets_a_sentence(arguments: tuple[str, ...], code: int, words: str) -> None:
    result = call(*arguments)
    assert words in result.output
    assert result.exit_code == code
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [("--list",), ("--mock", "--case", "slots")])
def test_a_report_that_finds_no_room_is_a_sentence(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gnetseg_conform.main", *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == os.EX_IOERR
    assert done.stderr.startswith("gnetseg-conform: no space is left where it writes")
    assert done.stderr.count("\n") == 1


def test_without_pyusb_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usb", None)
    monkeypatch.setitem(sys.modules, "usb.core", None)
    result = call("--usb", "1209:0001")
    assert "install gnetsegd[usb] or python3-usb" in result.output
    assert result.exit_code == 69


def test_a_device_that_is_in_use_or_forbidden_is_told_as_that(tmp_path: Path) -> None:
    for fault, words in (("busy", "another program uses it"), ("permission", "install the udev rule")):
        (tmp_path / "taken.py").write_text(
            f"from gnetseg_conform import mock\n\ndef backend():\n    return mock.device({fault!r}).backend\n"
        )
        result = call("--backend", f"{tmp_path / 'taken.py'}:backend")
        assert words in result.output
        assert result.exit_code == 69


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ("def backend():\n    raise RuntimeError('no such\\x1b board')", "no such? board"),
        ("def backend():\n    return 'none'", "AttributeError"),
        ("def broken(*_):\n    raise OSError('boom')\nthe.claim_interface = broken", "boom"),
        ("def broken(*_):\n    raise OSError('boom')\nthe.enumerate_devices = broken", "boom"),
        (
            "real = the.get_configuration_descriptor\n"
            "def empty(*given):\n"
            "    found = real(*given)\n"
            "    found.bNumInterfaces = 0\n"
            "    return found\n"
            "the.get_configuration_descriptor = empty",
            "has no interface",
        ),
    ],
)
def test_a_device_or_backend_that_cannot_be_opened_gets_a_sentence(
    tmp_path: Path, fails: str, words: str
) -> None:
    code = "from gnetseg_conform import mock\nthe = mock.device().backend\ndef backend():\n    return the\n"
    (tmp_path / "mine.py").write_text(code + fails)
    result = call("--backend", f"{tmp_path / 'mine.py'}:backend")
    assert result.exit_code not in (0, 1)
    assert result.stderr.startswith("gnetseg-conform: ")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_what_a_device_says_of_itself_is_cleaned(tmp_path: Path) -> None:
    (tmp_path / "foul.py").write_text(
        "from gnetseg_conform import mock\n\ndef backend():\n    return mock.device('foul-text').backend\n"
    )
    where = f"{tmp_path / 'foul.py'}:backend"
    for more in ((), ("--json",)):
        result = call("--backend", where, "--case", "serial-number", "--case", "error-text", *more)
        assert result.exit_code == 1
        assert all(line.isprintable() for line in result.stdout.splitlines())


def test_ending_it_leaves_a_device_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    device = mock.device()
    monkeypatch.setattr(mock, "device", lambda: device)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gnetseg_conform.bench.Bench.labels", _after(20, interrupt))
    assert call("--mock").exit_code != 0
    status = device.engine.control_in(3, 64)
    assert status[0] == 0  # no session is left behind
    assert device.engine.in_flight == 0


def _after(count: int, action: Any) -> Any:
    """``Bench.labels`` that does ``action`` at its ``count``-th call, once."""
    from gnetseg_conform.bench import Bench

    real, calls = Bench.labels, iter(range(10**6))

    def labels(self: Bench, *arguments: Any) -> Any:
        if next(calls) == count:
            action(self)
        return real(self, *arguments)

    return labels

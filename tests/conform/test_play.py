"""The transcripts come with the package, and are played over USB as the engine's test plays them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from gnetseg_conform import mock, page, play
from gnetseg_conform.verdict import Broken
from gnetseg_conform.wire import Wire

from gnetsegd.link.constants import USB_ID

VECTORS = Path(__file__).parents[1] / "vectors" / "link" / "transcripts"


def test_all_transcripts_come_with_the_package() -> None:
    assert set(play.load()) == {path.stem for path in VECTORS.glob("*.jsonl")}
    assert len(play.load()) >= 30


def test_the_page_that_comes_with_the_package_is_the_page() -> None:
    text = (Path(__file__).parents[2] / page.NAME).read_text("utf-8")
    place = page.line_of("HELLO", "It MUST NOT refuse a minor version")
    assert "It MUST NOT refuse a minor version" in text.splitlines()[place - 1]


def play_on_mock(lines: list[dict[str, object]]) -> None:
    wire = Wire(USB_ID, backend=mock.make_backend(lines[0]["setup"]))  # type: ignore[arg-type]
    play.play(lines, wire, mock.TIMES)


@pytest.mark.parametrize("name", play.load())
def test_the_mock_device_does_as_the_transcript_says(name: str) -> None:
    play_on_mock(play.load()[name])


@pytest.mark.parametrize("name", play.load())
def test_an_expectation_that_is_not_met_is_told_with_its_line(name: str) -> None:
    lines = play.load()[name]
    kinds = {"device", "error", "status", "stall"}
    places = [number for number, line in enumerate(lines) if kinds & set(line)]
    for place in (places[0], places[-1]):
        changed = copy.deepcopy(lines)
        line = changed[place]
        if "device" in line:
            line["device"] = line["device"][:-2] + f"{int(line['device'][-2:], 16) ^ 1:02x}"
        elif "error" in line:
            line["error"]["code"] += 100
        elif "status" in line:
            line["status"] = {field: value + 1 for field, value in line["status"].items()}
        else:
            del changed[place]
            place -= 1
        with pytest.raises(Broken, match=f"^line {place + 1}[: ]"):
            play_on_mock(changed)


def test_a_device_that_is_not_to_be_had_is_a_sentence() -> None:
    def nobody(setup: dict[str, object]) -> Wire:
        del setup
        return Wire((0x1209, 0x9999), backend=mock.device().backend)

    told = play.play_all(nobody, mock.TIMES)
    assert all("no device 1209:9999" in words for words in told.values())

"""The transcripts of tests/vectors/link/transcripts, played against the engine: its README.md says how."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from gnetseg_device.engine import Engine, Limits, Stall
from gnetseg_device.model_store import ModelStore, StoredModel
from gnetseg_device.networks import FakeNetwork

from gnetsegd.link.constants import Request, Type
from gnetsegd.link.header import Header, check_payload, read_header
from gnetsegd.link.model_upload import ModelRecord, parse_record
from gnetsegd.link.requests import parse_capabilities, parse_status

FOLDER = Path(__file__).parents[1] / "vectors" / "link" / "transcripts"
FILES = sorted(FOLDER.glob("*.jsonl"))
#: A number that no request has.
UNKNOWN_REQUEST = 0x7F


def load_network(record: ModelRecord, content: bytes) -> FakeNetwork:
    if content.startswith(b"bad"):
        raise ValueError("it does not load")
    return FakeNetwork(record, content)


def make_engine(setup: dict[str, Any]) -> Engine:
    store = ModelStore(setup["max_model"])
    if setup["model"]:
        record = parse_record(bytes.fromhex(setup["model"]["record"]))
        store.activate(StoredModel(record, bytes.fromhex(setup["model"]["content"])))
    limits = Limits(
        slots=setup["slots"], max_payload=setup["max_payload"], max_chunk=setup["max_chunk"],
        mask_bits=tuple(setup["mask_bits"]), pixel_formats=tuple(setup["pixel_formats"]),
        features=setup["features"],
    )  # fmt: skip
    return Engine(store, load_network, limits)


def next_answer(engine: Engine) -> bytes:
    """The next answer, computed if it is not yet, and taken away; b"" if there is none."""
    while engine.answer() is None and (job := engine.take_job()):
        job.run()
        engine.finish(job)
    request = engine.answer()
    if request is None or request.message is None:
        return b""
    message = bytes(request.message)
    engine.sent()
    return message


def is_stalled(engine: Engine, line: dict[str, Any]) -> bool:
    number = getattr(Request, line["request"], UNKNOWN_REQUEST)
    try:
        engine.control_out(number, bytes.fromhex(line["data"]))
    except Stall:
        return True
    return False


def check_error(answer: bytes, expected: dict[str, int]) -> None:
    view = memoryview(answer)
    header = Header(*read_header(view))
    assert header.type == Type.ERROR
    assert {name: getattr(header, name) for name in expected} == expected
    assert check_payload(view, header.header_length, header.length, header.flags)
    bytes(view[header.header_length : header.header_length + header.length]).decode("utf-8")


def play(lines: list[dict[str, Any]]) -> None:
    """Raises AssertionError, with the number of the line, where the engine does not do as the lines say."""
    engine = make_engine(lines[0]["setup"])
    for number, line in enumerate(lines[1:], 2):
        follower = lines[number] if number < len(lines) else {}
        try:
            if "request" in line:
                assert is_stalled(engine, line) == ("stall" in follower)
            elif "host" in line:
                engine.receive(memoryview(bytes.fromhex(line["host"])))
            elif "device" in line:
                assert next_answer(engine).hex() == line["device"]
            elif "error" in line:
                check_error(next_answer(engine), line["error"])
            elif "silence" in line:
                assert next_answer(engine) == b""
            elif "status" in line:
                status = parse_status(engine.control_in(Request.GET_STATUS, 512))
                assert {name: getattr(status, name) for name in line["status"]} == line["status"]
            elif "capabilities" in line:
                told = parse_capabilities(engine.control_in(Request.CAPABILITIES, 512))
                have = {
                    "slots": told.slots, "features": told.features, "state": told.state,
                    "model": (told.model.pack() if told.model else bytes(64)).hex(),
                }  # fmt: skip
                assert have | line["capabilities"] == have
            else:
                assert set(line) <= {"stall", "comment"}
        except AssertionError as error:
            raise AssertionError(f"line {number}: {line.get('comment', '')}: {error}") from error
    assert next_answer(engine) == b"", "an answer that nobody waits for"


def load(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_engine_answers_as_the_transcript_says(path: Path) -> None:
    play(load(path))


def test_the_transcripts_are_those_that_were_written_from_the_page() -> None:
    spec = importlib.util.spec_from_file_location("transcripts", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {path.stem: path.read_text("ascii") for path in FILES} == module.transcripts()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_runner_sees_each_expectation_that_is_not_met(path: Path) -> None:
    lines = load(path)
    places = [n for n, line in enumerate(lines) if {"device", "error", "status", "stall"} & set(line)]
    assert places
    for place in places[:: max(1, len(places) // 5)]:
        changed = json.loads(json.dumps(lines))
        line = changed[place]
        if "device" in line:
            line["device"] = line["device"][:-2] + f"{int(line['device'][-2:], 16) ^ 1:02x}"
        elif "error" in line:
            line["error"]["code"] += 100
        elif "status" in line:
            line["status"] = {name: value + 1 for name, value in line["status"].items()}
        else:
            del changed[place]
        with pytest.raises(AssertionError):
            play(changed)

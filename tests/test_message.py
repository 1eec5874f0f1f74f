"""The messages are what docs/messages.md says, and bytes that are none are refused with a sentence."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnetsegd import message
from gnetsegd.errors import MessageError
from gnetsegd.frame import MaskFormat
from gnetsegd.message import (
    HEADER,
    HEADER_SIZE,
    INFO_FIELDS,
    STATES,
    STATUS_FIELDS,
    MaskHeader,
    Region,
    image_header,
    new_session,
    pack_header,
    pack_json,
    pack_mask,
    parse_header,
    parse_image,
    parse_json,
    topic,
    unpack_mask,
)

pytestmark = pytest.mark.runtime

ROOT = Path(__file__).parents[1]
VECTORS = ROOT / "tests" / "vectors" / "messages"
NAMES = sorted(path.stem for path in VECTORS.glob("*.json"))

quick = settings(max_examples=80, deadline=None, derandomize=True)


def vector(name: str) -> tuple[bytes, dict[str, Any]]:
    """(the message, what it means) of a golden vector."""
    data = bytes.fromhex((VECTORS / f"{name}.hex").read_text("ascii"))
    return data, json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


def meant_to_be(kind: str) -> list[str]:
    return [name for name in NAMES if vector(name)[1]["kind"] == kind]


def header_of(meaning: dict[str, Any]) -> dict[str, Any]:
    """The header's fields of a vector, with bytes for the hex in JSON."""
    fields = dict(meaning["header"])
    fields["model_hash"] = bytes.fromhex(fields["model_hash"])
    return fields


# -- golden vectors -------------------------------------------------------------------------------


def test_the_committed_vectors_are_what_the_generator_writes(tmp_path: Path) -> None:
    runpy.run_path(str(VECTORS / "generate.py"))["generate"](tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {
        path.name: path.read_bytes() for path in VECTORS.iterdir() if path.suffix in (".hex", ".json")
    }
    assert written == committed
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", [*meant_to_be("mask"), *meant_to_be("frame")])
def test_a_mask_vector_is_read_as_its_json_says(name: str) -> None:
    data, meaning = vector(name)
    header, expected = parse_header(data), header_of(meaning)
    for field in ("width", "height", "bits", "classes", "stride"):
        assert getattr(header.format, field) == expected.pop(field), field
    for field, value in expected.items():
        assert getattr(header, field) == value, field
    assert header.kind == meaning["kind"]
    labels = unpack_mask(data[header.payload_offset :], header.format)
    assert labels.tolist() == meaning["labels"]


@pytest.mark.parametrize("name", [*meant_to_be("mask"), *meant_to_be("frame")])
def test_a_mask_vector_is_written_byte_for_byte(name: str) -> None:
    data, meaning = vector(name)
    header = parse_header(data)
    if header.minor != message.MINOR or meaning.get("later"):
        assert pack_header(header) != data[:HEADER_SIZE], "only what a later version writes may differ"
        return
    packed = pack_header(header) + pack_mask(np.array(meaning["labels"], np.uint8), header.format.bits)
    assert packed == data


@pytest.mark.parametrize("name", meant_to_be("image"))
def test_an_image_vector_is_read_as_its_json_says(name: str) -> None:
    data, meaning = vector(name)
    header, expected = parse_image(data), header_of(meaning)
    assert (header.width, header.height) == (expected.pop("width"), expected.pop("height"))
    assert list(header.region) == expected.pop("region")
    assert (expected.pop("bits"), expected.pop("classes")) == (0, 0)
    for field, value in expected.items():
        assert getattr(header.mask, field) == value, field
    assert data[header.payload_offset :] == (VECTORS / "picture.jpg").read_bytes()


def test_an_image_is_written_byte_for_byte_from_its_masks_header() -> None:
    data, meaning = vector("image")
    jpeg = (VECTORS / "picture.jpg").read_bytes()
    sent_ns = meaning["header"]["publish_timestamp_ns"]
    mask = vector("mask-8bit")[0]
    assert image_header(mask, 16, 8, Region(*meaning["header"]["region"]), sent_ns, len(jpeg)) + jpeg == data


def test_a_state_that_is_not_known_is_a_status_like_others() -> None:
    state = vector("status-unknown-state")[1]["body"]["state"]
    assert state not in STATES
    assert parse_json(vector("status-unknown-state")[0])[2]["state"] == state


@pytest.mark.parametrize("name", [*meant_to_be("info"), *meant_to_be("status")])
def test_a_json_vector_is_read_and_written(name: str) -> None:
    data, meaning = vector(name)
    kind, camera, body = parse_json(data)
    assert (kind, camera, body) == (meaning["kind"], meaning["camera"], meaning["body"])
    assert pack_json(kind, camera, body) == data


@pytest.mark.parametrize("name", meant_to_be("malformed"))
def test_a_malformed_vector_is_refused_for_its_reason(name: str) -> None:
    data, meaning = vector(name)
    parse = {"mask": parse_header, "image": parse_image, "json": parse_json}[meaning["read_as"]]
    with pytest.raises(MessageError, match=re.escape(meaning["error"])):
        parse(data)


# -- the specification ----------------------------------------------------------------------------


def rows_of(section: str) -> list[list[str]]:
    """The cells of the first table after a heading of docs/messages.md."""
    text = (ROOT / "docs" / "messages.md").read_text("utf-8").split(f"\n{section}\n")[1]
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def test_the_documented_table_of_an_images_header_is_what_stands_behind_a_masks() -> None:
    end = HEADER_SIZE
    for offset, size, kind, *_ in rows_of("## `image/<camera>`"):
        assert (int(offset), kind) == (end, "f64")
        end += int(size)
    assert end == message.IMAGE_HEADER_SIZE


def test_the_documented_table_of_bytes_is_the_header() -> None:
    rows = rows_of("## `mask/<camera>`: the header")
    end = 0
    formats = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
    documented = "<"
    for offset, size, kind, _, _ in rows:
        assert int(offset) == end
        end += int(size)
        documented += formats.get(kind, f"{size}s")
    assert end == HEADER_SIZE == 128
    # The last reserved bytes are no field of the struct.
    assert documented.removesuffix("12s") + "12x" == HEADER.format


@pytest.mark.parametrize(("section", "fields"), [("info", INFO_FIELDS), ("status", STATUS_FIELDS)])
def test_the_documented_json_fields_are_those_that_readers_check(
    section: str, fields: dict[str, Any]
) -> None:
    words = {int: "integer", str: "text", float: "number", bool: "boolean", dict: "object"}
    checked: dict[str, str] = {}
    for key, form in fields.items():
        if isinstance(form, dict):
            checked |= {f"{key}.{inner}": words[kind] for inner, kind in form.items()}
        else:
            arrays = {str: "array of text", int: "array of integer"}
            checked[key] = arrays[form[0]] if isinstance(form, list) else words[form]
    assert {row[0].strip("`"): row[1] for row in rows_of(f"## `{section}/<camera>`")} == checked


def test_the_documented_states_are_all() -> None:
    text = (ROOT / "docs" / "messages.md").read_text("utf-8").split("| `state` | meaning |")[1]
    assert tuple(re.findall(r"^\| `([a-z-]+)` \|", text, re.M)) == STATES


# -- hostile bytes --------------------------------------------------------------------------------


def only_message_errors(data: bytes | memoryview) -> None:
    for parse in (parse_header, parse_image, parse_json):
        try:
            result = parse(data)
        except MessageError:
            continue
        if isinstance(result, MaskHeader):
            labels = unpack_mask(data[result.payload_offset :], result.format)
            assert labels.shape == (result.format.height, result.format.width)


@quick
@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_a_message_error(data: bytes) -> None:
    only_message_errors(data)
    only_message_errors(memoryview(data))


@quick
@given(
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), max_size=4),
    st.data(),
)
def test_damaged_messages_raise_nothing_but_a_message_error(
    name: str, changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    damaged = bytearray(vector(name)[0])
    for place, value in changes:
        if place < len(damaged):
            damaged[place] = value
    only_message_errors(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    only_message_errors(bytes(damaged))


ANYTHING = st.sampled_from([None, True, 0, -1, 1.5, 1e300, float("inf"), "", "x", [], [None], {}, {"x": 1}])


@quick
@given(st.sampled_from(["info", "status"]), st.data())
def test_any_value_in_any_json_field_raises_nothing_but_a_message_error(
    kind: str, data: st.DataObject
) -> None:
    body = vector("info" if kind == "info" else "status-running")[1]["body"]
    place = body
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(ANYTHING)
    only_message_errors(topic(kind, "cam0") + json.dumps(body).encode())
    only_message_errors(topic(kind, "cam0") + json.dumps(place[key]).encode())


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"schema":' + b"9" * 5000 + b"}", b"\xff", b'{"a":' * 50_000, b"NaN"]
)
def test_json_that_hurts_parsers_is_a_message_error(text: bytes) -> None:
    with pytest.raises(MessageError):
        parse_json(topic("status", "cam0") + text)


@pytest.mark.parametrize("value", ["1e999", "-1e999", "1" + "0" * 400, '"30"', "null", "true"])
def test_a_rate_that_is_no_finite_number_is_refused(value: str) -> None:
    good = vector("status-running")[0]
    bad = re.sub(rb'"fps":[0-9.]+,"reason"', b'"fps":%s,"reason"' % value.encode(), good)
    bad = bad if bad != good else re.sub(rb'"fps":[0-9.]+', b'"fps":%s' % value.encode(), good)
    assert bad != good
    with pytest.raises(MessageError, match="fps is not a finite number"):
        parse_json(bad)


# -- round trips ----------------------------------------------------------------------------------

U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)


@quick
@given(
    st.sampled_from([1, 2, 4, 8]), st.integers(1, 40), st.integers(1, 20), st.randoms(use_true_random=False)
)
def test_a_mask_of_any_size_comes_back_as_it_went(bits: int, width: int, height: int, random: Any) -> None:
    labels = np.array([[random.randrange(1 << bits) for _ in range(width)] for _ in range(height)], np.uint8)
    packed = pack_mask(labels, bits)
    form = MaskFormat(width, height, bits, 2)
    assert len(packed) == form.size_bytes
    assert np.array_equal(unpack_mask(packed, form), labels)


@quick
@given(st.data())
def test_a_header_with_any_values_comes_back_as_it_went(data: st.DataObject) -> None:
    draw = data.draw
    form = MaskFormat(
        draw(st.integers(1, 64)),
        draw(st.integers(1, 64)),
        draw(st.sampled_from([1, 2, 4, 8])),
        draw(st.integers(0, 255)),
    )
    header = MaskHeader(
        camera=draw(st.from_regex(message.CAMERA_NAME, fullmatch=True)),
        format=form,
        sequence=draw(U64),
        session=draw(U64),
        sensor_timestamp_ns=draw(U64),
        publish_timestamp_ns=draw(U64),
        dropped_camera=draw(U32),
        dropped_daemon=draw(U32),
        backend=draw(st.from_regex(r"[a-z0-9+_-]{0,16}", fullmatch=True)),
        model_hash=draw(st.binary(min_size=16, max_size=16)),
        fallback=draw(st.booleans()),
        payload_offset=HEADER_SIZE,
        payload_size=form.size_bytes,
        kind=draw(st.sampled_from(["mask", "frame"])),
    )
    assert parse_header(pack_header(header) + bytes(form.size_bytes)) == header


def test_counters_of_a_long_run_wrap_instead_of_failing() -> None:
    header = parse_header(vector("mask-8bit")[0])
    wrapped = pack_header(replace(header, dropped_camera=2**32 + 3, dropped_daemon=2**32))
    again = parse_header(wrapped + bytes(header.payload_size))
    assert (again.dropped_camera, again.dropped_daemon) == (3, 0)


# -- what a writer may not do ---------------------------------------------------------------------


@pytest.mark.parametrize("camera", ["", "Cam0", "ninechars", "cam 0", "cam0\n", "a/b"])
def test_a_camera_name_that_does_not_fit_the_topic_is_refused(camera: str) -> None:
    with pytest.raises(ValueError, match="camera name"):
        topic("mask", camera)


def test_a_label_too_big_for_its_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="label 4 does not fit in 2 bits"):
        pack_mask(np.array([[4]], np.uint8), 2)


def test_numbers_that_json_lacks_are_never_sent() -> None:
    with pytest.raises(ValueError):
        pack_json("status", "cam0", {"fps": float("nan")})


def test_texts_leave_printable_on_one_line_and_bounded() -> None:
    body: dict[str, Any] = json.loads(json.dumps(vector("status-no-camera")[1]["body"]))
    body["reason"] = "the stick said \x1b[2J\n" + "no " * 1000
    body["accelerator"] = {"serial\x07": ["a\u202eb"], "deep": [[[[[[[[[[[["x"]]]]]]]]]]]]}
    read = parse_json(pack_json("status", "cam0", body))[2]
    assert read["reason"].startswith("the stick said ?[2J no no")
    assert len(read["reason"]) == message.TEXT_CHARACTERS
    assert read["reason"].isprintable()
    assert read["accelerator"]["serial?"] == ["a?b"]
    assert "x" not in json.dumps(read["accelerator"]["deep"])


def test_session_numbers_are_exact_in_every_json_reader() -> None:
    sessions = {new_session() for _ in range(1000)}
    assert len(sessions) == 1000
    assert all(0 < session < 2**53 and int(float(session)) == session for session in sessions)

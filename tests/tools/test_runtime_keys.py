"""What was measured of the runtimes gets into ``model.toml``, and nothing else of it changes."""

from __future__ import annotations

import re
import tomllib

import pytest
from runtime_keys import with_key

from gnetsegd.model import SHIPPED

PLAIN = 'schema = 1\n\n[mask]\nwidth = 2\n\n[data]\nnote = "[runtime]"\n\n[speed]\nms = 1.0\n'
KEYED = [path for path in SHIPPED.glob("*/model.toml") if "runtime" in tomllib.loads(path.read_text("utf-8"))]


def test_a_network_that_is_cheaper_under_the_other_says_so_and_by_how_much() -> None:
    text = with_key(PLAIN, {"litert": 100e6, "tflite-runtime": 90.06e6})
    assert tomllib.loads(text) == tomllib.loads(PLAIN) | {"runtime": {"aarch64": "tflite-runtime"}}
    assert "90.1 against 100.0 million instructions" in text


@pytest.mark.parametrize("other", [98e6, 100e6, 200e6])
def test_one_that_is_not_or_hardly_has_no_key_and_loses_one_that_it_had(other: float) -> None:
    assert with_key(PLAIN, {"litert": 100e6, "tflite-runtime": other}) == PLAIN
    had = with_key(PLAIN, {"litert": 100e6, "tflite-runtime": 50e6})
    assert with_key(had, {"litert": 100e6, "tflite-runtime": other}) == PLAIN


def test_a_second_measurement_takes_the_place_of_the_first() -> None:
    first = with_key(PLAIN, {"litert": 100e6, "tflite-runtime": 50e6})
    second = with_key(first, {"litert": 100e6, "tflite-runtime": 60e6})
    assert second == first.replace("50.0 against", "60.0 against")


def test_what_it_says_of_other_machines_stays() -> None:
    text = PLAIN.replace("[data]", '[runtime]\nx86_64 = "tflite-runtime"\n\n[data]')
    found = tomllib.loads(with_key(text, {"litert": 100e6, "tflite-runtime": 50e6}))
    assert found["runtime"] == {"aarch64": "tflite-runtime", "x86_64": "tflite-runtime"}
    assert with_key(text, {"litert": 100e6, "tflite-runtime": 100e6}) == text


def test_a_runtime_that_was_not_measured_changes_nothing() -> None:
    for path in KEYED:
        text = path.read_text("utf-8")
        assert with_key(text, {"litert": 1e6, "tflite-runtime": None}) == text


def test_a_file_whose_last_table_is_not_the_data_gets_it_at_its_end() -> None:
    text = with_key("schema = 1\n", {"litert": 100e6, "tflite-runtime": 50e6})
    assert tomllib.loads(text) == {"schema": 1, "runtime": {"aarch64": "tflite-runtime"}}


def test_the_shipped_bundles_say_it_as_the_script_writes_it() -> None:
    assert KEYED
    for path in KEYED:
        text = path.read_text("utf-8")
        figures = re.search(r"# Of an emulated Cortex-A53: ([\d.]+) against ([\d.]+) million", text)
        assert figures is not None, path
        other, litert = (1e6 * float(figure) for figure in figures.groups())
        assert with_key(text, {"litert": litert, "tflite-runtime": other}) == text, path

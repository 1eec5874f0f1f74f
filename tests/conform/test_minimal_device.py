"""The example of a device, written from the page alone, is one: for gnetseg-conform and for gnetsegd."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gnetseg_conform import mock
from gnetseg_conform.bench import Bench
from gnetseg_conform.registry import CASES
from gnetseg_conform.run import ORDER, check, leave, run
from gnetseg_conform.wire import Wire
from numpy.typing import NDArray

from gnetsegd.accelerators.usb import UsbAccelerator, UsbOptions
from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link.constants import USB_ID
from gnetsegd.model import ModelBundle
from gnetsegd.testing.road import Road

EXAMPLE = Path(__file__).parents[2] / "examples" / "device" / "minimal_device.py"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("minimal_device", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_needs_the_standard_library_alone() -> None:
    imported = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.parse(EXAMPLE.read_text("utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported <= set(sys.stdlib_module_names)


def test_every_case_that_applies_to_it_passes(example: Any) -> None:
    bench = Bench(Wire(USB_ID, backend=example.backend()), mock.TIMES, destructive=True)
    results = list(run(bench, ORDER))
    assert {result.case.name: result.words for result in results if result.outcome == "failed"} == {}
    assert leave(bench) == ""
    skipped = {result.case.name for result in results if result.outcome == "skipped"}
    # It has one encoding, rows that fill their bytes, luminance alone, a model, and takes no other.
    assert skipped <= {
        "padding-is-zero", "encoding-too-small", "yuv420", "no-model", *(
            case.name for case in ORDER if case.check.__module__.endswith("cases_upload")
        )
    }  # fmt: skip
    assert "upload-not-offered" not in skipped


def test_more_than_was_asked_for_is_told_as_by_a_real_bus(
    example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A maker's device may leave it to his USB stack to cut what is too long; a real one does not."""
    real = example.MinimalDevice.control_in
    monkeypatch.setattr(example.MinimalDevice, "control_in", lambda self, number, _: real(self, number, 512))
    result = check(Bench(Wire(USB_ID, backend=example.backend()), mock.TIMES), CASES["shorter-request"])
    assert (result.outcome, result.words) == ("failed", "CAPABILITIES: more came than the longest answer has")


def test_gnetsegd_has_right_masks_from_it(example: Any, ipc_endpoint: str) -> None:
    spec = FrameSpec(example.WIDTH, example.HEIGHT, "Y")
    bundle = ModelBundle(
        id="minimal", title="", licence="", path=Path(), sha256=example.MODEL, content=bytes(40), input=spec,
        mask=MaskFormat(spec.width, spec.height, 8, 2), labels=("dark", "bright"),
    )  # fmt: skip
    accelerator = UsbAccelerator(bundle, UsbOptions(), example.backend())
    with Road(accelerator, bundle, Threshold(), ipc_endpoint) as road:
        road.wait_for_masks(50)
    assert road.problems() == []


class Threshold:
    """What the example's chip computes, by numpy."""

    def run(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        np.copyto(out, pixels >= 128)

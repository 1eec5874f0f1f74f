"""The demo shows a real clip, and says clearly when it cannot."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from types import ModuleType

DEMO = Path(__file__).parents[2] / "tools" / "demo"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    av = pytest.importorskip("av", reason="the demo decodes a clip with PyAV")
    assert av
    monkeypatch.syspath_prepend(str(DEMO))
    import demo

    return demo


def run(demo: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["demo.py", *arguments])
    code = demo.main()
    assert isinstance(code, int)
    return code


def test_the_clip_is_small_and_credited() -> None:
    assert (DEMO / "clip.mp4").stat().st_size < 300_000
    credit = (DEMO / "ATTRIBUTION.md").read_text("utf-8")
    for word in ("clip.mp4", "Intel", "CC-BY-4.0", "creativecommons.org/licenses/by/4.0", "Changes:"):
        assert word in credit


def test_the_demo_ends_with_one_line_of_json_and_a_film(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import av
    from PIL import Image

    assert run(demo, monkeypatch, "--seconds", "0.6", "--output", str(tmp_path)) == 0
    result = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
    assert set(result) == {
        "masks",
        "fps",
        "latency_ms_p50",
        "latency_ms_p99",
        "dropped",
        "backend",
        "model",
    }
    assert result["masks"] > 1
    assert result["fps"] > 0
    assert 0 < result["latency_ms_p50"] <= result["latency_ms_p99"]
    assert (result["backend"], result["model"]) == ("standin", "person")
    with av.open(str(tmp_path / "overlay.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert 1 < len(frames) <= result["masks"]
    with Image.open(tmp_path / "overlay.png") as image:
        picture = np.asarray(image).astype(int)
    assert picture.shape == frames[0].shape
    # The picture is grey but for the person.
    tinted = np.ptp(picture[:480], axis=2) > 20
    assert 0.02 < tinted.mean() < 0.9


def test_a_daemon_that_cannot_start_is_its_own_sentence_and_code(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "CLIP", tmp_path / "nowhere.mp4")
    assert run(demo, monkeypatch, "--seconds", "1", "--output", str(tmp_path)) == 66
    out, err = capfd.readouterr()
    assert "nowhere.mp4: there is no such file" in err
    assert "Traceback" not in err
    assert out == ""


def test_dropped_counts_from_the_first_mask(demo: ModuleType) -> None:
    from fake_publisher import FakePublisher, person

    from gnetsegd.client import ReceivedMask

    show = demo.Show()
    with FakePublisher("inproc://unused") as speaker:
        for sequence, drops in ((10, 4), (13, 6)):
            header = speaker.header(person(), sequence, dropped_daemon=drops, dropped_camera=1)
            payload = memoryview(person().tobytes())
            show.add_mask(ReceivedMask(header, 0, 0, 0, False, payload, lambda _: speaker.info_body()))
    assert show.dropped(missed=0) == 2
    assert show.dropped(missed=3) == 5
    assert show.masks == 2

"""A recording is a camera again: what was shown is shown, in order, to any network that can take it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gnetsegd.cameras import CaptureRequest
from gnetsegd.cameras.recorded import RecordedCamera, RecordedOptions
from gnetsegd.errors import ConfigError, EndOfVideo, PermanentError
from gnetsegd.frame import Frame, FrameSpec
from gnetsegd.recordings.writing import RecordingWriter

from .made import BEGIN_NS, SIZE, STEP_NS, message, recording


def played(path: Path, spec: FrameSpec, **options: object) -> tuple[RecordedCamera, list[Frame]]:
    """Every picture, with its camera, which is closed."""
    camera = RecordedCamera(RecordedOptions(path=str(path), rate="max", loop=False, **options))  # type: ignore[arg-type]
    camera.open(CaptureRequest(spec, 0.0, "stretch", 5.0))
    found = []
    try:
        while True:
            frame = Frame(spec, 0)
            camera.capture(frame)
            found.append(frame)
    except EndOfVideo:
        return camera, found
    finally:
        camera.close()


@pytest.mark.parametrize("finish", [True, False])
def test_what_a_network_saw_is_shown_again_to_the_last_bit(tmp_path: Path, finish: bool) -> None:
    path = recording(tmp_path / "a.mcap", ("mask", "frame"), count=8, finish=finish)
    _, found = played(path, FrameSpec(*SIZE))
    assert [frame.sequence for frame in found] == list(range(8))
    for number, frame in enumerate(found):
        assert (frame.pixels == 40 + 10 * number).all()


@pytest.mark.parametrize("pixel_format", ["Y", "YUV444", "RGB"])
def test_pictures_in_colour_serve_any_network(tmp_path: Path, pixel_format: str) -> None:
    path = recording(tmp_path / "a.mcap", ("mask", "frame", "image"), count=4)
    camera, found = played(path, FrameSpec(24, 24, pixel_format))
    assert len(found) == 4
    first = [
        int(np.median(frame.pixels[..., 0] if frame.pixels.ndim == 3 else frame.pixels)) for frame in found
    ]
    assert np.abs(np.array(first) - (40 + 10 * np.arange(4))).max() <= 3
    assert camera.info is not None
    assert camera.info.geometry.sensor_width == SIZE[0] * 4


@pytest.mark.parametrize("jump_s", [1.7e9, -1.5e9])
def test_a_clock_that_was_set_among_its_first_pictures_makes_no_other_rate(
    tmp_path: Path, jump_s: float
) -> None:
    path = tmp_path / "a.mcap"
    writer = RecordingWriter(path)
    for number in range(10):
        at_ns = BEGIN_NS + number * STEP_NS + (int(jump_s * 1e9) if number >= 5 else 0)
        writer.add("frame", "frame/cam0", message("frame", number), at_ns, at_ns, number)
    writer.finish()
    camera = RecordedCamera(RecordedOptions(path=str(path)))
    assert camera.open(CaptureRequest(FrameSpec(*SIZE), 0.0, "stretch", 5.0)).fps == pytest.approx(10.0)
    camera.close()


def test_at_its_own_rate_it_is_as_it_was(tmp_path: Path) -> None:
    camera = RecordedCamera(RecordedOptions(path=str(recording(tmp_path / "a.mcap", ("frame",)))))
    info = camera.open(CaptureRequest(FrameSpec(*SIZE), 0.0, "stretch", 5.0))
    assert info.fps == pytest.approx(10.0)
    assert info.live
    camera.close()


def test_luminance_alone_is_refused_by_a_network_that_takes_colour(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", ("mask", "frame"))
    with pytest.raises(
        PermanentError, match=r"only the luminance that a network saw.*RGB; record with --picture"
    ):
        played(path, FrameSpec(*SIZE, "RGB"))


@pytest.mark.parametrize(
    ("kinds", "options", "words"),
    [
        (("mask",), {}, "has no pictures; record them with --picture or --frames"),
        (("frame",), {"camera": "cam1"}, "has no pictures of camera cam1"),
    ],
)
def test_a_recording_without_pictures_says_how_to_make_one(
    tmp_path: Path, kinds: tuple[str, ...], options: dict[str, object], words: str
) -> None:
    with pytest.raises(PermanentError, match=words):
        played(recording(tmp_path / "a.mcap", kinds), FrameSpec(*SIZE), **options)


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="there is no such recording"):
        played(tmp_path / "none.mcap", FrameSpec(*SIZE))
    with pytest.raises(ConfigError, match=r"set camera\.recorded\.path"):
        RecordedCamera(RecordedOptions()).open(CaptureRequest(FrameSpec(*SIZE), 0.0, "stretch", 5.0))
    bad = tmp_path / "bad.mcap"
    bad.write_bytes(b"nothing")
    with pytest.raises(PermanentError, match="no MCAP file"):
        played(bad, FrameSpec(*SIZE))

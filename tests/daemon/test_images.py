"""Pictures in colour from the whole daemon: each is of its own mask's frame."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gnetsegd.client import MaskSubscriber, ReceivedMask

from .conftest import MODELS, RunningDaemon

Start = Callable[..., RunningDaemon]
pytestmark = pytest.mark.runtime

COLOURS = [(20 * n, 255 - 20 * n, 90 + 10 * n) for n in range(12)]


def pictured(masks: MaskSubscriber, count: int) -> list[ReceivedMask]:
    """The next masks that have a picture."""
    found: list[ReceivedMask] = []
    deadline = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} came: {masks.last_error}"
        mask = masks.receive(0.2)
        if mask is not None and mask.jpeg is not None:
            found.append(mask)
    return found


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Twelve flat colours of 64x48, in turn."""
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (64, 48), colour).save(tmp_path / f"{number:02}.png")
    return tmp_path


def test_each_picture_is_that_of_its_masks_own_frame(start: Start, film: Path) -> None:
    daemon = start(
        "camera.driver=video", f"camera.video.path={film}", "camera.video.rate=fps", "camera.fps=60",
        "publish.images=true", "publish.image_fps=30", "publish.image_quality=2",
    )  # fmt: skip
    with MaskSubscriber(daemon.endpoint, picture=True) as masks:
        for mask in pictured(masks, 20):
            assert mask.picture is not None
            assert mask.picture.shape == (48, 64, 3)
            red, green, blue = COLOURS[mask.sequence % len(COLOURS)]
            assert abs(mask.picture.astype(int) - (red, green, blue)).max() <= 8
            grey = 0.299 * red + 0.587 * green + 0.114 * blue
            if abs(grey - 128) > 4:
                assert (mask.person == (grey > 128)).all()
            assert mask.picture_region == (0, 0, 1, 1)
            assert mask.on_picture(mask.person).shape == (48, 64)


def test_a_camera_without_pictures_of_its_own_shows_what_the_network_saw(start: Start) -> None:
    daemon = start(
        "camera.fps=60", "publish.frames=true", "publish.images=true", "publish.image_fps=30",
        "publish.image_quality=2", f"model.bundle={MODELS / 'threshold-224'}",
    )  # fmt: skip
    with MaskSubscriber(daemon.endpoint, picture=True, frames=True) as masks:
        for mask in pictured(masks, 5):
            assert mask.frame is not None
            assert mask.picture is not None
            assert np.median(abs(mask.picture[..., 1].astype(int) - mask.frame)) <= 3


def test_a_reload_switches_pictures_on_and_off_and_loses_no_mask(start: Start, film: Path) -> None:
    text = f"""
        [camera]
        driver = "video"
        fps = 30
        [camera.video]
        path = "{film}"
        rate = "fps"
        [accelerator]
        driver = "standin"
        [model]
        bundle = "{MODELS / "threshold-32"}"
        [publish]
        status_interval_s = 0.1
        send_hwm_messages = 1000
        image_fps = 30
        """
    daemon = start(config=text)
    with (
        MaskSubscriber(daemon.endpoint, newest_only=False) as every,
        MaskSubscriber(daemon.endpoint, picture=True) as masks,
    ):
        first = every.receive(20)
        assert first is not None
        mask = masks.receive(5)
        assert mask is not None
        assert mask.jpeg is None
        daemon.config.write_text(text.replace("image_fps = 30", "image_fps = 30\nimages = true"))
        daemon.signal(signal.SIGHUP)
        pictured(masks, 3)
        daemon.config.write_text(text)
        daemon.signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while True:
            assert time.monotonic() < deadline, "pictures still come"
            mask = masks.receive(1)
            if mask is not None and mask.jpeg is None:
                break
        while every.receive(0) is not None:
            pass
        assert (every.missed, every.restarts) == (0, 0)

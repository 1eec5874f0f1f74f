"""One camera, shared: a second program reads the page's pictures as it reads any network camera."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from fake_publisher import FakeDaemon
from served_page import Page

from gnetsegd.cameras import CaptureRequest
from gnetsegd.cameras.network import NetworkCamera, NetworkOptions
from gnetsegd.errors import NotYet
from gnetsegd.frame import Frame, FrameSpec

SPEC = FrameSpec(64, 48)


def test_the_pages_pictures_are_a_network_camera(serve: Callable[..., Page], ipc_endpoint: str) -> None:
    with FakeDaemon(ipc_endpoint, images=True) as daemon:
        page = serve(daemon.endpoint)
        camera = NetworkCamera(NetworkOptions(url=f"http://127.0.0.1:{page.port}/picture.mjpg"))
        info = camera.open(CaptureRequest(SPEC, 0.0, "stretch", 5.0))
        try:
            assert info.live
            frame, times = Frame(SPEC, 0), list[int]()
            deadline = time.monotonic() + 20
            while len(times) < 3:
                assert time.monotonic() < deadline, "no pictures came"
                try:
                    camera.capture(frame)
                except NotYet:
                    continue
                times.append(frame.sensor_timestamp_ns)
            assert times == sorted(set(times))
            assert np.ptp(frame.pixels) > 20, "a picture, not a grey one"
        finally:
            camera.close()

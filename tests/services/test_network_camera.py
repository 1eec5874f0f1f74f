"""Network cameras against GStreamer's RTSP server and FFmpeg's own programs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "tools" / "bench"
sys.path.insert(0, str(BENCH))
import numbered  # noqa: E402 - of tools/bench

from gnetsegd.cameras import CaptureRequest  # noqa: E402
from gnetsegd.cameras.network import NetworkCamera, NetworkOptions  # noqa: E402
from gnetsegd.cameras.scale import Scaler  # noqa: E402
from gnetsegd.errors import AccessRefused, NotYet, PermanentError, TransientError  # noqa: E402
from gnetsegd.frame import Frame, FrameSpec  # noqa: E402

TLS = ROOT / "tests" / "data" / "tls"
SIZE, FPS, GROUP, UNITS = (320, 180), 25, 25, 100
SPEC = FrameSpec(320, 180)
PAYLOADS = {"libx264": ("h264parse", "rtph264pay"), "libx265": ("h265parse", "rtph265pay")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module", params=["libx264", "libx265"])
def film(request, tmp_path_factory):
    """The codec, a film of it, and what each of its pictures is."""
    path = tmp_path_factory.mktemp("film") / "film.ts"
    units = numbered.encode(UNITS, *SIZE, FPS, GROUP, request.param)
    numbered.write_film(path, units, SIZE, FPS, 6, request.param)
    scaler, references = Scaler(SPEC, "stretch"), []
    for image in numbered.decoded(units, {"libx264": "h264", "libx265": "hevc"}[request.param]):
        references.append(np.empty(SPEC.shape, np.uint8))
        scaler.scale(image, references[-1])
    return request.param, path, references


class RtspServer:
    def __init__(self, codec: str, path: Path, *login: str) -> None:
        parse, pay = PAYLOADS[codec]
        launch = f"filesrc location={path} ! tsdemux ! {parse} ! {pay} name=pay0 pt=96 config-interval=1"
        self.port = free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        self._command = ["/usr/bin/python3", str(BENCH / "rtsp_server.py"), str(self.port), launch, *login]

    def __enter__(self) -> RtspServer:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()


def opened(url, **options):
    camera = NetworkCamera(NetworkOptions(url=url, **options))
    return camera, camera.open(CaptureRequest(SPEC, 0.0, "stretch", 1.6))


def check_pictures(camera, references, count):
    """So many more pictures, each of which is one that was sent, whole, and of its own time."""
    frame, before_ns, taken = Frame(SPEC, 10), 0, 0
    end = time.monotonic() + 30
    while taken < count:
        assert time.monotonic() < end
        try:
            camera.capture(frame)
        except NotYet:
            continue
        taken += 1
        number = numbered.number_of(frame.pixels)
        assert abs(frame.pixels.astype(int) - references[number]).mean() < 0.5
        assert before_ns < frame.sensor_timestamp_ns <= time.monotonic_ns()
        before_ns = frame.sensor_timestamp_ns


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_is_read(transport, film):
    codec, path, references = film
    with RtspServer(codec, path) as server:
        if codec == "libx265" and transport == "udp":
            with pytest.raises(PermanentError, match=r"H\.265 over UDP"):
                opened(server.url, transport=transport)
            return
        camera, info = opened(server.url, transport=transport)
        check_pictures(camera, references, 60)
        camera.close()
    assert f"{SIZE[0]}x{SIZE[1]}, decoded by" in info.description


def test_a_server_that_ends_is_told_and_read_again_when_it_is_back(film):
    codec, path, references = film
    for _ in range(2):
        with RtspServer(codec, path) as server:
            camera, _ = opened(server.url)
            check_pictures(camera, references, 5)
        with pytest.raises(TransientError):
            check_pictures(camera, references, 500)
        camera.close()


def test_a_password_is_needed_and_a_wrong_one_is_called_so(film, tmp_path):
    codec, path, references = film
    (tmp_path / "password").write_text("right/pass word\n")
    with RtspServer(codec, path, "viewer:right/pass word") as server:
        with pytest.raises(AccessRefused, match="user or password is wrong") as caught:
            opened(server.url.replace("//", "//viewer:guessed@"))
        assert "guessed" not in str(caught.value)
        camera, info = opened(server.url, user="viewer", password_file=str(tmp_path / "password"))
        check_pictures(camera, references, 5)
        camera.close()
    assert "viewer" not in info.description


def test_a_path_that_the_camera_has_not_is_told(film):
    codec, path, _ = film
    with RtspServer(codec, path) as server, pytest.raises(TransientError, match=r"nothing under this path"):
        opened(server.url.replace("/cam", "/none"))


@pytest.mark.parametrize("film", ["libx264"], indirect=True)
def test_rtsps_is_read_where_the_certificate_is_good_or_need_not_be(film, tmp_path):
    codec, path, references = film
    both = tmp_path / "both.pem"
    both.write_text((TLS / "good.pem").read_text() + (TLS / "key.pem").read_text())
    with RtspServer(codec, path, "", str(both)) as server:
        url = server.url.replace("rtsp:", "rtsps:").replace("127.0.0.1", "localhost")
        with pytest.raises(TransientError, match=r"certificate is not good .self.signed"):
            opened(url)
        for options in ({"ca_file": str(TLS / "good.pem")}, {"verify": False}):
            camera, _ = opened(url, **options)
            check_pictures(camera, references, 5)
            camera.close()


@pytest.mark.parametrize("film", ["libx264"], indirect=True)
def test_rtmp_is_read(film):
    _, path, references = film
    url = f"rtmp://127.0.0.1:{free_port()}/live/cam"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-re",
        "-i",
        str(path),
        "-c",
        "copy",
        "-f",
        "flv",
        "-listen",
        "1",
        url,
    ]
    with subprocess.Popen(command) as ffmpeg:
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    camera, _ = opened(url)
                    break
                except TransientError:
                    assert time.monotonic() < end
                    time.sleep(0.2)
            check_pictures(camera, references, 30)
            camera.close()
        finally:
            ffmpeg.kill()


@pytest.mark.timeout(180)
def test_the_bench_sees_nothing_concealed_where_packets_are_lost():
    command = [sys.executable, str(BENCH / "rtsp.py"), "--json", "--seconds", "10", "--kills", "2"]
    done = subprocess.run(
        [*command, "--size", "640x360"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ,
        timeout=170,
        check=False,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["concealed_masks"] == 0
    assert result["masks"] > 150
    assert result["keys_masked"] > 0
    assert result["slow_masks"] > 0
    assert result["slow_age_s_max"] < 10
    assert result["slow_untrue_s_max"] < 1
    assert result["killed"] == 2

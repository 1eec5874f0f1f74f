"""The sources that come over a network, each from a real sender on this machine's own addresses.

RTSP from GStreamer, RTMP and MPEG-TS over UDP from ffmpeg, HLS and motion JPEG from an HTTP server of Python:
``tools/setup/services-packages.sh`` brings what they need. They send the clip again and again.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numbered
import sources_made as made

from gnetsegd.cameras.network import NetworkCamera, NetworkOptions
from gnetsegd.errors import TransientError

FPS = 20
#: Of the clip, in a film: longer than any case.
REPEAT = 40
DEBIAN_PYTHON = "/usr/bin/python3"
RTSP_SERVER = Path(__file__).with_name("rtsp_server.py")
START_S = 20.0
#: What was started for a case; to be closed after it.
SERVERS = contextlib.ExitStack()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(*command: str) -> subprocess.Popen[bytes]:
    """Run until the case is over. ``RuntimeError`` where it is not installed."""
    if shutil.which(command[0]) is None:
        raise RuntimeError(f"{command[0]} is not installed; run tools/setup/services-packages.sh")
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )

    def end() -> None:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    SERVERS.callback(end)
    return process


def serve(handler: Any) -> str:
    """An HTTP server in threads; its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    SERVERS.callback(server.server_close)
    SERVERS.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_address[1]}"


def long_film(folder: Path, shown: list[made.Picture]) -> Path:
    """MPEG-TS of the clip, again and again, as an H.264 camera sends it."""
    short = made.film(folder / "short.ts", shown, b_frames=0, fps=FPS)
    with av.open(str(short)) as container:
        units = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    numbered.write_film(folder / "film.ts", units, made.SIZE, FPS, REPEAT)
    return folder / "film.ts"


def camera_at(url: str, **options: Any) -> Callable[[], Any]:
    return lambda: NetworkCamera(NetworkOptions(url=url, **options))


def rtsp(folder: Path, shown: list[made.Picture], transport: str) -> Callable[[], Any]:
    port, film = free_port(), long_film(folder, shown)
    launch = f"filesrc location={film} ! tsdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1"
    process = program(DEBIAN_PYTHON, str(RTSP_SERVER), str(port), launch)
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise RuntimeError("the RTSP server does not start; run tools/setup/services-packages.sh")
    return camera_at(f"rtsp://127.0.0.1:{port}/cam", transport=transport)


def rtmp(folder: Path, shown: list[made.Picture]) -> Callable[[], Any]:
    url = f"rtmp://127.0.0.1:{free_port()}/live/cam"
    film = long_film(folder, shown)
    program("ffmpeg", "-v", "error", "-re", "-i", str(film), "-c", "copy", "-f", "flv", "-listen", "1", url)
    return camera_at(url)


def mpeg_ts(folder: Path, shown: list[made.Picture]) -> Callable[[], Any]:
    url = f"udp://127.0.0.1:{free_port()}"
    film = long_film(folder, shown)
    program(
        "ffmpeg", "-v", "error", "-re", "-i", str(film), "-c", "copy", "-f", "mpegts", f"{url}?pkt_size=1316"
    )
    return camera_at(url)


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def hls(folder: Path, shown: list[made.Picture]) -> Callable[[], Any]:
    """A static folder, as a camera's recorder or a web server has it."""
    film, playlist = long_film(folder, shown), folder / "hls"
    playlist.mkdir()
    form = ("-f", "hls", "-hls_time", "1", "-hls_list_size", "0", str(playlist / "index.m3u8"))
    if program("ffmpeg", "-v", "error", "-t", "15", "-i", str(film), "-c", "copy", *form).wait(START_S):
        raise RuntimeError("ffmpeg makes no HLS folder")
    return camera_at(f"{serve(functools.partial(_Silent, directory=str(playlist)))}/index.m3u8")


def motion_jpeg(_folder: Path, shown: list[made.Picture]) -> Callable[[], Any]:
    pictures = [made.photo(picture, "JPEG") for picture in shown]

    class Handler(_Silent):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
            self.end_headers()
            with contextlib.suppress(OSError):
                for number in range(REPEAT * len(pictures)):
                    data = pictures[number % len(pictures)]
                    head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(head.encode() + data + b"\r\n")
                    time.sleep(1 / FPS)

    return camera_at(f"{serve(Handler)}/video.mjpg")


class Patient:
    """A sender needs a moment to be there: the first opening is tried for so long."""

    def __init__(self, camera: Any) -> None:
        self._camera = camera
        self.lost = camera.lost

    def open(self, request: Any) -> Any:
        deadline = time.monotonic() + START_S
        while True:
            try:
                return self._camera.open(request)
            except TransientError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def capture(self, frame: Any) -> None:
        self._camera.capture(frame)

    def close(self) -> None:
        self._camera.close()


def sources(shown: list[made.Picture]) -> Iterator[tuple[str, Callable[[Path], Callable[[], Any]]]]:
    """(name, what starts the sender and gives its camera)."""
    makers: dict[str, Callable[[Path], Callable[[], Any]]] = {
        "rtsp-tcp": lambda folder: rtsp(folder, shown, "tcp"),
        "rtsp-udp": lambda folder: rtsp(folder, shown, "udp"),
        "rtmp": lambda folder: rtmp(folder, shown),
        "mpeg-ts-udp": lambda folder: mpeg_ts(folder, shown),
        "hls": lambda folder: hls(folder, shown),
        "mjpeg-http": lambda folder: motion_jpeg(folder, shown),
    }
    for name, maker in makers.items():

        def make(folder: Path, maker: Callable[[Path], Callable[[], Any]] = maker) -> Callable[[], Any]:
            camera = maker(folder)
            return lambda: Patient(camera())

        yield name, make

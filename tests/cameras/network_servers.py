"""Real senders of video for network cameras: HTTP servers that also lie, FFmpeg's own RTMP and UDP."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from .helpers import av, picture_of


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scene(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Its mean level says which picture it is, for 24 of them."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    return (
        (20 + 8 * (number % 24) + 6 * np.sin((x + 3 * number) / 4) * np.cos(y / 3))
        .clip(16, 235)
        .astype(np.uint8)
    )


class Http:
    """An HTTP server whose answer is ``answer(handler)``, a method of the test's own."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None], context: Any = None) -> None:
        asked: list[str] = []
        self.asked = asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                with contextlib.suppress(OSError):
                    answer(self)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Http:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(5)


def send_parts(handler: BaseHTTPRequestHandler, parts: Iterator[bytes], pause_s: float = 0.01) -> None:
    """motion JPEG as cameras send it."""
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
    handler.end_headers()
    for part in parts:
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(part)}\r\n\r\n"
        handler.wfile.write(head.encode() + part + b"\r\n")
        time.sleep(pause_s)


class Sender:
    """A thread that sends H.264 to an address that FFmpeg can write to, until it is told to end."""

    def __init__(self, url: str, form: str, options: dict[str, str] | None = None, fps: int = 50) -> None:
        self._url, self._form, self._options, self._fps = url, form, options or {}, fps
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        with contextlib.suppress(OSError, av.FFmpegError):
            _encode(self._url, self._form, self._options, self._fps, lambda: self._stop.wait(1 / self._fps))

    @staticmethod
    def write(path: str, form: str, options: dict[str, str], fps: int, frames: int) -> None:
        """The same into a file, as fast as it goes."""
        left = iter(range(frames))
        _encode(path, form, options, fps, lambda: next(left, None) is None)


def _encode(url: str, form: str, options: dict[str, str], fps: int, is_over: Callable[[], bool]) -> None:
    with av.open(url, "w", format=form, options=options) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.options = {
            "tune": "zerolatency",
            "g": "12",
            "bf": "0",
            "threads": "1",
            "crf": "8",
        }
        number = 0
        while not is_over():
            image = picture_of(scene(number))
            image.pts, image.time_base = number, Fraction(1, fps)
            for packet in stream.encode(image):
                container.mux(packet)
            number += 1

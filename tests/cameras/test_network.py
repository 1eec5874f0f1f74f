"""Network cameras, against real senders: what they show, what is lost, and what bad ones get."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import logging
import os
import re
import resource
import socket
import ssl
import threading
import time
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gnetsegd.cameras import CaptureRequest, pyav
from gnetsegd.cameras.losses import Losses
from gnetsegd.cameras.network import NetworkCamera, NetworkOptions
from gnetsegd.cameras.network_decoder import Decoder
from gnetsegd.cameras.network_stream import (
    PACKET_MAX_BYTES,
    QUEUE_MAX_BYTES,
    QUEUE_MAX_PACKETS,
    About,
    Arrived,
    Opened,
    Stream,
)
from gnetsegd.cameras.pacing import NS_PER_S
from gnetsegd.errors import (
    AccessRefused,
    CameraStalled,
    ConfigError,
    GnetsegError,
    NotYet,
    TransientError,
)
from gnetsegd.frame import Frame, FrameSpec

from .helpers import av, picture_of
from .network_servers import Http, Sender, free_port, scene, send_parts

Image = pytest.importorskip("PIL.Image")

SPEC = FrameSpec(64, 48)
SECRET = "s3cr%t /pw"
TLS = Path(__file__).parents[1] / "data" / "tls"


def wanted(timeout_s=1.0, fps=0.0):
    return CaptureRequest(SPEC, fps, "stretch", timeout_s)


def camera_of(url, **options):
    return NetworkCamera(NetworkOptions(url=url, **options))


def take(camera, frame, limit_s=15.0):
    """The next frame, however often it says that it is not due."""
    end = time.monotonic() + limit_s
    while True:
        try:
            camera.capture(frame)
            return
        except NotYet:
            assert time.monotonic() < end


def play(camera, frame, stamps):
    """Until it raises something: the times of all that is shown, each of which is one of the scenes."""
    while True:
        take(camera, frame)
        assert shown(frame)[1] < 6
        stamps.append(frame.sensor_timestamp_ns)


def shown(frame):
    """Which of 24 scenes the frame shows, by its mean level; and how far it is from it."""
    want = [(scene(number).astype(float) - 16) * 255 / 219 for number in range(24)]
    apart = [abs(frame.pixels - each).mean() for each in want]
    return int(np.argmin(apart)), min(apart)


def jpeg(number, size=(64, 48)):
    data = io.BytesIO()
    limited = (scene(number, size).astype(float) - 16) * 255 / 219
    Image.fromarray(limited.round().astype(np.uint8)).save(data, "JPEG", quality=95)
    return data.getvalue()


def endless(make):
    return (make(number) for number in itertools.count())


@pytest.fixture
def frame():
    return Frame(SPEC, 10)


# -- what is shown ---------------------------------------------------------------------------------


def test_motion_jpeg_over_http_is_shown_and_a_cut_picture_is_lost(frame):
    def part(number):
        whole = jpeg(number)
        return whole[: len(whole) // 2] if number % 5 == 3 else whole

    with Http(lambda handler: send_parts(handler, endless(part))) as server:
        camera = camera_of(f"http://127.0.0.1:{server.port}/video")
        info = camera.open(wanted())
        assert info.live
        numbers = []
        for _ in range(12):
            take(camera, frame)
            number, apart = shown(frame)
            assert apart < 4
            numbers.append((frame.sequence, number))
        camera.close()
    assert all(sequence == number for sequence, number in numbers)
    assert not any(number % 5 == 3 for _, number in numbers)
    assert camera.lost["damaged"] >= 2
    assert "mjpeg 64x48, decoded by software" in info.description


def test_a_stream_that_changes_its_size_tells_a_new_geometry(frame):
    def part(number):
        return jpeg(number, (64, 48) if number < 6 else (96, 48))

    with Http(lambda handler: send_parts(handler, endless(part))) as server:
        camera = camera_of(f"http://127.0.0.1:{server.port}/")
        first = camera.open(wanted())
        for _ in range(12):
            take(camera, frame)
        camera.close()
    assert (first.geometry.sensor_width, camera.info.geometry.sensor_width) == (64, 96)
    assert "96x48" in camera.info.description


def test_the_whole_picture_of_a_frame_is_given_to_who_wants_it(frame):
    with Http(lambda handler: send_parts(handler, endless(lambda number: jpeg(number, (96, 72))))) as server:
        camera = camera_of(f"http://127.0.0.1:{server.port}/")
        camera.open(wanted())
        take(camera, frame)
        assert camera.picture() is None
        camera.wants_picture = True
        take(camera, frame)
        picture = camera.picture()
        camera.close()
    assert (picture.image.width, picture.image.height) == (96, 72)
    assert (picture.geometry.x, picture.geometry.width) == (0.0, 1.0)
    assert camera.picture() is None


@pytest.fixture(scope="module")
def playlist(tmp_path_factory):
    """A folder with HLS of 60 pictures, 20 a second."""
    folder = tmp_path_factory.mktemp("hls")
    options = {"hls_time": "1", "hls_list_size": "0"}
    Sender.write(str(folder / "live.m3u8"), "hls", options, fps=20, frames=60)
    return folder


def serve_folder(folder):
    def answer(handler):
        path = folder / handler.path.strip("/")
        if not path.is_file():
            handler.send_error(404)
            return
        kind = SimpleHTTPRequestHandler.extensions_map.get(path.suffix, "application/octet-stream")
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        handler.wfile.write(path.read_bytes())

    return Http(answer)


def test_hls_is_played_in_its_own_time_though_it_comes_in_bursts_and_ends_as_lost(playlist, frame):
    with serve_folder(playlist) as server:
        camera = camera_of(f"http://127.0.0.1:{server.port}/live.m3u8")
        camera.open(wanted())
        begun, stamps = time.monotonic(), []
        with pytest.raises(TransientError, match="the stream has ended"):
            play(camera, frame, stamps)
        lasted_s = time.monotonic() - begun
        camera.close()
    # The last two segments, as a live player begins; no faster than they were made.
    assert 20 <= len(stamps) <= 60
    assert lasted_s >= (len(stamps) - 2) / 20 - 0.3
    assert stamps == sorted(set(stamps))


def test_mpeg_ts_over_udp_is_read(frame):
    port = free_port(socket.SOCK_DGRAM)
    with Sender(f"udp://127.0.0.1:{port}?pkt_size=1316", "mpegts"):
        camera = camera_of(f"udp://127.0.0.1:{port}")
        info = camera.open(wanted(timeout_s=3.0))
        before = -1
        for _ in range(10):
            take(camera, frame)
            assert shown(frame)[1] < 6
            assert frame.sequence > before
            before = frame.sequence
        camera.close()
    assert "h264 64x48, decoded by software" in info.description


def test_a_camera_that_is_silent_is_stalled_and_one_that_hangs_up_is_lost(frame):
    gone = threading.Event()

    def parts():
        yield from (jpeg(number) for number in range(3))
        gone.wait(10)

    with Http(lambda handler: send_parts(handler, parts())) as server:
        camera = camera_of(f"http://127.0.0.1:{server.port}/")
        camera.open(wanted(timeout_s=0.5))
        begun = time.monotonic()
        with pytest.raises(
            (CameraStalled, TransientError), match=r"sent nothing for|cannot be reached|ended"
        ):
            play(camera, frame, [])
        assert time.monotonic() - begun < 8
        gone.set()
        camera.close()
        with pytest.raises(TransientError, match="not open"):
            camera.capture(frame)


def test_it_can_be_opened_again_and_again(frame):
    threads = threading.active_count()
    with Http(lambda handler: send_parts(handler, endless(jpeg))) as server:
        for _ in range(5):
            camera = camera_of(f"http://127.0.0.1:{server.port}/")
            camera.open(wanted())
            take(camera, frame)
            camera.close()
        end = time.monotonic() + 10
        while threading.active_count() > threads + 7:
            assert time.monotonic() < end
            time.sleep(0.05)


# -- who may see it --------------------------------------------------------------------------------


def guarded(kind):
    def answer(handler):
        told = handler.headers.get("Authorization", "")
        good = "Basic dXNlcjpzM2NyJXQgL3B3" if kind == "Basic" else 'username="user"'
        if good in told and (kind == "Basic" or 'response="' in told):
            send_parts(handler, endless(jpeg))
            return
        handler.send_response(401)
        nonce = ', nonce="abc", qop="auth"' if kind == "Digest" else ""
        handler.send_header("WWW-Authenticate", f'{kind} realm="cam"{nonce}')
        handler.end_headers()

    return answer


@pytest.mark.parametrize("kind", ["Basic", "Digest"])
@pytest.mark.parametrize("source", ["address", "file", "credential"])
def test_the_password_comes_from_where_it_is_kept(kind, source, frame, tmp_path, monkeypatch):
    (tmp_path / "camera-password").write_text(SECRET + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with Http(guarded(kind)) as server:
        host, options = f"127.0.0.1:{server.port}/a", {"user": "user"}
        if source == "address":
            camera = camera_of(f"http://user:s3cr%25t%20%2Fpw@{host}")
        elif source == "file":
            camera = camera_of(f"http://{host}", password_file=str(tmp_path / "camera-password"), **options)
        else:
            camera = camera_of(f"http://{host}", password_credential="camera-password", **options)
        info = camera.open(wanted())
        take(camera, frame)
        camera.close()
    assert "s3cr" not in info.description
    assert "user" not in info.description


MD5 = 'Digest realm="cam", nonce="abc", qop="auth", algorithm=MD5'
SHA256 = 'Digest realm="cam", nonce="abc", qop="auth,auth-int", algorithm="SHA-256"'
OTHER = 'Digest realm="cam", nonce="abc", qop="auth", algorithm=SHA-512-256'


@pytest.mark.parametrize(
    ("offers", "made"),
    [
        ([MD5], hashlib.md5),
        ([SHA256], hashlib.sha256),
        ([SHA256, MD5], hashlib.sha256),
        ([OTHER, MD5], hashlib.md5),
        (["Negotiate", 'Basic realm="cam"', MD5], hashlib.md5),
        (["Bearer", 'Basic realm="cam"'], None),
        ([OTHER, 'Basic realm="cam"'], None),
    ],
)
def test_of_several_ways_to_log_in_one_that_is_known_is_taken(offers, made, frame):
    def digest(*words):
        return made(":".join(words).encode()).hexdigest()

    def answer(handler):
        told = handler.headers.get("Authorization", "")
        words = dict(re.findall(r'(\w+)="?([^",]*)', told))
        if made is None:
            good = told == "Basic dXNlcjpodXNo"
        else:
            ours = digest("user", "cam", "hush"), "abc", words.get("nc", ""), words.get("cnonce", ""), "auth"
            good = words.get("response") == digest(*ours, digest("GET", handler.path))
        if good:
            send_parts(handler, endless(jpeg))
            return
        handler.send_response(401)
        for offer in offers:
            handler.send_header("WWW-Authenticate", offer)
        handler.end_headers()

    with Http(answer) as server:
        camera = camera_of(f"http://user:hush@127.0.0.1:{server.port}/v")
        camera.open(wanted())
        take(camera, frame)
        camera.close()


@pytest.mark.parametrize(
    ("offer", "words"),
    [
        (OTHER, r"not known here \(Digest realm"),
        ("Negotiate", r"not known here \(Negotiate\)"),
        ("Digest realm=", "in words that are none"),
        ("Digest", "in words that are none"),
    ],
)
def test_a_login_that_is_not_known_is_said(offer, words):
    def answer(handler):
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", offer)
        handler.end_headers()

    with Http(answer) as server, pytest.raises(TransientError, match=words):
        camera_of(f"http://user:hush@127.0.0.1:{server.port}/v").open(wanted())


@pytest.mark.parametrize("kind", ["Basic", "Digest"])
def test_a_wrong_password_is_called_so_is_told_to_nobody_and_is_tried_once_and_then_rarely(kind, caplog):
    def answer(handler):
        handler.send_response(401)
        nonce = f', nonce="{len(server.asked)}", qop="auth"' if kind == "Digest" else ""
        handler.send_header("WWW-Authenticate", f'{kind} realm="cam"{nonce}')
        handler.end_headers()

    with Http(answer) as server:
        camera = camera_of(f"http://user:hush-hush@127.0.0.1:{server.port}/v")
        with pytest.raises(AccessRefused, match=r"/v: user or password is wrong") as caught:
            camera.open(wanted())
        assert len(server.asked) <= 2
    assert "hush" not in str(caught.value) + caplog.text
    assert caught.value.exit_code == os.EX_NOPERM
    assert caught.value.retry_after_s >= 60


# -- servers that lie ------------------------------------------------------------------------------


def redirect(to):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()

    return answer


def says(content, kind="text/html", status=200):
    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def floods(head, piece):
    def answer(handler):
        handler.send_response(200)
        for name, value in head.items():
            handler.send_header(name, value)
        handler.end_headers()
        while True:
            handler.wfile.write(piece)

    return answer


def floods_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")


def dribbles(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
    handler.end_headers()
    while True:
        handler.wfile.write(b"-")
        handler.wfile.flush()
        time.sleep(0.05)


def bomb():
    head = bytearray(jpeg(0))
    at = head.index(b"\xff\xc0")
    head[at + 5 : at + 9] = b"\xff\xf0\xff\xf0"
    return bytes(head)


def bombs(handler):
    send_parts(handler, endless(lambda _: bomb()))


MULTIPART = {"Content-Type": "multipart/x-mixed-replace; boundary=frame"}
LIARS = {
    "a file behind a redirection": (redirect("file:///etc/passwd"), "not HTTP"),
    "FTP behind a redirection": (redirect("ftp://127.0.0.1/x"), "not HTTP"),
    "a stream behind a redirection": (redirect("rtsp://127.0.0.1:1/x"), "not HTTP"),
    "a ring of redirections": (redirect("/again"), "in a ring"),
    "a web page": (says(b"<html>please log in</html>"), "answers with a web page"),
    "nothing under this path": (says(b"", status=404), r"nothing under this path \(404\)"),
    "an error of its own": (says(b"", status=503), "status 503"),
    "nonsense": (says(b"\x00\xff" * 5000, "video/mp4"), "cannot be read"),
    "nothing": (says(b"", "video/mp4"), "cannot be read|ended"),
    "an endless part": (floods(MULTIPART, b"x" * 65536), "no picture comes of it|cannot be read"),
    "a part of 4 GB": (
        floods(MULTIPART, b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 4000000000\r\n\r\n" * 500),
        "no picture comes of it|cannot be read|can be shown",
    ),
    "endless bytes of one picture": (
        floods(MULTIPART | {"X-Frame": "1"}, b"\xff\xd8\xff" * 20000), "no picture comes of it|cannot be read"
    ),
    "endless headers": (floods_headers, "cannot be reached"),
    "a byte now and then": (dribbles, "no picture comes of it|cannot be read|no answer"),
    "a picture bomb": (bombs, "can be shown|cannot be read"),
    "an endless playlist": (
        floods({"Content-Type": "application/vnd.apple.mpegurl"}, b"#EXTM3U\n" * 8000),
        "no picture comes of it|cannot be read|no answer",
    ),
    "a playlist of files": (
        says(
            b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
            "application/vnd.apple.mpegurl",
        ),
        "not HTTP|cannot be read|no video|ended",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIARS)
def test_a_server_that_lies_gets_a_sentence_and_no_memory(name, monkeypatch):
    monkeypatch.setattr("gnetsegd.cameras.network.KEY_WAIT_S", 2.0)
    monkeypatch.setattr("gnetsegd.cameras.network_decoder.KEY_WAIT_S", 2.0)
    answer, words = LIARS[name]
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Http(answer) as server:
        camera = camera_of(f"http://127.0.0.1:{server.port}/v")
        begun = time.monotonic()
        with pytest.raises(GnetsegError, match=words) as caught:
            camera.open(wanted(timeout_s=1.0))
        lasted_s = time.monotonic() - begun
        camera.close()
    assert str(caught.value).startswith("http://127.0.0.1")
    assert isinstance(caught.value, TransientError)
    assert str(caught.value).isprintable()
    assert lasted_s < 15
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 150 << 10


def test_who_is_not_there_is_said_so_at_once():
    for host in (f"127.0.0.1:{free_port()}", "no-such-camera.invalid"):
        for scheme in ("http", "rtsp", "rtmp"):
            with pytest.raises(TransientError, match=f"^{scheme}://{host}/v: cannot be re"):
                camera_of(f"{scheme}://{host}/v").open(wanted())


@pytest.fixture
def secure(request):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / request.param, TLS / "key.pem")
    with Http(lambda handler: send_parts(handler, endless(jpeg)), context) as server:
        yield f"https://127.0.0.1:{server.port}/v"


@pytest.mark.parametrize("secure", ["good.pem"], indirect=True)
def test_a_certificate_is_checked_unless_it_is_named_otherwise(secure, frame):
    with pytest.raises(TransientError, match=r"its certificate is not good \(self-signed"):
        camera_of(secure).open(wanted())
    for options in ({"ca_file": str(TLS / "good.pem")}, {"verify": False}):
        camera = camera_of(secure, **options)
        camera.open(wanted())
        take(camera, frame)
        camera.close()
    with pytest.raises(ConfigError, match=r"ca_file .* holds no certificates"):
        camera_of(secure, ca_file=str(TLS / "key.pem")).open(wanted())


@pytest.mark.parametrize("secure", ["expired.pem"], indirect=True)
def test_an_expired_certificate_is_called_so(secure):
    with pytest.raises(TransientError, match=r"its certificate is not good \(certificate has expired\)"):
        camera_of(secure, ca_file=str(TLS / "expired.pem")).open(wanted())


# -- the configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": ""}, "camera.network.url is not set"),
        ({"url": "street.mp4"}, "begins with ''; allowed is one of rtsp"),
        ({"url": "file:///etc/passwd"}, "begins with 'file'"),
        ({"url": "concat:rtsp://a|b"}, "begins with 'concat'"),
        ({"url": "rtsp://"}, "names no host"),
        ({"url": "rtsp://host:99999/x"}, "is no address"),
        ({"url": "rtsp://admin:hush@hush#1@host/x"}, "write %23 and %40"),
        ({"url": "rtsp://admin:12/hush@host/x"}, "write %23 and %40"),
        ({"url": "rtsp://admin:12?hush@host/x"}, "write %23 and %40"),
        ({"url": "rtsp://host/\x1b[2J"}, "control characters"),
        ({"url": "rtsp://host/" + "x" * 3000}, "too long"),
        (
            {"url": "rtsp://h/x", "password_file": "/nonexistent/pw"},
            "password_file /nonexistent/pw cannot be read",
        ),
        ({"url": "rtsp://h/x", "password_file": "/dev/zero"}, "cannot be read: it is no short text file"),
        ({"url": "rtsp://h/x", "password_credential": "../x"}, "can be no name"),
        ({"url": "rtsp://h/x", "password_credential": "cam"}, "LoadCredential=cam:FILE"),
        ({"url": "rtsp://h/x", "password_credential": "a", "password_file": "b"}, "both set"),
    ],
)
def test_an_address_or_password_that_can_be_none_is_named(options, words, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match=words) as caught:
        NetworkCamera(NetworkOptions(**options)).open(wanted())
    assert str(caught.value).isprintable()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "rest",
    [
        "/cgi-bin/stream?user=admin&pwd=hush",
        "/bcs/main.bcs?channel=0&user=admin&password=hush%20",
        "/user=admin_password=hush_channel=1_stream=0.sdp",
        "/token=hush/live",
    ],
)
def test_a_password_in_a_query_or_path_is_told_to_the_camera_and_to_nobody_else(rest, frame, caplog):
    def answer(handler):
        if server.asked[1:] == []:
            send_parts(handler, endless(jpeg))
        else:
            handler.send_response(404)
            handler.end_headers()

    with Http(answer) as server:
        camera = camera_of(f"http://127.0.0.1:{server.port}{rest}")
        info = camera.open(wanted())
        take(camera, frame)
        camera.close()
        assert server.asked[0] == rest
        with pytest.raises(GnetsegError) as caught:
            camera_of(f"http://127.0.0.1:{server.port}{rest}").open(wanted())
    told = str(caught.value) + caplog.text + info.description
    assert f"127.0.0.1:{server.port}/" in told
    assert "hush" not in told


def test_a_protocol_that_ffmpeg_does_not_speak_is_named():
    port = free_port(socket.SOCK_DGRAM)
    with pytest.raises(GnetsegError, match=r"does not speak srt|cannot be read|no answer"):
        camera_of(f"srt://127.0.0.1:{port}").open(wanted(timeout_s=0.5))


def test_a_film_or_webcam_that_is_an_address_is_told_of_this_driver(request_of):
    from gnetsegd.cameras.video import VideoCamera, VideoOptions

    with pytest.raises(ConfigError, match=r"set camera\.driver to network and camera\.network\.url to it"):
        VideoCamera(VideoOptions(path="rtsp://user:hush@host/x")).open(request_of())


def flowing(packets, in_bursts=False):
    """A real ``Stream`` whose container gives these packets (size, is it a key frame)."""
    made = []
    for size, is_key in packets:
        packet = av.Packet(bytes(size))
        packet.is_keyframe = is_key
        made.append(packet)
    context = SimpleNamespace(name="h264", extradata=None, width=64, height=48, sample_aspect_ratio=None)
    video = SimpleNamespace(
        codec_context=context, sample_aspect_ratio=None, average_rate=30, base_rate=30, disposition=0
    )  # fmt: skip
    container = SimpleNamespace(
        streams=SimpleNamespace(video=[video]),
        format=SimpleNamespace(name="rtsp"),
        demux=lambda _: iter(made),
    )
    opened = Opened(contextlib.nullcontext(container), in_bursts, lambda: None)
    stream = Stream("cam", lambda: opened, lambda error: TransientError(str(error)))
    stream.start()
    return stream


def rest_of(stream):
    taken = []
    with contextlib.suppress(TransientError):
        while (arrived := stream.take(5.0)) is not None:
            taken.append(arrived.packet)
    return taken


def test_what_a_slow_decoder_leaves_gives_way_and_the_memory_stays_bounded():
    count = 3 * QUEUE_MAX_PACKETS
    stream = flowing([(100, number % 50 == 0) for number in range(count)])
    assert stream.ended(10)
    taken = rest_of(stream)
    assert len(taken) <= QUEUE_MAX_PACKETS
    assert taken[0].is_keyframe
    assert len(taken) + stream.passed_over() == count
    stream = flowing([(4 << 20, number == 0) for number in range(20)])
    assert stream.ended(10)
    taken = rest_of(stream)
    assert sum(packet.size for packet in taken) <= QUEUE_MAX_BYTES + (4 << 20)
    assert len(taken) + stream.passed_over() == 20


def test_what_comes_in_bursts_waits_for_the_decoder_and_nothing_gives_way():
    count = 2 * QUEUE_MAX_PACKETS
    stream = flowing([(100, number % 50 == 0) for number in range(count)], in_bursts=True)
    assert not stream.ended(0.2)
    assert len(rest_of(stream)) == count
    assert stream.passed_over() == 0


def test_a_stream_that_is_told_to_stop_ends_though_nobody_takes_its_packets():
    stream = flowing([(100, True)] * (2 * QUEUE_MAX_PACKETS), in_bursts=True)
    assert not stream.ended(0.1)
    stream.stop()
    assert stream.ended(10)


def test_a_packet_that_is_no_picture_ends_the_stream_with_a_sentence():
    stream = flowing([(100, True), (PACKET_MAX_BYTES + 1, True)])
    assert stream.take(5.0) is not None
    with pytest.raises(TransientError, match="cam: sends a picture of 16 MiB"):
        stream.take(5.0)


class Line:
    """A connection that gives what the test says, in place of ``Stream``."""

    def __init__(self, units, came_ns=lambda _: time.monotonic_ns(), sent_ns=lambda _: 0):
        self.packets = []
        for number, unit in enumerate(units):
            packet = av.Packet(unit)
            packet.pts = packet.dts = number
            packet.time_base = Fraction(1, 30)
            packet.is_keyframe = number % 10 == 0
            self.packets.append(packet)
        self._came_ns, self._sent_ns = came_ns, sent_ns
        self.at = 0
        self._passed = 0

    def take(self, _timeout_s):
        if self.at == len(self.packets):
            raise TransientError("the stream has ended")
        self.at += 1
        return Arrived(self.packets[self.at - 1], self._came_ns(self.at - 1), self._sent_ns(self.at - 1))

    def passed_over(self):
        passed, self._passed = self._passed, 0
        return passed

    def catch_up(self):
        newest = max(at for at in range(self.at, len(self.packets)) if self.packets[at].is_keyframe)
        self._passed += newest - self.at
        self.at = newest


@pytest.fixture(scope="module")
def units():
    """H.264 of 40 scenes with a key frame every ten, as access units."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = 64, 48, "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, 30), Fraction(30)
    codec.options = {"tune": "zerolatency", "g": "10", "crf": "8", "threads": "1", "sc_threshold": "0"}
    made = []
    for number in range(40):
        image = picture_of(scene(number))
        image.pts = number
        made += [bytes(packet) for packet in codec.encode(image)]
    return made


def decoding(line, **options):
    about = About("h264", None, 64, 48, 30.0, False, False, "rtsp", pyav.Seen(None, None))
    losses = Losses(logging.getLogger("test"))
    return Decoder("cam", line, about, NetworkOptions(**options), losses, 1.0), losses.counts


def all_of(decoder):
    found = []
    while True:
        try:
            found.append(decoder.next(time.monotonic() + 1))
        except TransientError:
            assert decoder._stream.at == len(decoder._stream.packets)
            return found


def test_pictures_that_were_lost_on_their_way_cost_those_made_from_them(units):
    line = Line(units)
    del line.packets[13]
    decoder, lost = decoding(line)
    found = [each.image.pts for each in all_of(decoder)]
    assert found == [*range(13), *range(20, 40)]
    assert lost == {"cut": 1, "dependent": 6}


def test_a_whole_group_that_is_lost_is_missed_though_the_numbers_go_on(units):
    line = Line(units)
    for packet in line.packets:
        packet.time_base = Fraction(1, 10)
    del line.packets[14:24]
    decoder, lost = decoding(line)
    assert [each.image.pts for each in all_of(decoder)] == [*range(14), *range(30, 40)]
    assert lost == {"cut": 1, "dependent": 6}


def test_a_stream_that_begins_amid_a_group_loses_nothing_by_that(units):
    decoder, lost = decoding(Line(units[4:]))
    for number, packet in enumerate(decoder._stream.packets):
        packet.is_keyframe = (number + 4) % 10 == 0
    assert len(all_of(decoder)) == 30
    assert lost == {}


def test_a_decoder_that_is_late_goes_on_at_the_newest_key_frame_and_counts(units):
    late_ns = 2_000_000_000
    decoder, lost = decoding(Line(units, came_ns=lambda at: time.monotonic_ns() - late_ns * (at in (15, 16))))
    found = all_of(decoder)
    assert [each.image.pts for each in found] == [*range(15), *range(30, 40)]
    assert lost == {"behind": 15}
    assert [each.sequence for each in found] == [*range(15), *range(30, 40)]


def test_the_cameras_own_time_is_taken_where_it_can_be_true(units):
    def sent_ns(number):
        now_ns = time.time_ns()
        wrong = {20: now_ns + 10**10, 21: now_ns - 10**12, 22: 1, 23: 0}
        return wrong.get(number, now_ns - 40_000_000)

    came = {}
    decoder, _ = decoding(
        Line(units, came_ns=lambda at: came.setdefault(at, time.monotonic_ns()), sent_ns=sent_ns)
    )
    found = all_of(decoder)
    for each in found:
        ago_ms = (came[each.image.pts] - each.stamp_ns) / 1e6
        if each.image.pts in (20, 21, 22, 23):
            assert ago_ms == pytest.approx(0, abs=1)
        elif each.image.pts not in (24, 25):  # none goes back behind those
            assert -1 < ago_ms <= 45
    stamps = [each.stamp_ns for each in found]
    assert stamps == sorted(set(stamps))


@pytest.mark.parametrize("by_rtcp", [True, False])
def test_a_link_that_is_too_slow_makes_no_picture_younger_and_is_left_once_it_is_far_behind(units, by_rtcp):
    """Of TCP nothing is lost: each picture comes later than the one before, and would look new."""
    begun_ns, wall_ns = time.monotonic_ns(), time.time_ns()
    step_ns = 33_333_333

    def sent_ns(at):
        return wall_ns + at * step_ns if by_rtcp else 0

    decoder, lost = decoding(Line(units, came_ns=lambda at: begun_ns + at * step_ns * 8, sent_ns=sent_ns))
    stamps = []

    def until_it_is_left():
        while True:
            stamps.append(decoder.next(time.monotonic() + 1).stamp_ns)

    with pytest.raises(
        TransientError, match=r"come \d s late: the network carries less than it sends; lower"
    ):
        until_it_is_left()
    # Seven steps late more with each; by video's time some of that may be the camera's clock.
    assert 3 * NS_PER_S < decoder._lag.lag_ns < 6 * NS_PER_S
    for at, stamp_ns in enumerate(stamps):
        late_ns = stamp_ns - begun_ns - at * step_ns
        assert 0 <= late_ns <= (0.002 if by_rtcp else 0.06) * 8 * at * step_ns + 2e6, at
    assert lost == {}


def test_after_a_moment_without_a_network_it_goes_on(units):
    begun_ns = time.monotonic_ns()
    step_ns = 33_333_333
    # Ten seconds of nothing, and then all that was sent meanwhile at once.
    decoder, _ = decoding(
        Line(units, came_ns=lambda at: begun_ns + (10 * NS_PER_S if 10 <= at < 30 else at * step_ns))
    )
    assert len(all_of(decoder)) == 40
    assert decoder._lag.lag_ns < 0.6 * NS_PER_S


def test_no_more_pictures_come_than_are_allowed_and_none_of_those_counts_as_lost(units):
    begun = time.monotonic_ns()
    decoder, lost = decoding(Line(units, came_ns=lambda at: begun + at * 33_333_333), max_fps=10)
    found = all_of(decoder)
    assert len(found) == pytest.approx(40 / 3, abs=1)
    assert [each.sequence for each in found] == list(range(len(found)))
    assert lost == {}


def test_key_frames_alone_are_decoded_where_that_is_wanted(units):
    decoder, lost = decoding(Line(units), decode="key-frames")
    assert [each.image.pts for each in all_of(decoder)] == [0, 10, 20, 30]
    assert lost == {}


def test_a_hardware_decoder_that_is_not_there_or_gives_nothing_is_tried_once(units, monkeypatch):
    monkeypatch.setattr(Decoder, "hardware", {})
    decoder, _ = decoding(Line(units))
    assert decoder.hardware_name == ""
    assert Decoder.hardware == {"h264_v4l2m2m": False}
    mute = SimpleNamespace(
        name="h264_v4l2m2m", extradata=None, thread_count=1, decode=lambda _: [],
    )  # fmt: skip
    monkeypatch.setattr(Decoder, "hardware", {})
    monkeypatch.setattr(Decoder, "_hardware_decoder", lambda *_: mute)
    decoder, _ = decoding(Line(units * 3))
    assert decoder.hardware_name == "h264_v4l2m2m"
    assert len(all_of(decoder)) >= 40
    assert decoder.hardware_name == ""
    assert Decoder.hardware == {"h264_v4l2m2m": False}


def test_software_alone_is_used_where_that_is_wanted(units, monkeypatch):
    monkeypatch.setattr(Decoder, "hardware", {})
    monkeypatch.setattr(Decoder, "_hardware_decoder", lambda *_: pytest.fail("it was tried"))
    decoder, _ = decoding(Line(units), decoder="software")
    assert len(all_of(decoder)) == 40

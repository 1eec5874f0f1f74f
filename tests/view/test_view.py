"""The page: what it shows is what the daemon sent, it says when there is nothing, and it harms nobody."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from fake_publisher import FakeDaemon, FakePublisher
from PIL import Image
from served_page import Page

from gnetsegd.services.view import app, door, feed, guard, run
from gnetsegd.services.view import body as bodies

pytestmark = pytest.mark.runtime

Serve = Callable[..., Page]
STATIC = Path(run.__file__).parent / "static"
WAIT_S = 15.0
ZONES = {"version": 1, "zones": [{"name": "All", "kind": "zone", "points": [[0, 0], [1, 0], [1, 1], [0, 1]]}]}


@pytest.fixture
def daemon(ipc_endpoint: str) -> Iterator[FakeDaemon]:
    with FakeDaemon(ipc_endpoint, images=True) as made:
        yield made


def wait_until(condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
    return found


def events(answer: Any, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The first event that is ``wanted``."""
    deadline = time.monotonic() + WAIT_S
    while True:
        assert time.monotonic() < deadline, "no such event came"
        line = answer.readline()
        assert line, "the stream ended"
        if line.startswith(b"data: "):
            body: dict[str, Any] = json.loads(line[6:])
            if wanted(body):
                return body


def pictures(answer: Any, count: int) -> list[bytes]:
    """The next pictures of a motion JPEG."""
    found = []
    while len(found) < count:
        length = 0
        while (line := answer.readline().strip()) or not length:
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        found.append(answer.read(length))
        assert found[-1][:3] == b"\xff\xd8\xff"
    return found


# -- what is shown --------------------------------------------------------------------------------


def test_the_page_has_all_that_it_needs_and_asks_nobody_else(serve: Serve, daemon: FakeDaemon) -> None:
    page = serve(daemon.endpoint)
    code, text, headers = page.ask("/")
    assert code == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="([^"]+)"', text.decode())
    for script in STATIC.glob("*.js"):
        named += [f"/static/{name[2:]}" for name in re.findall(r'from "([^"]+)"', script.read_text())]
    assert len(named) >= 6
    for name in named:
        assert name.startswith("/"), name
        if name.startswith("/static/"):
            assert page.ask(name)[0] == 200, name
    for file in STATIC.iterdir():
        words = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://[a-z]", words), file.name


def test_events_tell_what_the_masks_say(serve: Serve, daemon: FakeDaemon) -> None:
    page = serve(daemon.endpoint)
    assert json.loads(page.ask("/cameras")[1]) == ["cam0"]
    with page.stream("/events") as answer:
        # The rate is that of the last moments, which on a busy machine may have been another one.
        body = events(
            answer, lambda body: body["data"] and body["picture"] and abs((body["fps"] or 0) - 30) < 15
        )
    assert (body["camera"], body["backend"], body["model"]) == ("cam0", "standin", "fake")
    assert 0.2 < body["share"] < 0.6
    assert 0 <= body["box"][0] < body["box"][2] <= 1
    assert abs(body["wall_time_ns"] / 1e9 - time.time()) < 5


def live(page: Page, count: int = 1, camera: str = "", **headers: str) -> list[bytes]:
    """The next messages of the page's own WebSocket that have a mask."""

    async def take() -> list[bytes]:
        found: list[bytes] = []
        url = f"http://127.0.0.1:{page.port}/live" + (f"?camera={camera}" if camera else "")
        async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as talk:
            while len(found) < count:
                await talk.send_str("next")
                data = await talk.receive_bytes(timeout=WAIT_S)
                if json.loads(data[8 : 8 + struct.unpack_from("<I", data)[0]])["data"]:
                    found.append(data)
        return found

    return asyncio.run(take())


def test_the_live_view_has_each_masks_own_pixels_and_picture(serve: Serve, daemon: FakeDaemon) -> None:
    page = serve(daemon.endpoint)
    for data in live(page, 5):
        text_size, mask_size = struct.unpack_from("<II", data)
        body = json.loads(data[8 : 8 + text_size])
        width, height = body["mask"]
        bits = np.frombuffer(data, np.uint8, mask_size, 8 + text_size).reshape(height, -1)
        person = np.unpackbits(bits, axis=1, count=width)
        picture = np.array(Image.open(io.BytesIO(data[8 + text_size + mask_size :])).convert("RGB"))
        assert person.shape == picture.shape[:2] == (48, 64)
        # The fake's pictures are bright where its masks have a person.
        assert picture[person == 1, 0].mean() > 170 > 130 > picture[person == 0, 0].mean()
        assert body["share"] == pytest.approx(person.mean(), abs=1e-4)
        assert body["picture_region"] == [0, 0, 1, 1]


def test_other_programs_get_pictures_over_http(serve: Serve, daemon: FakeDaemon) -> None:
    page = serve(daemon.endpoint)
    for path in ("/picture.mjpg", "/overlay.mjpg?camera=cam0"):
        with page.stream(path) as answer:
            assert answer.headers["Content-Type"].startswith("multipart/x-mixed-replace")
            for jpeg in pictures(answer, 5)[2:]:
                assert Image.open(io.BytesIO(jpeg)).size == (64, 48)
    code, data, headers = page.ask("/mask.png")
    assert (code, headers["content-type"]) == (200, "image/png")
    mask = np.array(Image.open(io.BytesIO(data)))
    assert mask.shape == (48, 64)
    assert 0.2 < mask.mean() < 0.6
    plain, drawn = (
        np.array(Image.open(io.BytesIO(page.ask(f"/snapshot.jpg{q}")[1]))) for q in ("", "?overlay=1")
    )
    assert plain.shape == drawn.shape == (48, 64, 3)

    def green(picture: Any) -> Any:
        return picture[..., 1].astype(int) - picture[..., 0]

    assert np.percentile(green(drawn), 95) > 100 > 0 > np.percentile(green(plain), 95)


def test_without_pictures_it_says_how_to_switch_them_on_and_shows_the_mask(
    serve: Serve, ipc_endpoint: str
) -> None:
    with FakeDaemon(ipc_endpoint) as daemon:
        page = serve(daemon.endpoint)
        code, words, _ = page.ask("/snapshot.jpg")
        assert code == 503
        assert b"publish.images = true" in words
        code, data, _ = page.ask("/snapshot.jpg?overlay=1")
        assert code == 200
        assert np.array(Image.open(io.BytesIO(data))).shape == (48, 64)


# -- when there is nothing ------------------------------------------------------------------------


def test_a_daemon_that_ends_is_told_within_3_seconds(serve: Serve, ipc_endpoint: str) -> None:
    daemon = FakeDaemon(ipc_endpoint, images=True)
    daemon.start()
    page = serve(daemon.endpoint)
    with page.stream("/events") as answer:
        events(answer, lambda body: body["data"])
        daemon.stop()
        ended = time.monotonic()
        body = events(answer, lambda body: not body["data"])
        assert time.monotonic() - ended < 3
        assert body["why"] in ("stale", "silent")
        assert body["reason"]
        body = events(answer, lambda body: body.get("why") == "silent")
        assert "the daemon is silent" in body["reason"] or "no such socket" in body["reason"]
    with page.stream("/picture.mjpg") as answer:
        words = [np.array(Image.open(io.BytesIO(jpeg))) for jpeg in pictures(answer, 2)]
    assert all(picture.shape == (360, 640, 3) for picture in words), "words, and not the last picture"
    code, reason, _ = page.ask("/mask.png")
    assert code == 503
    assert reason.strip()


@pytest.mark.parametrize(
    ("state", "reason"),
    [("no-camera", "/dev/video0 is not there; plug it in"), ("no-accelerator", "it is gone")],
)
def test_the_daemons_own_reason_is_told(serve: Serve, ipc_endpoint: str, state: str, reason: str) -> None:
    with FakeDaemon(ipc_endpoint, masks=False, status={"state": state, "reason": reason}) as daemon:
        page = serve(daemon.endpoint)
        with page.stream("/events") as answer:
            body = events(answer, lambda body: body.get("why") == state)
        assert body["reason"] == reason


def test_a_socket_that_is_not_there_is_told_with_the_remedy(serve: Serve, ipc_endpoint: str) -> None:
    page = serve(ipc_endpoint)
    with page.stream("/events") as answer:
        body = events(answer, lambda body: body.get("why") == "silent")
    assert "start the daemon (systemctl start gnetsegd)" in body["reason"]


def test_a_network_that_knows_no_persons_says_so(serve: Serve, ipc_endpoint: str) -> None:
    daemon = FakeDaemon(ipc_endpoint)
    daemon.publisher.persons = []
    with daemon:
        page = serve(daemon.endpoint)
        with page.stream("/events") as answer:
            assert (
                "knows no persons" in events(answer, lambda body: body.get("why") == "no-persons")["reason"]
            )


# -- cameras --------------------------------------------------------------------------------------


def test_all_cameras_are_on_one_page_also_two_of_one_name(serve: Serve, tmp_path: Path) -> None:
    daemons = [FakeDaemon(f"ipc://{tmp_path}/{n}.sock", images=True, session=n + 7) for n in range(2)]
    for one in daemons:
        one.start()
    try:
        page = serve(*(one.endpoint for one in daemons))
        assert json.loads(page.ask("/cameras")[1]) == ["cam0", "cam0-2"]
        assert live(page, camera="cam0-2")
        code, words, _ = page.ask("/events?camera=nobody")
        assert (code, words) == (404, b"there is no camera nobody; there are cam0, cam0-2\n")
    finally:
        for one in daemons:
            one.stop()


def test_while_nobody_looks_no_mask_is_asked_for(
    serve: Serve, ipc_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "LINGER_S", 0.2)
    with FakePublisher(ipc_endpoint) as publisher:
        page = serve(ipc_endpoint)
        page.ask("/cameras")
        page.ask("/zones")
        publisher.read_events()
        assert not any(topic.startswith((b"mask", b"image")) for topic in publisher.asked)
        with page.stream("/events"):
            publisher.wait_for("mask", "image", "status", timeout_s=WAIT_S)
        # A viewer that has gone is noticed when the next event is written.
        wait_until(lambda: b"mask/cam0".ljust(16, b"\0") in publisher.gone())


# -- zones ----------------------------------------------------------------------------------------


def put(page: Page, body: Any, **headers: str) -> tuple[int, bytes]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return page.ask("/zones", "PUT", text, **{"Content_Type": "application/json", **headers})[:2]


def test_zones_are_saved_told_and_what_is_ignored_does_not_count(serve: Serve, daemon: FakeDaemon) -> None:
    page = serve(daemon.endpoint)
    assert json.loads(page.ask("/zones")[1]) == {"version": 1, "zones": [], "trouble": ""}
    code, answer = put(page, ZONES)
    assert (code, json.loads(answer)["zones"]) == (200, ZONES["zones"])
    kept = json.loads((page.folder / "zones" / "cam0.json").read_text())
    assert kept == ZONES
    with page.stream("/events") as stream:
        body = events(stream, lambda body: body["data"] and body["zones"])
        assert body["zones"]["All"] == pytest.approx(body["share"], abs=1e-3)
        whole = {"name": "TV", "kind": "ignored", "points": ZONES["zones"][0]["points"]}
        assert put(page, {"version": 1, "zones": [*ZONES["zones"], whole]})[0] == 200
        body = events(stream, lambda body: body["data"] and body["share"] == 0)
        assert (body["zones"]["All"], body["box"]) == (0, None)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (
            {"version": 1, "zones": [{"name": "a", "kind": "zone", "points": [[0, 0], [1, 1]]}]},
            400,
            "3 to 256",
        ),
        (
            {"version": 1, "zones": [ZONES["zones"][0] | {"name": "picture", "kind": "zone"}]},
            400,
            "so is the whole picture called",
        ),
        (b"{", 400, "no JSON"),
        (b"[" * 100_000, 400, ""),
        (b" " * 300_000, 413, ""),
    ],
)
def test_bad_zones_are_refused_and_the_old_stay(
    serve: Serve, daemon: FakeDaemon, body: Any, code: int, words: str
) -> None:
    page = serve(daemon.endpoint)
    assert put(page, ZONES)[0] == 200
    found, text = put(page, body)
    assert found == code
    assert words in text.decode()
    assert json.loads(page.ask("/zones")[1])["zones"] == ZONES["zones"]


def test_a_folder_that_cannot_be_written_is_told(serve: Serve, daemon: FakeDaemon) -> None:
    page = serve(daemon.endpoint)
    page.folder.write_text("a file in its place")
    code, words = put(page, ZONES)
    assert code == 507
    assert b"the zones cannot be written" in words


# -- who may look ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:8090", 200), ("192.168.1.7:8090", 200),
        ("evil.example", 421), ("localhost.evil.example", 421), ("", 421), ("evil.example:8090", 421),
        ("[evil", 421),
    ],
)  # fmt: skip
def test_a_page_of_another_name_is_none_of_ours(
    serve: Serve, daemon: FakeDaemon, host: str, code: int
) -> None:
    assert serve(daemon.endpoint).ask("/cameras", Host=host)[0] == code


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}]
)
def test_another_sites_page_may_not_change_or_look(
    serve: Serve, daemon: FakeDaemon, headers: dict[str, str]
) -> None:
    page = serve(daemon.endpoint)
    assert put(page, ZONES, **headers)[0] == 403
    assert page.ask("/snapshot.jpg", **headers)[0] == 403
    assert put(page, ZONES, Content_Type="text/plain")[0] == 415
    with pytest.raises(aiohttp.WSServerHandshakeError):
        live(page, **{name.replace("_", "-"): text for name, text in headers.items()})


def test_a_shared_page_shows_nothing_without_its_token(serve: Serve, daemon: FakeDaemon) -> None:
    page = serve(daemon.endpoint, token="correct-horse-battery")
    assert page.ask("/")[0] == 200, "the page itself holds no secret"
    for path in ("/cameras", "/events", "/live", "/picture.mjpg", "/snapshot.jpg", "/mask.png", "/zones"):
        assert page.ask(path)[0] == 401, path
    assert put(page, ZONES)[0] == 401
    wrong = json.dumps({"token": "wrong"})
    assert page.ask("/login", "POST", wrong)[0] == 403
    code, _, headers = page.ask("/login", "POST", json.dumps({"token": page.token}))
    cookie = headers["set-cookie"]
    assert code == 200
    assert page.token not in cookie
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/"))
    mine = cookie.partition(";")[0]
    assert page.ask("/cameras", Cookie=mine)[0] == 200
    assert page.ask("/cameras", Cookie=mine[:-1] + "x")[0] == 401
    assert page.ask("/cameras", Authorization=f"Bearer {page.token}")[0] == 200
    basic = base64.b64encode(f"anybody:{page.token}".encode()).decode()
    assert page.ask("/snapshot.jpg", Authorization=f"Basic {basic}")[0] == 200


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"token": 7}', '{"token": ""}', "{" * 1000, '{"token": "\\ud800"}']
)
def test_a_login_without_a_token_is_refused(serve: Serve, daemon: FakeDaemon, body: str) -> None:
    assert serve(daemon.endpoint, token="t" * 20).ask("/login", "POST", body)[0] == 403


def raw(page: Page, lines: list[bytes], body: bytes = b"") -> bytes:
    """The first line of the answer to a request that no honest client sends."""
    with socket.create_connection(("127.0.0.1", page.port), timeout=WAIT_S) as connection:
        head = [*lines, b"Host: localhost", b"Connection: close", b"Content-Length: %d" % len(body)]
        connection.sendall(b"\r\n".join([*head, b"", body]))
        return connection.recv(4096).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("lines", "body", "code"),
    [
        ([b"POST /login HTTP/1.1"], b"[" * 200_000, b"403"),
        ([b"POST /login HTTP/1.1", b"Content-Type: application/json; charset=hex"], b"{}", b"403"),
        ([b"POST /login HTTP/1.1", b"Content-Type: application/json; charset=none-such"], b"{}", b"403"),
        ([b"POST /login HTTP/1.1", b"Content-Encoding: gzip"], b"no gzip at all", b"40"),
        ([b"GET /cameras HTTP/1.1", b"Cookie: gnetsegd=\xff"], b"", b"401"),
        ([b"GET /cameras HTTP/1.1", b"Authorization: Basic \xff"], b"", b"401"),
        ([b"GET /cameras HTTP/1.1", b"Authorization: Bearer \xff"], b"", b"401"),
        ([b"GET /cameras HTTP/9.9"], b"", b"40"),
        ([b"no request"], b"", b"400"),
    ],
)
def test_a_strangers_broken_request_is_refused_and_fills_no_journal(
    serve: Serve,
    daemon: FakeDaemon,
    caplog: pytest.LogCaptureFixture,
    lines: list[bytes],
    body: bytes,
    code: bytes,
) -> None:
    page = serve(daemon.endpoint, token="t" * 20)
    assert b" " + code in raw(page, lines, body)
    assert page.ask("/")[0] == 200, "the next one is served"
    assert "Traceback" not in caplog.text


def test_half_a_login_keeps_no_connection(
    serve: Serve, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_S", 0.2)
    page = serve(daemon.endpoint, token="t" * 20)
    with socket.create_connection(("127.0.0.1", page.port), timeout=WAIT_S) as slow:
        slow.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
        assert b"408" in slow.recv(4096)


def test_a_thousand_wrong_tokens_are_held_back_and_fill_no_memory() -> None:
    made = guard.Guard("right")
    refused = 0
    for number in range(1000):
        try:
            assert not made.try_token(f"wrong{number}", "10.0.0.1")
        except guard.web.HTTPTooManyRequests:
            refused += 1
    assert refused == 1000 - guard.WRONG_MAX
    with pytest.raises(guard.web.HTTPTooManyRequests):
        made.try_token("right", "10.0.0.1")
    assert made.try_token("right", "10.0.0.2"), "another address is not held back"
    for number in range(2000):
        made.try_token("wrong", f"10.1.{number // 256}.{number % 256}")
    assert len(made._wrong) <= guard.ADDRESSES_MAX


def test_the_token_is_kept_for_its_owner_alone_and_made_anew_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "state" / "token"
    first = guard.load_token(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(first) >= 20
    assert guard.load_token(path) == first
    second = guard.load_token(path, new=True)
    assert second != first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("short")
    assert len(guard.load_token(path)) >= 20


# -- who harms ------------------------------------------------------------------------------------


def test_no_more_look_at_once_than_may(serve: Serve, daemon: FakeDaemon) -> None:
    page = serve(daemon.endpoint, viewers=2)
    first, second = page.stream("/picture.mjpg"), page.stream("/picture.mjpg")
    pictures(first, 1)
    code, words, _ = page.ask("/picture.mjpg")
    assert code == 503
    assert b"as many look already as may" in words
    first.close()
    wait_until(lambda: page.ask("/snapshot.jpg")[0] == 200)
    assert pictures(second, 2)
    second.close()


def test_a_viewer_that_takes_nothing_keeps_nobody_waiting_and_is_cut(
    serve: Serve, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "WRITE_S", 0.5)
    big = np.random.default_rng(1).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(big).save(file, "JPEG", quality=95)
    monkeypatch.setattr(app.Page, "_picture", lambda *_: _ready(file.getvalue()))
    page = serve(daemon.endpoint)
    with socket.create_connection(("127.0.0.1", page.port)) as dead:
        dead.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        dead.sendall(b"GET /picture.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: page.door.connections == 1)
        with page.stream("/picture.mjpg") as answer:
            assert len(pictures(answer, 10)) == 10
        wait_until(lambda: page.door.connections == 0)


async def _ready(data: bytes) -> bytes:
    return data


def test_connections_beyond_the_most_are_closed_and_the_others_go_on(
    serve: Serve, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door.Door.__init__, "__defaults__", (8,))
    page = serve(daemon.endpoint)
    with page.stream("/picture.mjpg") as answer:
        crowd = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(300)]
        wait_until(lambda: page.door.refused >= 290)
        assert page.door.connections == 8
        assert len(pictures(answer, 5)) == 5
        for one in crowd:
            one.close()
        wait_until(lambda: page.door.connections == 1)
        assert page.ask("/cameras")[0] == 200


@pytest.mark.parametrize(
    "half", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: local", b"\x16\x03\x01" + bytes(50)]
)
def test_half_a_request_is_not_waited_for_for_ever(
    serve: Serve, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, half: bytes
) -> None:
    monkeypatch.setattr(door, "REQUEST_S", 0.2)
    page = serve(daemon.endpoint)
    with socket.create_connection(("127.0.0.1", page.port), timeout=WAIT_S) as slow:
        slow.sendall(half)
        try:
            while slow.recv(4096):
                pass
        except ConnectionResetError:
            pass
    with page.stream("/picture.mjpg") as answer:
        time.sleep(0.4)
        assert pictures(answer, 3), "a request that came whole is not cut"


def test_half_a_body_is_not_waited_for_for_ever(
    serve: Serve, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_S", 0.2)
    page = serve(daemon.endpoint)
    with socket.create_connection(("127.0.0.1", page.port), timeout=WAIT_S) as slow:
        head = (
            "PUT /zones HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99"
        )
        slow.sendall(f"{head}\r\n\r\n{{".encode())
        assert b"408" in slow.recv(4096)


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    running = []

    def start(*arguments: str) -> Any:
        words = [
            sys.executable,
            "-m",
            "gnetsegd.ctl.main",
            "view",
            "--state",
            str(tmp_path / "s"),
            *arguments,
        ]
        running.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_command_says_where_the_page_is_and_ends_at_a_signal(
    command: Callable[..., Any], daemon: FakeDaemon
) -> None:
    process = command("--port", "0", "--endpoint", daemon.endpoint)
    port = int(re.search(r"http://localhost:(\d+)/", process.stdout.readline())[1])  # type: ignore[index]
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as viewer:
        viewer.sendall(b"GET /picture.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert viewer.recv(100).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert process.stderr.read() == ""
    again = command("--port", str(port), "--endpoint", daemon.endpoint)
    again.stdout.readline()
    taken = command("--port", str(port), "--endpoint", daemon.endpoint)
    assert taken.wait(20) == os.EX_TEMPFAIL
    assert re.fullmatch(rf".*port {port} cannot be used .*choose another with --port\n", taken.stderr.read())


def test_sharing_prints_an_address_whose_secret_is_never_sent(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    process = command("--port", "0", "--share")
    line = process.stdout.readline()
    token = (tmp_path / "s" / "token").read_text().strip()
    assert line.rstrip().endswith(f"/#token={token}"), "what stands behind the # stays in the browser"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0

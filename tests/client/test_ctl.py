"""gnetsegctl tells a person how it is, in one sentence where it cannot."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import zmq
from fake_publisher import FakeDaemon, FakePublisher, person
from PIL import Image
from zmq.auth import load_certificate
from zmq.auth.thread import ThreadAuthenticator

from gnetsegd.client import probe
from gnetsegd.ctl import blocks, snapshot
from gnetsegd.ctl.keys import make as make_keys
from gnetsegd.ctl.main import main
from gnetsegd.ctl.overlay import edge, overlay, palette
from gnetsegd.ctl.png import encode_png
from gnetsegd.ctl.session import Target
from gnetsegd.ctl.status import duration, words
from gnetsegd.errors import PermanentError
from gnetsegd.message import topic

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.runtime

CTL = [sys.executable, "-m", "gnetsegd.ctl.main"]


class Outcome(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def ctl(*arguments: str) -> Outcome:
    """Run ``gnetsegctl`` in this process, which saves the start of an interpreter."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["gnetsegctl", *arguments])
        patch.setattr(snapshot, "PICTURE_WAIT_S", 0.3)
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture
def daemon(endpoint: str) -> Iterator[FakeDaemon]:
    with FakeDaemon(endpoint) as fake:
        yield fake


# -- a daemon that is there -----------------------------------------------------------------------


def test_status_is_readable(daemon: FakeDaemon) -> None:
    out = ctl("status", "--endpoint", daemon.endpoint)
    assert out.returncode == 0, out.stderr
    assert re.search(r"^ *state  running$", out.stdout, re.M)
    assert re.search(r"^ *masks  30\.0 per second, 991 in 62 s$", out.stdout, re.M)
    assert "gnetsegctl" not in out.stderr


def test_status_as_json_is_the_newest_status_and_info(daemon: FakeDaemon) -> None:
    out = ctl("status", "--json", "--endpoint", daemon.endpoint)
    both = json.loads(out.stdout)
    assert both["status"]["state"] == "running"
    assert both["info"]["labels"] == ["background", "person"]


def test_status_says_why_there_are_no_masks(endpoint: str) -> None:
    lost = {"state": "no-camera", "reason": "/dev/video0 is \x1b[31mgone", "backend": "", "fallback": True}
    with FakeDaemon(endpoint, masks=False, status=lost) as daemon:
        out = ctl("status", "--endpoint", daemon.endpoint)
    assert "no-camera: /dev/video0 is ?[31mgone" in out.stdout
    assert "stands in for the preferred one" in out.stdout
    assert "\x1b" not in out.stdout, "a text from the network must not steer the terminal"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_look_at_the_status_wakes_nothing(endpoint: str, form: list[str]) -> None:
    with FakeDaemon(endpoint, masks=False, status={"state": "idle"}) as daemon:
        out = ctl("status", *form, "--endpoint", daemon.endpoint)
    assert "idle" in out.stdout
    # Whoever asks for masks or frames wakes the camera.
    assert daemon.publisher.asked == {topic("info", "cam0"), topic("status", "cam0")}


def test_watch_asks_for_masks_only_once_it_knows_that_somebody_is_there(publisher: FakePublisher) -> None:
    out = ctl("watch", "--endpoint", publisher.endpoint, "--timeout", "0.2")
    assert out.returncode == 69
    publisher.read_events()
    assert publisher.asked == {b"info/", b"status/", topic("info", "cam0"), topic("status", "cam0")}


def test_watch_wakes_the_camera_and_shows_its_masks(endpoint: str) -> None:
    with FakeDaemon(endpoint) as daemon:
        out = ctl("watch", "--endpoint", endpoint, "--seconds", "0.3")
    assert "state=running" in out.stdout
    assert topic("mask", "cam0") in daemon.publisher.asked


def test_watch_writes_plain_lines_into_a_pipe(endpoint: str) -> None:
    with FakeDaemon(endpoint, lose_every=10) as daemon:
        out = ctl("watch", "--seconds", "1.2", "--endpoint", daemon.endpoint)
    assert out.returncode == 0, out.stderr
    lines = out.stdout.splitlines()
    assert len(lines) == 2
    last = dict(pair.split("=") for pair in lines[-1].split())
    assert last["state"] == "running"
    assert last["backend"] == "standin"
    assert 0 < int(last["person"].rstrip("%")) < 100
    assert int(last["missed"]) >= 2
    assert "\x1b" not in out.stdout


def watched(daemon: FakeDaemon, **changes: str) -> str:
    """What ``watch`` writes on a terminal."""
    import pty

    master, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"} | changes
    command = [*CTL, "watch", "--seconds", "0.8", "--endpoint", daemon.endpoint]
    with subprocess.Popen(
        command, stdout=terminal, stderr=terminal, stdin=terminal, env=environment
    ) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                shown += os.read(master, 65536)
            except OSError:  # the terminal's other end is closed
                break
        assert process.wait(10) == 0, shown.decode()
    os.close(master)
    return shown.decode()


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"PYTHONIOENCODING": "latin-1"}])
def test_watch_writes_plain_lines_on_a_terminal_that_cannot_draw(
    daemon: FakeDaemon, environment: dict[str, str]
) -> None:
    text = watched(daemon, **environment)
    assert "state=running" in text
    assert "\x1b" not in text


def test_watch_draws_the_mask_on_a_terminal(daemon: FakeDaemon) -> None:
    text = watched(daemon)
    assert "█████" in text
    assert "standin" in text
    assert "lost on the way" in text


def test_a_snapshot_without_picture_has_the_labels_as_its_pixels(daemon: FakeDaemon, tmp_path: Path) -> None:
    file = tmp_path / "mask.png"
    out = ctl("snapshot", str(file), "--endpoint", daemon.endpoint)
    assert out.returncode == 0, out.stderr
    with Image.open(file) as image:
        assert image.mode == "P"
        labels = np.asarray(image)
    assert labels.shape == (48, 64)
    assert set(np.unique(labels)) == {0, 1}
    assert f"{np.mean(labels):.0%} person" in out.stdout
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".png"] == ["mask.png"]


def test_a_snapshot_shows_the_picture_where_there_is_one(endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "mask.png"
    with FakeDaemon(endpoint, frames=True) as daemon:
        out = ctl("snapshot", str(file), "--endpoint", daemon.endpoint)
    assert "mask over its picture" in out.stdout
    with Image.open(file) as image:
        assert (image.mode, image.size) == ("RGB", (64, 48))


def test_a_snapshot_of_the_highest_label_is_a_png(endpoint: str, tmp_path: Path) -> None:
    labels = np.array([[0, 254], [255, 1]], np.uint8)
    with FakeDaemon(endpoint, labels=labels) as daemon:
        out = ctl("snapshot", str(tmp_path / "mask.png"), "--endpoint", daemon.endpoint)
    assert out.returncode == 0, out.stderr
    with Image.open(tmp_path / "mask.png") as image:
        assert np.array_equal(np.asarray(image), labels)
        assert len(image.getpalette() or []) == 3 * 256


def test_a_snapshot_into_a_pipe_is_the_picture_and_nothing_else(daemon: FakeDaemon, tmp_path: Path) -> None:
    command = [*CTL, "snapshot", "-", "--endpoint", daemon.endpoint]
    out = subprocess.run(command, capture_output=True, timeout=30, check=False, cwd=tmp_path)
    assert out.returncode == 0, out.stderr
    with Image.open(io.BytesIO(out.stdout)) as image:
        assert np.asarray(image).shape == (48, 64)
    assert out.stderr.startswith(b"mask, frame ")
    assert not list(tmp_path.glob("-*")), "a file named - is what nobody wants"


# -- a daemon that is not -------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["status"], ["watch"], ["snapshot", "x.png"]])
def test_no_daemon_is_one_sentence_with_the_remedy(command: list[str], endpoint: str) -> None:
    out = ctl(*command, "--endpoint", endpoint, "--timeout", "0.2")
    assert out.returncode == 69
    assert out.stdout == ""
    assert out.stderr.count("\n") == 1
    assert "no daemon answers" in out.stderr
    assert "systemctl start gnetsegd" in out.stderr


def test_a_daemon_without_masks_is_no_silent_daemon(endpoint: str, tmp_path: Path) -> None:
    lost = {"state": "no-camera", "reason": "unplugged"}
    with FakeDaemon(endpoint, masks=False, status=lost) as daemon:
        out = ctl("snapshot", str(tmp_path / "x.png"), "--endpoint", daemon.endpoint, "--timeout", "0.5")
    assert out.returncode == 75
    assert "the daemon is no-camera: unplugged" in out.stderr
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["status", "--endpoint", "nonsense"], 64, "cannot subscribe at 'nonsense'"),
        (["status", "--camera", "Nine Chars"], 64, "1 to 8 of a-z"),
        (["status", "--timeout", "0"], 64, "timeout"),
        (["status", "--server-key", "/nowhere.key"], 66, "no CURVE key file"),
        (["fly"], 64, "No such command"),
    ],
)
def test_wrong_use_is_a_sentence(arguments: list[str], code: int, words: str) -> None:
    out = ctl(*arguments)
    assert out.returncode == code
    assert words in out.stderr
    assert "Traceback" not in out.stderr


def test_a_snapshot_that_cannot_be_written_leaves_nothing(daemon: FakeDaemon, tmp_path: Path) -> None:
    out = ctl("snapshot", str(tmp_path / "no" / "x.png"), "--endpoint", daemon.endpoint)
    assert out.returncode == 73
    assert "cannot be written" in out.stderr
    assert not (tmp_path / "no").exists()


def stand_in_the_way(path: Path, kind: str) -> None:
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))


@pytest.mark.parametrize("kind", ["FIFO", "folder", "socket"])
def test_a_snapshot_replaces_nothing_but_a_plain_file(daemon: FakeDaemon, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    stand_in_the_way(target, kind)
    before = target.stat()
    out = ctl("snapshot", str(target), "--endpoint", daemon.endpoint)
    assert out.returncode == 73
    assert f"{target}: is a {kind}, no plain file, and will not be replaced" in out.stderr
    assert (target.stat().st_mode, target.stat().st_ino) == (before.st_mode, before.st_ino)


def test_a_snapshot_is_not_written_onto_a_terminal(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(PermanentError, match="redirect the output") as caught:
        snapshot.take(Target(endpoint, "cam0", 0.1), Path("-"))
    assert caught.value.exit_code == 64


def test_a_snapshot_with_a_name_that_is_too_long_is_a_short_sentence(daemon: FakeDaemon) -> None:
    out = ctl("snapshot", "x" * 5000, "--endpoint", daemon.endpoint)
    assert out.returncode == 73
    assert "cannot be written: File name too long" in out.stderr
    assert len(out.stderr) < 400


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--endpoint", "ipc:///" + "x" * 5000], "cannot subscribe"),
        (["--server-key", "x" * 5000], "no CURVE key file: File name too long"),
    ],
)
def test_a_name_that_is_too_long_is_a_short_sentence(arguments: list[str], words: str) -> None:
    out = ctl("status", *arguments)
    assert out.returncode in (64, 66)
    assert words in out.stderr
    assert len(out.stderr) < 400


def test_too_few_descriptors_are_a_sentence(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, 16))
    out = ctl("status", "--endpoint", endpoint)
    assert out.returncode == 71
    assert out.stderr == "gnetsegctl: it may open 16 files, and needs 32; raise the limit (ulimit -n)\n"


def test_a_closed_output_is_a_sentence(endpoint: str) -> None:
    command = f"exec {sys.executable} -m gnetsegd.ctl.main status --endpoint {endpoint} >&-"
    out = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert out.returncode == 74
    assert out.stderr == "gnetsegctl: its output is closed; start it with one\n"


def test_an_output_that_is_full_is_a_sentence(daemon: FakeDaemon, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    command = [*CTL, "status", "--endpoint", daemon.endpoint]
    with (tmp_path / "out").open("wb") as out:
        end = subprocess.run(
            command, stdout=out, stderr=subprocess.PIPE, env=environment, text=True, timeout=30, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)),
        )  # fmt: skip
    assert end.returncode == 74
    assert end.stderr == "gnetsegctl: a file grew beyond what is allowed; raise the limit (ulimit -f)\n"


def test_a_socket_of_others_is_told_from_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = tmp_path / "masks.sock"
    socket.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for a user who is not in its group
    out = ctl("status", "--endpoint", f"ipc://{socket}")
    assert out.returncode == 77
    assert "join the group" in out.stderr


def test_rich_is_loaded_only_for_the_terminal() -> None:
    code = "import sys, gnetsegd.ctl.main, gnetsegd.ctl.status, gnetsegd.ctl.snapshot, gnetsegd.ctl.watch"
    code += "; print('rich' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


# -- keys -----------------------------------------------------------------------------------------


def test_keys_are_made_once_and_the_secret_is_for_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert ctl("keygen", str(folder), "robot").returncode == 0
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "robot.key": 0o644,
        "robot.key_secret": 0o600,
    }
    before = (folder / "robot.key").read_bytes()
    again = ctl("keygen", str(folder), "robot")
    assert again.returncode == 73
    assert "is there already" in again.stderr
    assert (folder / "robot.key").read_bytes() == before


@pytest.mark.parametrize("suffix", [".key", ".key_secret"])
def test_no_key_is_written_through_a_link(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / f"robot{suffix}").symlink_to(tmp_path / "elsewhere")
    out = ctl("keygen", str(folder), "robot")
    assert out.returncode == 73
    assert f"robot{suffix} is there already" in out.stderr
    assert [path.name for path in folder.iterdir()] == [f"robot{suffix}"], "half a pair is left"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("folder", "name", "code"), [("keys", "../robot", 64), ("keys", "", 64), ("x" * 300, "robot", 73)]
)
def test_keys_of_an_impossible_name_are_a_sentence(tmp_path: Path, folder: str, name: str, code: int) -> None:
    out = ctl("keygen", str(tmp_path / folder), name)
    assert out.returncode == code
    assert "Traceback" not in out.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["FIFO", "folder", "socket"])
def test_a_key_file_that_is_none_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    key = tmp_path / "x.key"
    stand_in_the_way(key, kind)
    out = ctl("status", "--server-key", str(key))
    assert out.returncode == 66
    assert f"no CURVE key file: it is a {kind}, no plain file" in out.stderr


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Publishers with and without CURVE that say nothing: their ports, and key files by their owner."""
    if not zmq.has("curve"):
        pytest.skip("this libzmq was built without CURVE")
    folder = tmp_path_factory.mktemp("keys")
    known = folder / "known"
    for owner in ("server", "friend", "stranger"):
        make_keys(folder, owner)
    known.mkdir()
    shutil.copy(folder / "friend.key", known)
    with zmq.Context() as context:
        authenticator = ThreadAuthenticator(context)
        authenticator.start()
        authenticator.configure_curve(domain="*", location=str(known))
        public, secret = load_certificate(str(folder / "server.key_secret"))
        with context.socket(zmq.XPUB) as guarded, context.socket(zmq.XPUB) as plain:
            guarded.setsockopt(zmq.CURVE_SERVER, 1)
            guarded.setsockopt(zmq.CURVE_PUBLICKEY, public)
            guarded.setsockopt(zmq.CURVE_SECRETKEY, secret or b"")
            yield {
                "guarded": guarded.bind_to_random_port("tcp://127.0.0.1"),
                "plain": plain.bind_to_random_port("tcp://127.0.0.1"),
                "folder": folder,
            }
        authenticator.stop()


@pytest.mark.parametrize(
    ("port", "server", "own", "code", "words"),
    [
        ("guarded", "server", "stranger", 77, "does not permit this key; there: sudo gnetsegctl keys add"),
        ("guarded", "server", "", 77, "permits only keys that it knows; give yours with --key"),
        ("guarded", "stranger", "friend", 77, "--server-key is not the key of this daemon"),
        ("guarded", "", "", 77, "wants CURVE there; give its public key with --server-key"),
        ("plain", "server", "friend", 77, "has no CURVE there; leave out --server-key"),
        ("guarded", "server", "friend", 69, "says nothing of camera cam0; name another with --camera"),
        ("plain", "", "", 69, "says nothing of camera cam0"),
    ],
)
def test_a_daemon_that_does_not_talk_to_me_is_no_daemon_that_is_not_there(
    curve: dict[str, Any],
    port: str,
    server: str,
    own: str,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "HANDSHAKE_S", 20.0)  # however slow this machine is just now
    arguments = ["--endpoint", f"tcp://127.0.0.1:{curve[port]}", "--timeout", "0.2"]
    if server:
        arguments += ["--server-key", str(curve["folder"] / f"{server}.key")]
    if own:
        arguments += ["--key", str(curve["folder"] / f"{own}.key_secret")]
    out = ctl("status", *arguments)
    assert words in out.stderr
    assert out.returncode == code
    assert out.stderr.count("\n") == 1


def test_what_speaks_another_language_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "HANDSHAKE_S", 20.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), peer:
                    peer.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n" * 4)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        out = ctl("status", "--endpoint", f"tcp://127.0.0.1:{port}", "--timeout", "0.2")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    assert out.returncode == 76
    assert "is no gnetsegd; name another --endpoint" in out.stderr


# -- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (48, 64, 3)])
def test_a_png_holds_the_pixels_that_were_written(shape: tuple[int, ...]) -> None:
    image = (np.arange(np.prod(shape)) % 251).astype(np.uint8).reshape(shape)
    with Image.open(io.BytesIO(encode_png(image))) as read:
        assert np.array_equal(np.asarray(read), image)


def test_a_png_with_a_palette_holds_labels_and_colours() -> None:
    with Image.open(io.BytesIO(encode_png(person(), palette(2)))) as read:
        assert np.array_equal(np.asarray(read), person())
        assert np.array_equal(np.asarray(read.convert("RGB"))[0, 0], palette(2)[0])


@pytest.mark.parametrize("wrong", [np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2), np.float32)])
def test_no_png_is_made_of_what_is_no_picture(wrong: Any) -> None:
    with pytest.raises(ValueError, match="no PNG"):
        encode_png(wrong)


def test_an_overlay_tints_the_person_and_nothing_else() -> None:
    grey = np.full((48, 64), 100, np.uint8)
    labels = person()
    picture = overlay(grey, labels)
    tinted = np.ptp(picture.astype(int), axis=2) > 0
    assert np.array_equal(tinted, labels > 0)
    assert picture[0, 0, 0] < 100
    assert edge(labels, 1).any()


def test_a_mask_of_another_size_covers_the_whole_picture() -> None:
    labels = np.array([[0, 1]], np.uint8)
    picture = overlay(np.full((8, 8), 200, np.uint8), labels, outline=0)
    assert (np.ptp(picture[:, :4].astype(int), axis=2) == 0).all()
    assert (np.ptp(picture[:, 4:].astype(int), axis=2) > 0).all()


def test_a_mask_in_blocks_has_its_shape_without_colours() -> None:
    labels = np.array([[0, 1, 1, 0], [0, 0, 1, 1]], np.uint8)
    assert blocks.draw(labels, 4, 1).plain == " ▀█▄"


def test_a_mask_in_blocks_fits_the_cells() -> None:
    rows = blocks.draw(person(224, 224), 100, 20).plain.split("\n")
    assert len(rows) == 20
    assert {len(row) for row in rows} == {40}


def test_durations_are_as_a_person_says_them() -> None:
    assert [duration(s) for s in (5, 119, 600, 7200, 200_000)] == ["5 s", "119 s", "10 min", "2 h", "2 days"]


def test_what_an_accelerator_says_of_itself_is_shown_in_words() -> None:
    usb = {"faults": {"absent": 1}, "last_fault": "", "recoveries": 0}
    assert words(usb) == "faults: absent: 1, recoveries: 0"
    assert words("as it is") == "as it is"

"""gnetsegctl tells a person how it is, in one sentence where it cannot."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from fake_publisher import FakeDaemon, person
from PIL import Image

from gnetsegd.ctl import blocks, snapshot
from gnetsegd.ctl.main import main
from gnetsegd.ctl.overlay import edge, overlay, palette
from gnetsegd.ctl.png import encode_png, write_whole
from gnetsegd.ctl.session import plain
from gnetsegd.ctl.status import duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    assert "no-camera: /dev/video0 is �[31mgone" in out.stdout
    assert "stands in for the preferred one" in out.stdout
    assert "\x1b" not in out.stdout, "a text from the network must not steer the terminal"


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


def test_watch_draws_the_mask_on_a_terminal(daemon: FakeDaemon) -> None:
    import pty

    master, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
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
    text = shown.decode()
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


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_whole(file, "not bytes")  # type: ignore[arg-type]
    assert file.read_bytes() == b"old"
    write_whole(file, b"new")
    assert file.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    umask = os.umask(0)
    os.umask(umask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask


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


def test_texts_of_the_network_have_no_control_characters() -> None:
    assert plain("a\x1b[2Jb\nc\x07\ud800") == "a�[2Jb�c��"


def test_durations_are_as_a_person_says_them() -> None:
    assert [duration(s) for s in (5, 119, 600, 7200, 200_000)] == ["5 s", "119 s", "10 min", "2 h", "2 days"]

"""What people make with it: the examples beyond receiving, and the cut-out."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_publisher import FakeDaemon
from PIL import Image

av = pytest.importorskip("av")

EXAMPLES = Path(__file__).parents[2] / "examples"
CLIP = Path(__file__).parents[2] / "tools" / "demo" / "clip.mp4"
PORTRAIT = Path(__file__).parents[1] / "data" / "portrait.npz"
LIMIT_S = 60


class Room(FakeDaemon):
    """Pictures of 128x96: the left half is person, in fine red stripes; the right is in fine blue ones."""

    def __init__(self, endpoint: str) -> None:
        labels = np.zeros((48, 64), np.uint8)
        labels[:, :32] = 1
        super().__init__(endpoint, images=True, labels=labels, width=64, height=48)
        stripes = np.where(np.arange(128) // 2 % 2, 230, 20).astype(np.uint8)
        picture = np.zeros((96, 128, 3), np.uint8)
        picture[:, :64, 0], picture[:, 64:, 2] = stripes[:64], stripes[64:]
        image = self.publisher.image
        self.publisher.image = lambda number, _: image(number, picture)  # type: ignore[method-assign,assignment]


@pytest.fixture
def room(ipc_endpoint: str) -> Iterator[Room]:
    with Room(ipc_endpoint) as made:
        yield made


def blurred(room: Room, tmp_path: Path, *words: str) -> np.ndarray:
    """The last picture of the film that the example makes: RGB."""
    out = tmp_path / "out.mp4"
    command = [
        sys.executable,
        EXAMPLES / "blur.py",
        out,
        "--endpoint",
        room.endpoint,
        "--pictures",
        "8",
        *words,
    ]
    subprocess.run(command, check=True, timeout=LIMIT_S)
    with av.open(str(out)) as film:
        pictures = [picture.to_ndarray(format="rgb24") for picture in film.decode(video=0)]
    assert len(pictures) == 8
    return pictures[-1]


def contrast(picture: np.ndarray, columns: slice) -> float:
    return float(picture[20:76, columns].max(axis=2).std())


def test_the_background_is_blurred_and_the_person_stays_sharp(room: Room, tmp_path: Path) -> None:
    picture = blurred(room, tmp_path)
    assert picture.shape == (96, 128, 3)
    assert contrast(picture, slice(4, 56)) > 60 > 30 > contrast(picture, slice(76, 120))


def test_people_are_blurred_and_the_room_stays_sharp(room: Room, tmp_path: Path) -> None:
    picture = blurred(room, tmp_path, "--people")
    assert contrast(picture, slice(76, 120)) > 60 > 30 > contrast(picture, slice(4, 56))


def test_another_background_is_put_behind(room: Room, tmp_path: Path) -> None:
    Image.new("RGB", (640, 200), (20, 200, 30)).save(tmp_path / "green.png")
    picture = blurred(room, tmp_path, "--background", str(tmp_path / "green.png")).astype(int)
    assert abs(picture[20:76, 80:120] - (20, 200, 30)).max() < 40
    assert contrast(picture, slice(4, 56)) > 60


def test_motion_jpeg_goes_to_stdout(room: Room) -> None:
    command = [sys.executable, EXAMPLES / "blur.py", "-", "--endpoint", room.endpoint, "--pictures", "3"]
    out = subprocess.run(command, check=True, timeout=LIMIT_S, capture_output=True).stdout
    assert out.count(b"\xff\xd8\xff") == 3
    assert Image.open(io.BytesIO(out)).size == (128, 96)


def test_without_pictures_it_says_how_to_switch_them_on(ipc_endpoint: str, tmp_path: Path) -> None:
    with FakeDaemon(ipc_endpoint):
        command = [sys.executable, EXAMPLES / "blur.py", tmp_path / "x.mp4", "--endpoint", ipc_endpoint]
        done = subprocess.run(command, timeout=LIMIT_S, capture_output=True, text=True)
    assert done.returncode == 1
    assert "set publish.images = true" in done.stderr


def test_an_endpoint_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, EXAMPLES / "blur.py", tmp_path / "x.mp4", "--endpoint", "nonsense"]
    done = subprocess.run(command, timeout=LIMIT_S, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot subscribe at 'nonsense'")


def test_a_robot_stops_for_a_person_and_for_silence_and_goes_when_the_way_is_clear(ipc_endpoint: str) -> None:
    clear, person = np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint8)
    person[30:, 20:40] = 1
    daemon = FakeDaemon(ipc_endpoint, labels=clear)
    daemon.start()
    command = [sys.executable, "-u", EXAMPLES / "stop_zone.py", ipc_endpoint]
    robot = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    limit = threading.Timer(LIMIT_S, robot.kill)
    limit.start()
    try:
        assert robot.stdout is not None
        assert robot.stdout.readline().startswith("STOP: ")
        assert robot.stdout.readline() == "GO: the way is clear\n"
        daemon._labels = person
        assert "of the way is person" in robot.stdout.readline()
        daemon._labels = clear
        assert robot.stdout.readline() == "GO: the way is clear\n"
        daemon.stop()
        assert robot.stdout.readline().startswith("STOP: the newest mask's picture is")
    finally:
        limit.cancel()
        robot.kill()
        robot.communicate()


@pytest.mark.runtime
def test_a_cut_out_to_stdout_is_the_png_alone_and_makes_no_file(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (9, 9, 9)).save(tmp_path / "photo.jpg")
    command = [sys.executable, "-m", "gnetsegd.ctl.main", "cutout", "photo.jpg", "-"]
    done = subprocess.run(command, cwd=tmp_path, timeout=LIMIT_S, capture_output=True, check=True)
    assert Image.open(io.BytesIO(done.stdout)).size == (64, 64)
    assert b"of the photo is person" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.runtime
def test_a_photo_is_cut_out_where_its_person_is(tmp_path: Path) -> None:
    portrait = np.load(PORTRAIT)
    photo = tmp_path / "photo.jpg"
    Image.fromarray(portrait["y"]).convert("RGB").resize((448, 448)).save(photo, quality=95)
    command = [sys.executable, "-m", "gnetsegd.ctl.main", "cutout", photo, tmp_path / "cut.png"]
    done = subprocess.run(command, check=True, timeout=LIMIT_S, capture_output=True, text=True)
    cut = Image.open(tmp_path / "cut.png")
    assert (cut.size, cut.mode) == ((448, 448), "RGBA")
    person = np.array(cut)[::2, ::2, 3] > 127
    wanted = portrait["mask"] > 0
    assert (person & wanted).sum() / (person | wanted).sum() > 0.9
    assert f"{person.mean():.0%} of the photo is person" in done.stdout


@pytest.mark.parametrize(
    ("source", "target", "words", "code"),
    [
        ("nowhere.jpg", "out.png", "nowhere.jpg: there is no such file; name another\n", 66),
        ("text.jpg", "out.png", "cannot be decoded", 65),
        (str(CLIP), "out.png", "segment takes films", 65), (".", "out.png", "is a folder; name one", 65),
        ("photo.jpg", "out.jpg", "a JPEG knows no alpha", 64),
        ("photo.jpg", "nowhere/out.png", "name a file in a folder that you may", 73),
        ("photo.jpg", ".", "name another", 73),
    ],
)  # fmt: skip
def test_a_cut_out_that_cannot_be_is_one_sentence(
    tmp_path: Path, source: str, target: str, words: str, code: int
) -> None:
    Image.new("RGB", (64, 64), (9, 9, 9)).save(tmp_path / "photo.jpg")
    (tmp_path / "text.jpg").write_text("no photo")
    command = [sys.executable, "-m", "gnetsegd.ctl.main", "cutout", tmp_path / source, tmp_path / target]
    done = subprocess.run(command, timeout=LIMIT_S, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr

"""Whatever stands where a file was named, reading it ends, and writing destroys nothing."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from gnetsegd.files import hidden_from_service, parse_toml, read_regular, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


NO_FILES: list[tuple[Callable[[Path], None], str]] = [
    (os.mkfifo, "is a FIFO, no plain file"),
    (make_socket, "is a socket, no plain file"),
    (os.mkdir, "is a folder, no plain file"),
    (lambda path: path.symlink_to("/dev/zero"), "is a device, no plain file"),
]
KINDS = ["fifo", "socket", "folder", "device"]


@pytest.mark.parametrize(("make", "words"), NO_FILES, ids=KINDS)
def test_what_is_no_plain_file_is_not_read(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    make(tmp_path / "x")
    with pytest.raises(ValueError, match=words):
        read_regular(tmp_path / "x", 100)


def test_a_fifo_that_takes_a_files_place_meanwhile_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, fifo = tmp_path / "file", tmp_path / "fifo"
    file.touch()
    os.mkfifo(fifo)
    before = file.stat()
    monkeypatch.setattr(type(fifo), "stat", lambda _: before)
    with pytest.raises(ValueError, match="is a FIFO"):
        read_regular(fifo, 100)


def test_a_plain_file_is_read_whole_up_to_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "x"
    content = bytes(range(256)) * 5000  # more than is read at once
    file.write_bytes(content)
    (tmp_path / "link").symlink_to(file)
    assert read_regular(tmp_path / "link", len(content)) == content
    with pytest.raises(ValueError, match="is larger than 1 MiB"):
        read_regular(file, 1 << 20)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "y", 1)


def test_a_file_that_says_it_is_empty_and_never_ends_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("/proc/self/maps")
    assert (tmp_path / "x").stat().st_size == 0
    with pytest.raises(ValueError, match="is larger than 10 bytes"):
        read_regular(tmp_path / "x", 10)


@pytest.mark.parametrize(
    "text", [b"v = " + b"[" * 3000, b"v = " + b"9" * 5000, b"\xff\xfe", b"v = 1\nv = 2", b"a" * 5000]
)
def test_toml_that_hurts_parsers_is_one_kind_of_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_toml(text)


@pytest.mark.parametrize("key", ["a" + ".a" * 200_000, "a" + ' . "b"' * 100_000, "[" + "a." * 200_000 + "a]"])
def test_a_key_that_takes_toml_minutes_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="a key of more than 100 parts"):
        parse_toml(f"{key} = 1".encode())


def test_dots_in_words_and_numbers_are_no_keys() -> None:
    words = "One sentence. Another one, version 1.2.3.4. " * 200
    assert parse_toml(f'words = "{words}"\nnumbers = [{"1.5, " * 500}]'.encode())["words"] == words


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"old")
    write_whole(file, b"new")
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o666 & ~current_umask()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, b"half")
    assert file.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def current_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


@pytest.mark.parametrize(("make", "words"), NO_FILES[:3], ids=KINDS[:3])
def test_what_is_no_plain_file_is_not_replaced(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    make(tmp_path / "x")
    kind = (tmp_path / "x").stat().st_mode
    with pytest.raises(ValueError, match=words):
        write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "x").stat().st_mode == kind
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    write_whole(tmp_path / "link", b"made")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path) -> None:
    file = tmp_path / ("x" * 255)
    write_whole(file, b"new")
    assert file.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("path", "is_hidden"),
    [
        ("/home/pi/street.mp4", True),
        ("/home", True),
        ("/srv/../tmp/street.mp4", True),
        ("/homes/street.mp4", False),
        ("/srv/street.mp4", False),
    ],
)
def test_what_the_unit_hides_is_told_to_services_alone(path, is_hidden, monkeypatch):
    monkeypatch.setenv("INVOCATION_ID", "f" * 32)
    assert ("a service sees nothing of /home" in hidden_from_service(path)) == is_hidden
    monkeypatch.delenv("INVOCATION_ID")
    assert hidden_from_service(path) == ""


def test_toml_as_windows_saves_it_is_read_or_is_a_sentence() -> None:
    assert parse_toml(b'\xef\xbb\xbfhost = "h"\r\n') == {"host": "h"}
    for encoding in ("utf-16", "latin-1"):
        with pytest.raises(ValueError, match="it is no UTF-8 text; save it as UTF-8"):
            parse_toml('host = "ä"'.encode(encoding))

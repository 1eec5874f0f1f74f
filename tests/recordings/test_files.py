"""A recording opens anywhere, whole; cut anywhere, all but its last chunk is there."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap.writer import Writer

from gnetsegd.recordings import RecordingError, writing
from gnetsegd.recordings.finishing import finish
from gnetsegd.recordings.reading import Recording
from gnetsegd.recordings.schemas import SCHEMAS
from gnetsegd.recordings.writing import RecordingWriter

from .made import BEGIN_NS, STEP_NS, message, recording

DOCS = Path(__file__).parents[2] / "docs"


def by_the_library(path: Path) -> list[tuple[str, bytes, int, int]]:
    """All messages as the ordinary reader of the mcap library has them."""
    with path.open("rb") as file:
        found = make_reader(file, validate_crcs=True).iter_messages(log_time_order=False)
        return [(channel.topic, item.data, item.log_time, item.publish_time) for _, channel, item in found]


def expected(count: int, *kinds: str) -> list[tuple[str, bytes, int, int]]:
    times = [BEGIN_NS + number * STEP_NS for number in range(count)]
    return [
        (f"{kind}/cam0", message(kind, number), sent_ns - 20_000_000, sent_ns)
        for number, sent_ns in enumerate(times)
        for kind in kinds
    ]


def test_the_ordinary_reader_has_every_byte_and_both_times(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", ("mask", "frame", "image"))
    assert by_the_library(path) == expected(10, "mask", "frame", "image")
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    assert summary.statistics is not None
    assert summary.statistics.message_count == 30
    schemas = {schema.name: schema.data.decode() for schema in summary.schemas.values()}
    assert schemas == {f"gnetsegd.{kind}": SCHEMAS[kind] for kind in ("mask", "frame", "image")}
    assert [item[:2] for item in expected(10, "mask", "frame", "image")] == [
        (f"{found.kind}/{found.camera}", found.data) for found in Recording(path)
    ]


def test_cut_at_any_byte_all_but_the_last_chunk_is_read_and_can_be_finished(tmp_path: Path) -> None:
    data = recording(tmp_path / "whole.mcap", count=10, finish=False).read_bytes()
    whole = recording(tmp_path / "finished.mcap", count=10).read_bytes()
    assert len(expected(8, "mask")) == len(list(Recording(tmp_path / "whole.mcap")))
    before = 0
    for size in [*range(8, len(whole) - 1, 97), len(whole) - 1, len(whole) - 8, len(data)]:
        path = tmp_path / "cut.mcap"
        path.write_bytes(whole[:size])
        there = Recording(path)
        found = [item.data for item in there]
        assert there.cut == (size < len(whole) - 8)
        assert len(found) in (0, 4, 8, 10)
        assert found == [item[1] for item in expected(len(found), "mask")]
        finish(path)
        assert by_the_library(path) == expected(len(found), "mask"), f"cut at {size}"
        assert finish(path).was_whole
        before = max(before, len(found))
    assert before == 10


def test_what_is_cut_is_refused_by_others_before_it_is_finished(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", finish=False)
    with pytest.raises(Exception):  # noqa: B017 - whatever the library says
        by_the_library(path)
    done = finish(path)
    assert (done.was_whole, done.messages) == (False, 8)
    assert by_the_library(path) == expected(8, "mask")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_index_finds_a_topic_after_finishing(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", ("mask", "frame"), finish=False)
    finish(path)
    with path.open("rb") as file:
        later = BEGIN_NS + 5 * STEP_NS
        found = list(make_reader(file).iter_messages(topics=["frame/cam0"], start_time=later))
    assert [item.data for _, _, item in found] == [message("frame", number) for number in (6, 7)]


def test_damage_in_the_midst_changes_nothing(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", count=12, finish=False)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="damaged at byte"):
        finish(path)
    assert path.read_bytes() == data


@pytest.mark.parametrize("content", [b"", b"no recording", b"\x89MCAP0\r", b"\x89MCAP0\r\nrubbish"])
def test_what_is_no_recording_is_called_so_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    if content.startswith(b"\x89MCAP0\r\n"):
        assert list(Recording(path)) == []
        return
    for look in (Recording, finish):
        with pytest.raises(RecordingError, match="no MCAP file"):
            look(path)
    assert path.read_bytes() == content


def test_others_channels_and_later_versions_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("other", "jsonschema", b"{}")
        for topic, encoding in (("mask/cam0", "gnetsegd"), ("lidar", "cdr"), ("mask2/cam0", "gnetsegd")):
            channel = writer.register_channel(topic, encoding, schema)
            writer.add_message(channel, 1, message("mask", 0), 2)
        writer.finish()
    found = Recording(path)
    assert [(item.kind, item.camera) for item in found] == [("mask", "cam0")]
    assert found.foreign == 2


def test_two_recorders_never_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    writer = RecordingWriter(path)
    with pytest.raises(RecordingError, match="it is there already"):
        RecordingWriter(path)
    with pytest.raises(RecordingError, match="another recorder is writing it"):
        finish(path)
    writer.finish()
    assert finish(path).was_whole


def test_on_a_full_disk_it_ends_with_a_sentence_and_the_file_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A disk of so many bytes: what does not fit is written in part, as a kernel does.
    room = 40_000
    real = os.write

    def write(fd: int, data: bytes) -> int:
        left = room - os.fstat(fd).st_size
        if left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, bytes(data)[:left])

    monkeypatch.setattr(writing.os, "write", write)
    path = tmp_path / "a.mcap"
    writer = RecordingWriter(path)

    def fill() -> None:
        for number in range(10_000):
            sent_ns = BEGIN_NS + number * STEP_NS
            writer.add("mask", "mask/cam0", message("mask", number), sent_ns - 20_000_000, sent_ns, number)
            writer.tick(number / 8)

    words = r"a\.mcap: No space left on device; the file is whole"
    with pytest.raises(RecordingError, match=words) as caught:
        fill()
    assert caught.value.exit_code == os.EX_IOERR
    found = by_the_library(path)
    assert len(found) > 50
    assert found == expected(len(found), "mask")
    assert path.stat().st_size <= room


KILLED = """
import os
import sys
sys.path[:0] = [{client!r}, {tests!r}]
from pathlib import Path
from recordings.made import BEGIN_NS, STEP_NS, message
from gnetsegd.recordings.writing import RecordingWriter
writer = RecordingWriter(Path(sys.argv[1]))
for number in range(100):
    sent = BEGIN_NS + number * STEP_NS
    writer.add("mask", "mask/cam0", message("mask", number), sent, sent, number)
    writer.tick(number / 8)
os.kill(os.getpid(), 9)
"""


def test_a_recorder_that_is_killed_leaves_whole_chunks(tmp_path: Path) -> None:
    script = tmp_path / "kill.py"
    tests = Path(__file__).parents[1]
    script.write_text(KILLED.format(tests=str(tests), client=str(tests / "client")))
    done = subprocess.run([sys.executable, str(script), str(tmp_path / "a.mcap")], check=False, timeout=60)
    assert done.returncode == -9
    found = [item.data for item in Recording(tmp_path / "a.mcap")]
    # Eight a chunk; what came after the last one is lost.
    assert len(found) >= 88
    assert found == [item[1] for item in expected(len(found), "mask")]


def test_the_schemas_are_the_table_of_the_page() -> None:
    page = (DOCS / "messages.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \| ([\w ]+) \|", page, re.M)
    table = [row for row in rows if row[3] in SCHEMAS["mask"] or row[3] == "reserved"]
    ours = re.findall(r"^(\d+) +(\d+) +(\w+) +([\w ]+)", SCHEMAS["mask"], re.M)
    assert [row[:3] for row in ours] == [row[:3] for row in table[: len(ours)]]
    assert all(row[3].startswith(said[3]) for row, said in zip(ours, table, strict=False))


def test_a_file_with_its_end_and_one_of_another_program_are_never_changed(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", count=12)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)
    assert finish(path).was_whole
    assert path.read_bytes() == data
    other = tmp_path / "other.mcap"
    with other.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2")
        channel = writer.register_channel("x", "cdr", writer.register_schema("x", "x", b""))
        writer.add_message(channel, 1, b"x" * 1000, 2)
        writer.finish()
    whole = other.read_bytes()
    assert finish(other).was_whole
    other.write_bytes(whole[:-20])
    with pytest.raises(RecordingError, match="no recording of gnetsegd; nothing was changed"):
        finish(other)
    assert other.read_bytes() == whole[:-20]

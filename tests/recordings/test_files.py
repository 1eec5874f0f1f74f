"""A recording opens anywhere, whole; cut anywhere, all but its last chunk is there."""

from __future__ import annotations

import io
import os
import re
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import zstandard
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType, Writer

from gnetsegd.recordings import RECORD_MAX_BYTES, RecordingError, records
from gnetsegd.recordings import packed as packing
from gnetsegd.recordings.finishing import Finished, finish
from gnetsegd.recordings.naming import free_name
from gnetsegd.recordings.reading import Recording
from gnetsegd.recordings.schemas import SCHEMAS
from gnetsegd.recordings.writing import RecordingWriter
from gnetsegd.vendor.mcap.opcode import Opcode

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
    before, header_end = 0, places(tmp_path / "whole.mcap")[0][2]
    for size in [*range(8, len(whole) - 1, 97), len(whole) - 1, len(whole) - 8, len(data)]:
        path = tmp_path / "cut.mcap"
        path.write_bytes(whole[:size])
        there = Recording(path)
        found = [item.data for item in there]
        if size < header_end:
            with pytest.raises(RecordingError, match="cut within its first bytes, and holds nothing"):
                finish(path)
            assert (found, path.stat().st_size) == ([], size)
            continue
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


def damaged_at(path: Path, *places: int) -> Path:
    data = bytearray(path.read_bytes())
    for at in places:
        data[at] ^= 0x55
    path.write_bytes(data)
    return path


def places(path: Path) -> list[tuple[int, int, int]]:
    """(opcode, start, end) of each record."""
    with path.open("rb") as file:
        return [(record.opcode, record.start, record.end) for record in records.records(file, "")]


@pytest.mark.parametrize("ending", ["whole", "cut"])
def test_a_damaged_byte_anywhere_costs_one_chunk_and_no_more(tmp_path: Path, ending: str) -> None:
    source = recording(tmp_path / "source.mcap", ("mask", "frame"), count=24, finish=ending == "whole")
    data = source.read_bytes()
    every = {item[1] for item in expected(24, "mask", "frame")}
    header_end = places(source)[0][2]
    chunks = [(start, end) for opcode, start, end in places(source) if opcode == Opcode.CHUNK]
    heads = [at for start, _ in chunks for at in range(start, start + 50, 3)]
    last = chunks[-2][0]
    for at in [*heads, *range(header_end, last, 151)]:
        if at >= last:
            continue
        path = tmp_path / "damaged.mcap"
        path.write_bytes(data)
        damaged_at(path, at)
        found = Recording(path)
        there = [item.data for item in found]
        assert len(set(there) & every) == len(there) >= 24 * 2 - 4 * 2 - (8 if ending == "cut" else 0), at
        done = finish(path)
        assert path.stat().st_size > 0.9 * len(data), f"{at}: what was written is thrown away"
        assert [item[1] for item in by_the_library(path)] == there, f"damaged at {at}"
        assert [item.data for item in Recording(path)] == there
        assert done.messages == len(there)
        assert finish(path).was_whole


@pytest.mark.parametrize("ending", ["whole", "cut"])
def test_a_chunk_that_seems_to_be_another_record_is_told_and_costs_no_other(
    tmp_path: Path, ending: str
) -> None:
    source = recording(tmp_path / "source.mcap", count=24, finish=ending == "whole")
    data = source.read_bytes()
    chunk = [start for opcode, start, _ in places(source) if opcode == Opcode.CHUNK][1]
    # A footer's, above all: behind it nothing follows.
    for opcode in [*range(Opcode.CHUNK), *range(Opcode.CHUNK + 1, records.PRIVATE), 0x86, 0xFF]:
        path = tmp_path / "damaged.mcap"
        path.write_bytes(data[:chunk] + bytes([opcode]) + data[chunk + 1 :])
        found = Recording(path)
        assert (len(list(found)), found.damaged, found.cut) == (20, 1, ending == "cut"), opcode
        done = finish(path)
        assert (done.messages, done.damaged, done.left_out_bytes) == (20, 1, 0), opcode
        assert len(by_the_library(path)) == 20
        assert (len(list(found)), found.damaged, found.cut) == (20, 1, False), opcode


def test_what_is_damaged_is_told_and_stays_there(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", count=24, finish=False)
    chunk = [item for item in places(path) if item[0] == Opcode.CHUNK][1]
    before = damaged_at(path, chunk[1] + 500).read_bytes()
    found = Recording(path)
    assert len(list(found)) == 20
    assert (found.damaged, found.cut) == (1, True)
    done = finish(path)
    assert (done.damaged, done.messages) == (1, 20)
    assert path.read_bytes()[chunk[1] + 9 : chunk[2]] == before[chunk[1] + 9 : chunk[2]]
    list(found)
    assert (found.damaged, found.cut) == (1, False)


def test_where_much_would_go_nothing_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnetsegd.recordings.finishing.TAIL_MAX_BYTES", 500)
    path = recording(tmp_path / "a.mcap", count=12, finish=False)
    data = path.read_bytes() + b"\0" * 600
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="damaged at byte"):
        finish(path)
    assert path.read_bytes() == data


def test_what_a_file_has_grown_behind_its_end_is_cut_off(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap")
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(4096))
    assert finish(path) == Finished(was_whole=False, messages=10, left_out_bytes=4096)
    assert by_the_library(path) == expected(10, "mask")
    assert finish(path).was_whole


@pytest.mark.parametrize("damaged", [False, True])
def test_two_recordings_in_one_file_are_not_cut_to_one(tmp_path: Path, damaged: bool) -> None:
    data = recording(tmp_path / "a.mcap").read_bytes()
    path = tmp_path / "b.mcap"
    joined = bytearray(data + data)
    if damaged:  # the checksum of the summary of the first
        joined[len(data) - 10] ^= 0xFF
    path.write_bytes(joined)
    with pytest.raises(RecordingError, match=f"behind its end, at byte {len(data)}, .*nothing was changed"):
        finish(path)
    assert path.read_bytes() == joined


def test_chunks_behind_what_seemed_to_be_the_end_are_kept(tmp_path: Path) -> None:
    first, second = recording(tmp_path / "a.mcap"), recording(tmp_path / "b.mcap", finish=False)
    with first.open("rb") as file:
        footer = next(found for found in records.records(file, "a") if found.opcode == Opcode.FOOTER)
    path = tmp_path / "c.mcap"
    path.write_bytes(first.read_bytes()[: footer.start] + second.read_bytes())
    before = [item.data for item in Recording(path)]
    assert len(before) > 10
    assert finish(path).messages == len(before)
    assert [item.data for item in Recording(path)] == before
    assert [data for _, data, _, _ in by_the_library(path)] == before


def test_in_haste_it_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = recording(tmp_path / "a.mcap", ("mask", "frame"), count=24, finish=False).read_bytes()
    thorough, hasty = tmp_path / "thorough.mcap", tmp_path / "hasty.mcap"
    for path in (thorough, hasty):
        path.write_bytes(data[:-200])
    done = finish(thorough)
    read: list[object] = []
    inner = records.inner
    monkeypatch.setattr(records, "inner", lambda chunk, shown: read.append(chunk) or inner(chunk, shown))
    monkeypatch.setattr("gnetsegd.recordings.finishing.FRESH_BYTES", len(data) // 2)
    assert finish(hasty, in_haste=True) == done
    assert hasty.read_bytes() == thorough.read_bytes()
    assert len(read) < 6, "it reads what is surely on the disk"
    assert finish(hasty, in_haste=True).was_whole


def test_a_hundred_gigabytes_are_finished_without_being_read(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", count=8, finish=False)
    # Sparse: private records of 128 MB, of which nothing is on the disk, between two of our chunks.
    tail = places(path)[-3][1]
    data, size = path.read_bytes(), 128 << 20
    with path.open("r+b") as file:
        file.truncate(tail)
        file.seek(tail)
        for _ in range(800):
            file.write(records.HEAD.pack(0x81, size))
            file.seek(size, os.SEEK_CUR)
        file.write(data[tail:])
    assert path.stat().st_size > 100e9
    before = resource.getrusage(resource.RUSAGE_SELF).ru_inblock
    done = finish(path, in_haste=True)
    assert (done.was_whole, done.left_out_bytes) == (False, 0)
    assert by_the_library(path) == expected(8, "mask")
    # In blocks of 512 bytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_inblock - before < 100_000


@pytest.mark.parametrize("compression", [CompressionType.NONE, CompressionType.ZSTD])
def test_others_files_are_left_as_they_are(tmp_path: Path, compression: CompressionType) -> None:
    path = tmp_path / "ros.mcap"
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=1000, compression=compression)
        writer.start("ros2", "rosbag2")
        channel = writer.register_channel(
            "lidar", "cdr", writer.register_schema("other", "jsonschema", b"{}")
        )
        for number in range(100):
            writer.add_message(channel, number, b"%d" % number * 10, number)
        writer.finish()
    whole = path.read_bytes()
    for data in (whole, whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(RecordingError, match=r"not written by gnetsegd and is left as it is"):
            finish(path)
        assert path.read_bytes() == data


def test_what_is_compressed_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start("gnetsegd", "gnetsegd")
        schema = writer.register_schema("gnetsegd.mask", "gnetsegd", b"")
        channel = writer.register_channel("mask/cam0", "gnetsegd", schema)
        writer.add_message(channel, 1, message("mask", 0), 2)
        writer.finish()
    data = path.read_bytes()
    monkeypatch.setitem(sys.modules, "zstandard", None)
    for look in (Recording, finish):
        with pytest.raises(RecordingError, match=r"it is compressed \(zstd\).*mcap decompress"):
            look(path)
    assert path.read_bytes() == data


def packed(path: Path, library: str = "another", **options: Any) -> list[bytes]:
    """Twenty of our messages as another program may have written them."""
    sent = [message("mask", number) for number in range(20)]
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start("gnetsegd", library)
        schema = writer.register_schema("gnetsegd.mask", "gnetsegd", b"")
        channel = writer.register_channel("mask/cam0", "gnetsegd", schema)
        for number, data in enumerate(sent):
            writer.add_message(channel, number, data, number)
        writer.finish()
    return sent


@pytest.mark.parametrize(
    "options",
    [
        {"compression": CompressionType.ZSTD},
        {"compression": CompressionType.LZ4, "chunk_size": 1000},
        {"use_chunking": False},
        {"index_types": IndexType.NONE, "use_statistics": False, "enable_crcs": False},
    ],
)
def test_as_other_programs_write_it_it_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    sent = packed(tmp_path / "a.mcap", **options)
    found = Recording(tmp_path / "a.mcap")
    assert [item.data for item in found] == sent
    assert found.left_out() == []


def test_in_a_recording_of_ours_a_message_without_its_chunk_is_none(tmp_path: Path) -> None:
    # No checksum is over it: it is what a damaged chunk left.
    packed(tmp_path / "a.mcap", library="gnetsegd", use_chunking=False)
    assert list(Recording(tmp_path / "a.mcap")) == []


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4])
def test_a_damaged_byte_of_what_is_compressed_costs_one_chunk(
    tmp_path: Path, compression: CompressionType
) -> None:
    path = tmp_path / "a.mcap"
    sent = packed(path, compression=compression, chunk_size=1000)
    with path.open("rb") as file:
        chunks = [found for found in records.records(file, "a") if found.opcode == Opcode.CHUNK]
    whole = path.read_bytes()
    # From behind the name of the compression: of its magic, its length, its blocks, its end.
    for at in range(chunks[1].start + 49 + 8, chunks[1].end):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        found = Recording(path)
        got = [item.data for item in found]
        assert set(got) <= set(sent)
        assert len(sent) - len(got) <= len(sent) // len(chunks) + 1
        assert found.damaged == (got != sent)


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_what_is_larger_than_it_says_is_damage_and_takes_no_memory(name: str) -> None:
    size = 16 << 20
    bomb = zstandard.compress(bytes(size)) if name == "zstd" else lz4.frame.compress(bytes(size))
    assert packing.unpack(bomb, name, size) == bytes(size)
    tracemalloc.start()
    try:
        for said in (100, RECORD_MAX_BYTES + 1):
            with pytest.raises(ValueError, match="bytes"):
                packing.unpack(bomb, name, said)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_is_cut_while_it_is_read_ends_there(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", count=12)
    found = Recording(path)
    reading = iter(found)
    got = [next(reading).data]
    os.truncate(path, 2000)
    got += [item.data for item in reading]
    assert got == [message("mask", number) for number in range(len(got))]
    assert found.cut


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "this file is empty; there is nothing in it to recover"),
        (b"\x89MCAP0\r", "it was cut within its first bytes, and holds nothing"),
    ],
)
def test_a_recorder_that_came_to_nothing_is_told_apart_from_other_files(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    for look in (Recording, finish):
        with pytest.raises(RecordingError, match=words):
            look(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["y" * 300, "y" * 300 + "/a.mcap"])
def test_a_place_that_cannot_be_looked_at_is_a_sentence(tmp_path: Path, name: str) -> None:
    for look in (Recording, finish, lambda path: free_name(path, print)):
        with pytest.raises(RecordingError, match=r"cannot be (read|finished|written) \(File name too long\)"):
            look(tmp_path / name)


@pytest.mark.parametrize("content", [b"no recording", b"\x89MCAP0\r\nrubbish"])
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


@pytest.mark.parametrize("seconds", [1, 8])
def test_on_a_full_disk_it_ends_with_a_sentence_and_the_file_is_whole(
    tmp_path: Path, room: Callable[[int], None], seconds: int
) -> None:
    # In many chunks of little each, as of a day, the end alone takes the room of many seconds.
    path = tmp_path / "a.mcap"
    writer = RecordingWriter(path)

    def fill() -> None:
        for number in range(10_000):
            sent_ns = BEGIN_NS + number * STEP_NS
            writer.add("mask", "mask/cam0", message("mask", number), sent_ns - 20_000_000, sent_ns, number)
            writer.tick(number / seconds)

    room(40_000)
    with pytest.raises(
        RecordingError, match=r"a\.mcap: .+; the file is whole up to the last seconds"
    ) as caught:
        fill()
    assert caught.value.exit_code == os.EX_IOERR
    found = by_the_library(path)
    assert len(found) > 50
    assert found == expected(len(found), "mask")
    assert path.stat().st_size <= 40_000
    assert (writer.messages, writer.size_bytes) == (len(found), path.stat().st_size)
    assert finish(path).was_whole


def test_a_disk_that_is_full_within_the_first_second_leaves_a_whole_file(
    tmp_path: Path, room: Callable[[int], None]
) -> None:
    path = tmp_path / "a.mcap"
    writer = RecordingWriter(path)
    room(5_000)
    for number in range(100):
        writer.add("mask", "mask/cam0", message("mask", number), BEGIN_NS, BEGIN_NS, number)
    with pytest.raises(RecordingError, match="the file is whole up to the last seconds"):
        writer.finish()
    assert by_the_library(path) == []
    assert (writer.messages, writer.size_bytes) == (0, path.stat().st_size)
    assert finish(path).was_whole


@pytest.mark.parametrize("when", ["each second", "at the end"])
def test_a_file_that_somebody_removes_is_told_as_lost_and_one_that_is_renamed_is_not(
    tmp_path: Path, when: str
) -> None:
    path = tmp_path / "a.mcap"
    writer = RecordingWriter(path)
    writer.tick(0.0)
    writer.add("mask", "mask/cam0", message("mask", 0), BEGIN_NS, BEGIN_NS)
    path = path.rename(tmp_path / "b.mcap")
    writer.tick(1.5)
    path.unlink()
    with pytest.raises(RecordingError, match=r"a\.mcap: somebody has removed it"):
        writer.tick(3.0) if when == "each second" else writer.finish()
    assert (writer.messages, writer.size_bytes) == (0, 0)


def test_on_a_disk_that_is_full_already_no_file_is_left(tmp_path: Path, room: Callable[[int], None]) -> None:
    room(10)
    with pytest.raises(RecordingError, match=r"a\.mcap: cannot be written"):
        RecordingWriter(tmp_path / "a.mcap")
    assert list(tmp_path.iterdir()) == []


def test_times_that_no_clock_has_had_do_not_end_a_recording(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a.mcap")
    writer.add("mask", "mask/cam0", message("mask", 0), 1 << 70, -5)
    writer.finish()
    assert by_the_library(writer.path) == [("mask/cam0", message("mask", 0), (1 << 64) - 1, 0)]


KILLED = """
import os
import sys
sys.path[:0] = [{client!r}, {tests!r}]
from pathlib import Path
from recordings.made import BEGIN_NS, STEP_NS, message
from gnetsegd.recordings.writing import RecordingWriter
from gnetsegd.vendor.mcap.opcode import Opcode
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


class _Counting(io.BufferedReader):
    """A file that knows how much of it was read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_holes_of_a_file_are_not_searched(tmp_path: Path) -> None:
    hole_bytes = 8 << 30
    source, path = recording(tmp_path / "a.mcap", count=12), tmp_path / "b.mcap"
    data = source.read_bytes()
    with source.open("rb") as file:
        second = [found.start for found in records.records(file, "a") if found.opcode == Opcode.CHUNK][1]
    with path.open("wb") as out:
        out.write(data[:second])
        out.seek(hole_bytes)
        out.write(data[second:])
    with _Counting(io.FileIO(path)) as counting:
        found = list(records.records(counting, "b"))
        assert counting.count < 1 << 30
    assert [record.opcode for record in found].count(Opcode.CHUNK) == 3
    assert len(list(Recording(path))) == 12
    with path.open("wb") as out:
        out.write(data[:second])
        out.truncate(hole_bytes)
    with _Counting(io.FileIO(path)) as counting:
        assert records.next_chunk(counting, second, hole_bytes) is None
        assert counting.count < 1 << 30

"""Recorded and replayed: what a reader gets is what was sent, but for the times of now."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_publisher import FakeDaemon, person
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.wrappers_pb2 import Int64Value
from mcap.reader import make_reader
from PIL import Image

from gnetsegd.client import MaskSubscriber, NoData, StatusSubscriber
from gnetsegd.client.pictures import geometry_of, stretched
from gnetsegd.message import parse_header, parse_image, parse_json
from gnetsegd.recordings import RecordingError, records, waiting
from gnetsegd.recordings.finishing import finish
from gnetsegd.recordings.naming import free_name
from gnetsegd.recordings.reading import Recorded, Recording
from gnetsegd.recordings.writing import RecordingWriter
from gnetsegd.services.record import command, converting, foxglove, recorder
from gnetsegd.services.record.replay import Replay
from gnetsegd.services.record.replay import Wish as ReplayWish
from gnetsegd.vendor.mcap.opcode import Opcode

from .made import BEGIN_NS, SESSION, STEP_NS, info_of, mask_of, message, recording, status_of

LIMIT_S = 30.0


@pytest.fixture
def daemon(ipc_endpoint: str) -> Iterator[FakeDaemon]:
    with FakeDaemon(ipc_endpoint, images=True) as made:
        yield made


def recorded(path: Path, endpoint: str, **wish: Any) -> recorder.Done:
    return recorder.record(path, endpoint, "cam0", recorder.Wish(**wish), threading.Event())


def test_all_that_is_sent_is_recorded_with_the_times_of_the_daemon(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    done = recorded(tmp_path / "a.mcap", daemon.endpoint, seconds=2.5, pictures=True)
    assert (done.lost, done.error) == (0, None)
    found = list(Recording(done.path))
    kinds = {message.kind for message in found}
    assert kinds == {"mask", "info", "status", "image"}
    headers = [parse_header(message.data) for message in found if message.kind == "mask"]
    assert len(headers) == done.masks > 3
    assert [header.sequence for header in headers] == list(
        range(headers[0].sequence, headers[-1].sequence + 1)
    )
    info = next(parse_json(message.data)[2] for message in found if message.kind == "info")
    offset = info["monotonic_to_wall_offset_ns"]
    for mask, header in zip((m for m in found if m.kind == "mask"), headers, strict=True):
        assert mask.log_ns == header.sensor_timestamp_ns + offset
        assert mask.publish_ns == header.publish_timestamp_ns + offset


def test_it_ends_when_the_file_is_large_enough_and_is_whole(daemon: FakeDaemon, tmp_path: Path) -> None:
    done = recorded(tmp_path / "a.mcap", daemon.endpoint, max_bytes=60_000, seconds=LIMIT_S)
    assert done.seconds < LIMIT_S
    assert 60_000 <= done.path.stat().st_size < 200_000
    with done.path.open("rb") as file:
        assert make_reader(file).get_summary() is not None


def written(path: Path, *messages: bytes, wait_s: float = 0.0) -> list[Recorded]:
    """What the disk's thread makes of them."""
    disk = recorder._Disk(RecordingWriter(path), 0)
    disk.start()
    for data in messages:
        disk.take(data)
        time.sleep(wait_s)
    disk.finish()
    assert disk.error is None
    return list(Recording(path))


def test_a_clock_that_jumps_changes_no_time_of_a_session(tmp_path: Path) -> None:
    found = written(
        tmp_path / "a.mcap",
        info_of(1, 1_000),
        mask_of(1, 40, 50),
        info_of(1, 10**18),
        mask_of(1, 140, 150, 1),
        info_of(2, 10**18),
        mask_of(2, 240, 250),
    )
    assert [(item.kind, item.log_ns, item.publish_ns) for item in found] == [
        ("info", 1_050, 1_050),
        ("mask", 1_040, 1_050),
        ("info", 1_050, 1_050),
        ("mask", 1_140, 1_150),
        ("info", 10**18 + 250, 10**18 + 250),
        ("mask", 10**18 + 240, 10**18 + 250),
    ]


def test_masks_that_come_before_their_info_have_their_daemons_time_and_not_this_machines(
    tmp_path: Path,
) -> None:
    # Another machine: its clock began days later, and tells another year.
    found = written(tmp_path / "a.mcap", mask_of(5, 10, 20), status_of(5, 30), info_of(5, 7_000_000))
    assert [(item.kind, item.log_ns, item.publish_ns) for item in found] == [
        ("mask", 7_000_010, 7_000_020),
        ("status", 7_000_030, 7_000_030),
        ("info", 7_000_030, 7_000_030),
    ]


def test_where_no_info_comes_the_arrival_tells_the_time_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnetsegd.services.record.clocks.WAIT_S", 0.05)
    before_ns = time.time_ns()
    found = written(
        tmp_path / "a.mcap", mask_of(5, 10, 20), mask_of(5, 1_010, 1_020, 1), info_of(5, 7), wait_s=0.3
    )
    assert [item.kind for item in found] == ["mask", "mask", "info"]
    assert before_ns <= found[0].publish_ns <= time.time_ns()
    assert [item.publish_ns - found[0].publish_ns for item in found] == [0, 1_000, 1_000]
    assert found[1].log_ns == found[1].publish_ns - 10


def test_a_publisher_that_lies_does_not_end_a_recording(tmp_path: Path) -> None:
    lies = [
        mask_of(1, 2**64 - 1, 2**64 - 1),
        status_of(1, 10**299),
        status_of(1, -(10**299)),
        b"mask/cam0".ljust(16, b"\0") + b"nonsense",
        b"",
    ]
    sessions = [info_of(session, session) for session in range(2, 200)]
    found = written(tmp_path / "a.mcap", info_of(1, 1_000), *lies, mask_of(1, 40, 50), *sessions)
    assert [item.log_ns for item in found if item.data == mask_of(1, 40, 50)] == [1_040]
    with (tmp_path / "a.mcap").open("rb") as file:
        assert make_reader(file, validate_crcs=True).get_summary() is not None


def test_a_disk_that_never_answers_is_given_up_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "DISK_LIMIT_S", 0.3)
    answers = threading.Event()
    writer = RecordingWriter(tmp_path / "a.mcap")
    monkeypatch.setattr(writer, "tick", lambda _: answers.wait(LIMIT_S))
    disk = recorder._Disk(writer, 0)
    disk.start()
    disk.take(mask_of(1, 40, 50))
    disk.finish()
    error = disk.error
    answers.set()
    assert re.search(r"the disk has done nothing for 0 s; gnetsegctl recover makes", str(error))


def test_what_finds_no_room_while_the_disk_is_waited_for_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "WAITING_MAX_BYTES", 1_000)
    writer = RecordingWriter(tmp_path / "a.mcap")
    disk = recorder._Disk(writer, 0)
    for number in range(20):
        disk.take(mask_of(1, 40 + number, 50 + number, number))
    assert disk.no_room == 20 - 4
    disk.start()
    disk.finish()
    assert len(list(Recording(writer.path))) == disk.masks == 4


def test_a_daemon_that_falls_silent_is_told_and_so_is_its_return(
    tmp_path: Path, ipc_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "SILENT_S", 0.6)
    stop = threading.Event()
    told: list[str] = []
    done: list[recorder.Done] = []

    def record() -> None:
        done.append(
            recorder.record(tmp_path / "a.mcap", ipc_endpoint, "cam0", recorder.Wish(), stop, told.append)
        )

    thread = threading.Thread(target=record)
    thread.start()
    deadline = time.monotonic() + LIMIT_S
    for session, before, after in ((1, 0, 1), (2, 2, 3)):
        with FakeDaemon(ipc_endpoint, session=session):
            while len(told) < before and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.3)
        while len(told) < after and time.monotonic() < deadline:
            time.sleep(0.02)
    stop.set()
    thread.join()
    silent = "nothing has come from the daemon for 1 s; it is waited for"
    assert told == [silent, "the daemon is heard again", silent]
    assert {message.kind for message in Recording(done[0].path)} == {"mask", "info", "status"}


def test_frames_that_are_lost_are_counted_as_masks_are(tmp_path: Path) -> None:
    disk = recorder._Disk(RecordingWriter(tmp_path / "a.mcap"), 0)
    disk.start()
    for number in (1, 2, 5):
        disk.take(mask_of(1, 40 + number, 50 + number, number, kind="frame"))
        disk.take(mask_of(1, 40 + number, 50 + number, number))
    disk.finish()
    assert disk.lost == {"mask": 2, "frame": 2}


def test_what_is_not_closed_yet_counts_for_the_size(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a.mcap")
    for number in range(100):
        writer.add("mask", "mask/cam0", mask_of(1, 40, 50, number), 40, 50, number)
    assert writer.size_bytes > 100 * len(mask_of(1, 40, 50))
    writer.finish()
    assert writer.size_bytes == writer.path.stat().st_size


def test_the_end_is_written_into_the_recorders_own_file_whatever_bears_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    writer = RecordingWriter(path)
    writer.add("mask", "mask/cam0", mask_of(1, 40, 50), 40, 50)
    for number in (0.0, 2.0):
        writer.tick(number)
    path.rename(tmp_path / "b.mcap")
    path.write_bytes(b"another's")
    with pytest.raises(RecordingError, match="the file is whole"):
        writer._end_in_need(OSError(28, "No space left on device"))
    assert path.read_bytes() == b"another's"
    assert finish(tmp_path / "b.mcap").was_whole


def test_a_terminal_that_goes_away_leaves_a_whole_file(daemon: FakeDaemon, tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    command = [sys.executable, "-m", "gnetsegd.ctl", "record", str(path), "--endpoint", daemon.endpoint]
    # The tests themselves may run under nohup, which a child inherits.
    command = ["env", "--default-signal=HUP", *command]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert finish(path).was_whole


def test_a_recorder_whose_words_nobody_hears_any_more_goes_on(daemon: FakeDaemon, tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    command = [sys.executable, "-m", "gnetsegd.ctl", "record", str(path), "--endpoint", daemon.endpoint]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*command, "--seconds", "0.5"], stderr=full, timeout=LIMIT_S)
    assert done.returncode == 0
    found = finish(path)
    assert found.was_whole
    assert found.messages > 0


def test_a_name_that_is_taken_is_left_and_a_file_without_its_end_gets_it(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "a.mcap"
    assert free_name(path, told.append) == path
    recording(path, finish=False)
    assert free_name(path, told.append) == tmp_path / "a-2.mcap"
    assert "whole again" in told[0]
    (tmp_path / "a-2.mcap").write_bytes(b"something else")
    assert free_name(path, told.append) == tmp_path / "a-3.mcap"
    assert (tmp_path / "a-2.mcap").read_bytes() == b"something else"
    with pytest.raises(RecordingError, match="this is a folder; name a file in it"):
        free_name(tmp_path, told.append)


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder"])
def test_what_is_no_file_is_called_so_and_left(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/full")
    for look in (finish, Recording, lambda path: free_name(path, print)):
        with pytest.raises(RecordingError, match=r"this is (no file|a folder; name a file in it)"):
            look(path)
    assert list(tmp_path.iterdir()) == [path]


def replayed(path: Path, endpoint: str, **wish: Any) -> Replay:
    made = Replay(Recording(path), endpoint)
    stop = threading.Event()

    def play() -> None:
        made.wait_for_reader(stop)
        made.play(ReplayWish(**wish), stop, lambda _: None)

    made.stop = stop  # type: ignore[attr-defined]
    made.thread = threading.Thread(target=play)  # type: ignore[attr-defined]
    made.thread.start()  # type: ignore[attr-defined]
    return made


def end(made: Any) -> None:
    made.stop.set()
    made.thread.join(LIMIT_S)
    made.close()


def test_a_reader_cannot_tell_a_replay_but_for_the_flag(
    daemon: FakeDaemon, tmp_path: Path, ipc_endpoint: str
) -> None:
    path = recorded(tmp_path / "a.mcap", daemon.endpoint, seconds=2.5).path
    made = replayed(path, f"{ipc_endpoint}-again")
    try:
        with MaskSubscriber(made.endpoint, newest_only=False) as masks:
            found = []
            deadline = time.monotonic() + LIMIT_S
            for mask in masks.follow(0.5):
                assert time.monotonic() < deadline
                if not isinstance(mask, NoData):
                    found.append((mask, masks.valid, mask.age_s))
                if len(found) == 20:
                    break
            info = masks.info()
        assert all(valid for _, valid, _ in found)
        assert all(0 <= age_s < 3 for _, _, age_s in found)
        assert info is not None
        assert info["replay"] is True
        assert found[0][0].session == info["session"]
        original = {parse_header(m.data).sequence: m for m in Recording(path) if m.kind == "mask"}
        for mask, _, _ in found:
            data = original[mask.sequence].data
            assert parse_header(data).session != mask.session
            labels = np.frombuffer(data, np.uint8, offset=128)
            assert np.array_equal(mask.labels.reshape(-1), labels)
            assert mask.header.latency_ns == parse_header(data).latency_ns
    finally:
        end(made)


def test_spacing_is_that_of_the_recording_and_rate_divides_it(tmp_path: Path, ipc_endpoint: str) -> None:
    path = recording(tmp_path / "a.mcap", count=5)
    begun_ns = time.monotonic_ns()
    made = replayed(path, ipc_endpoint, rate=0.5)
    try:
        with MaskSubscriber(made.endpoint, newest_only=False) as masks:
            times: list[int] = []
            deadline = time.monotonic() + LIMIT_S
            while len(times) < 5 and time.monotonic() < deadline:
                mask = masks.receive(0.2)
                if mask is not None:
                    times.append(mask.publish_timestamp_ns)
        assert len(times) == 5
        # A busy machine sends late, never early: at twice the rate it would be.
        assert all(at >= begun_ns + number * 2 * STEP_NS for number, at in enumerate(times))
    finally:
        end(made)


def test_each_loop_is_a_new_session(tmp_path: Path, ipc_endpoint: str) -> None:
    path = recording(tmp_path / "a.mcap", count=3)
    made = replayed(path, ipc_endpoint, rate=10.0, loop=True)
    try:
        with MaskSubscriber(made.endpoint, newest_only=False) as masks:
            found: list[Any] = []
            deadline = time.monotonic() + LIMIT_S
            while len(found) < 9 and time.monotonic() < deadline:
                mask = masks.receive(0.2)
                if mask is not None:
                    found.append(mask)
        assert [mask.sequence for mask in found] == [0, 1, 2] * 3
        assert len({mask.session for mask in found}) == 3
    finally:
        end(made)


def test_a_place_where_a_daemon_is_is_refused(daemon: FakeDaemon, tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap")
    with pytest.raises(RecordingError, match="a daemon is there already; name another --endpoint"):
        Replay(Recording(path), daemon.endpoint)
    with StatusSubscriber(daemon.endpoint) as there:
        assert there.status(LIMIT_S) is not None


def test_foxglove_gets_pictures_and_masks_in_its_own_schemas(tmp_path: Path) -> None:
    source = with_info(tmp_path / "a.mcap", "mask", "frame", "image")
    target = tmp_path / "b.mcap"
    assert converting.convert(Recording(source), target) == (12, 3, "", 0)
    with target.open("rb") as file:
        found = [
            (channel.topic, schema, item)
            for schema, channel, item in make_reader(file, validate_crcs=True).iter_messages()
            if channel.message_encoding == "protobuf"
        ]
    kinds = {"foxglove.RawImage": RawImage, "foxglove.CompressedImage": CompressedImage}
    assert {(topic, schema.name) for topic, schema, _ in found} == {
        ("cam0/mask", "foxglove.RawImage"),
        ("cam0/luminance", "foxglove.RawImage"),
        ("cam0/picture", "foxglove.CompressedImage"),
        ("cam0/overlay", "foxglove.CompressedImage"),
    }
    assert {schema.encoding for _, schema, _ in found} == {"protobuf"}
    by_topic: dict[str, list[Any]] = {}
    for topic, schema, item in found:
        shown = kinds[schema.name].FromString(item.data)
        assert shown.timestamp.seconds * 10**9 + shown.timestamp.nanos == item.log_time
        assert shown.frame_id == "cam0"
        by_topic.setdefault(topic, []).append(shown)
    mask = by_topic["cam0/mask"][0]
    assert (mask.width, mask.height, mask.step, mask.encoding) == (16, 12, 16, "mono8")
    assert np.array_equal(np.frombuffer(mask.data, np.uint8).reshape(12, 16), person(16, 12) * 255)
    assert all(len(shown) == 3 for shown in by_topic.values())
    images = [parse_image(m.data) for m in Recording(source) if m.kind == "image"]
    data = [m.data for m in Recording(source) if m.kind == "image"]
    for shown, header, whole in zip(by_topic["cam0/picture"], images, data, strict=True):
        assert shown.format == "jpeg"
        assert shown.data == whole[header.payload_offset :]
    assert [item.data for item in Recording(target)] == [item.data for item in Recording(source)]
    with pytest.raises(RecordingError, match="it is there already"):
        converting.convert(Recording(source), target)


def with_info(path: Path, *kinds: str) -> Path:
    """Three masks, and what goes with them, of a daemon that has said how it sees."""
    writer = RecordingWriter(path)
    writer.add("info", "info/cam0", info_of(SESSION, 0), BEGIN_NS, BEGIN_NS)
    for number in range(3):
        sent_ns = BEGIN_NS + number * STEP_NS
        for kind in kinds:
            writer.add(kind, f"{kind}/cam0", message(kind, number), sent_ns - 20_000_000, sent_ns, number)
    writer.finish()
    return path


def overlays(path: Path) -> list[np.ndarray]:  # type: ignore[type-arg]
    with path.open("rb") as file:
        found = make_reader(file).iter_messages(topics=["cam0/overlay"])
        jpegs = [CompressedImage.FromString(item.data).data for _, _, item in found]
    return [np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in jpegs]


def test_a_mask_lies_over_its_own_picture_and_no_other(tmp_path: Path) -> None:
    source, target = with_info(tmp_path / "a.mcap", "mask", "image"), tmp_path / "b.mcap"
    converting.convert(Recording(source), target)
    seen = overlays(target)
    assert len(seen) == 3
    body = parse_json(info_of(SESSION, 0))[2]
    for number, picture in enumerate(seen):
        header = parse_image(message("image", number))
        inside = stretched(person(16, 12) > 0, geometry_of(body), header)
        greyness = np.ptp(picture.astype(int), axis=2)  # the picture is grey, the tint is not
        assert greyness[inside].mean() > 30
        assert greyness[~inside].mean() < 10
    # Without the mask of the same frame there is nothing to lay over it.
    lone = with_info(tmp_path / "c.mcap", "image")
    assert converting.convert(Recording(lone), tmp_path / "d.mcap") == (3, 0, "", 0)


def test_without_pillow_it_is_said_and_the_rest_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = with_info(tmp_path / "a.mcap", "mask", "image")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    done = converting.convert(Recording(source), tmp_path / "b.mcap")
    assert (done.shown, done.painted) == (6, 0)
    assert "need Pillow: apt install python3-pil" in done.without


def test_the_schemas_are_those_that_foxglove_publishes() -> None:
    for kind in (RawImage, CompressedImage):
        ours = FileDescriptorSet.FromString(foxglove.schema(kind.DESCRIPTOR.full_name))
        files = {file.name: file for file in ours.file}
        assert set(files) == {kind.DESCRIPTOR.file.name, "google/protobuf/timestamp.proto"}
        fields = {
            field.name: (field.number, field.type)
            for made in files[kind.DESCRIPTOR.file.name].message_type
            for field in made.field
        }
        assert fields == {field.name: (field.number, field.type) for field in kind.DESCRIPTOR.fields}


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 1 << 21, (1 << 63) - 1])
def test_numbers_are_those_of_protobuf(number: int) -> None:
    assert foxglove._varint(number) == Int64Value(value=number).SerializeToString()[1:] or number == 0


def test_what_cannot_be_converted_whole_is_not_left_in_half(
    tmp_path: Path, room: Callable[[int], None]
) -> None:
    source, target = recording(tmp_path / "a.mcap", ("mask", "frame"), count=50), tmp_path / "b.mcap"
    room(10_000)
    with pytest.raises(RecordingError, match=r"b\.mcap: cannot be written \(File too large\)"):
        converting.convert(Recording(source), target)
    assert list(tmp_path.iterdir()) == [source]
    with pytest.raises(RecordingError, match=r"cannot be written \(.*\); name a file in a folder"):
        converting.convert(Recording(source), tmp_path / "none" / "b.mcap")


def test_a_signal_leaves_nothing_half_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = recording(tmp_path / "a.mcap"), tmp_path / "b.mcap"

    def interrupted(*_: object) -> None:
        assert target.exists()
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(converting, "_show", interrupted)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # where convert leaves it so, the test lives on
    try:
        with pytest.raises(KeyboardInterrupt):
            command.convert(source, target)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert list(tmp_path.iterdir()) == [source]


def test_what_convert_leaves_out_is_told(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", count=12, finish=False)
    with path.open("r+b") as file:
        chunk = [found for found in records.records(file, "a") if found.opcode == Opcode.CHUNK][1]
        file.seek(chunk.end - 20)
        file.write(b"damage")
    done = ctl("convert", str(path), str(tmp_path / "b.mcap"))
    assert done.returncode == 0
    assert "1 places of the file are damaged, and were left out" in done.stderr
    assert "the recording has no end" in done.stderr


def test_messages_that_convert_cannot_show_are_kept_and_told(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a.mcap")
    mask = mask_of(1, 1, 2)
    for topic, data in (("mask/cam0", mask), ("mask/cam1", mask), ("mask/cam0", mask[:-1])):
        writer.add("mask", topic, data, 1, 2)
    writer.finish()
    target = tmp_path / "b.mcap"
    done = ctl("convert", str(writer.path), str(target))
    assert "b.mcap: 1 pictures and masks" in done.stderr
    assert "2 messages are damaged or of a later version: they are kept, and not shown" in done.stderr
    assert len(list(Recording(target))) == 3


def test_of_a_recording_without_messages_nothing_is_converted(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", count=0)
    with pytest.raises(RecordingError, match="there is no message in it that can be converted"):
        converting.convert(Recording(path), tmp_path / "b.mcap")
    assert list(tmp_path.iterdir()) == [path]


def test_machines_of_a_fleet_stay_apart_in_foxglove(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a.mcap")
    for host in ("robot1", "robot2"):
        writer.add("mask", f"{host}/mask/cam0", mask_of(1, 1, 2), 1, 2)
    writer.finish()
    target = tmp_path / "b.mcap"
    assert converting.convert(Recording(writer.path), target).shown == 2
    with target.open("rb") as file:
        topics = {channel.topic for _, channel, _ in make_reader(file).iter_messages()}
    assert topics == {
        f"{host}/{name}" for host in ("robot1", "robot2") for name in ("mask/cam0", "cam0/mask")
    }


def ctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gnetsegd.ctl", *arguments], capture_output=True, text=True, timeout=60
    )


def test_the_commands_say_what_they_did(daemon: FakeDaemon, tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    command = [
        sys.executable,
        "-m",
        "gnetsegd.ctl",
        "record",
        str(path),
        "--endpoint",
        daemon.endpoint,
        "--frames",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "recording camera cam0" in process.stderr.readline()
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert "0 masks lost on the way" in said
    assert "no frame came: the daemon sends them with publish.frames = true" in said
    assert ctl("recover", str(path)).stderr.startswith(f"{path}: was whole; ")
    bad = tmp_path / "bad"
    bad.write_text("no")
    done = ctl("recover", str(bad), str(path))
    assert done.returncode == os.EX_DATAERR
    assert "no MCAP file; name a recording" in done.stderr
    assert f"{path}: was whole" in done.stderr
    done = ctl("recover", str(tmp_path / "none"))
    assert "cannot be finished (No such file or directory); it has to be there" in done.stderr
    done = ctl("convert", str(tmp_path / "none"), str(tmp_path / "b.mcap"))
    assert "cannot be read (No such file or directory); name a recording that you may read" in done.stderr
    done = ctl("record", str(tmp_path / "none" / "a.mcap"), "--endpoint", daemon.endpoint)
    assert "cannot be written (No such file or directory); name a file in a folder" in done.stderr
    done = ctl("replay", str(path), "--now", "--endpoint", f"{daemon.endpoint}-2", "--host", "robot7")
    assert done.returncode == os.EX_DATAERR
    assert "leave out --host" in done.stderr
    done = ctl("replay", str(path), "--now", "--endpoint", f"{daemon.endpoint}-2", "--rate", "20")
    assert done.returncode == 0, done.stderr
    assert "messages sent" in done.stderr
    done = ctl("replay", str(bad))
    assert done.returncode == os.EX_DATAERR
    done = ctl("convert", str(path), str(tmp_path / "b.mcap"))
    assert done.returncode == 0, done.stderr

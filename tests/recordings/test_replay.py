"""What is replayed and when: nothing wrong, nothing in a burst, nothing never."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from gnetsegd.errors import MessageError
from gnetsegd.message import parse_header, parse_image, parse_json
from gnetsegd.recordings import RecordingError
from gnetsegd.recordings.reading import Recorded, Recording
from gnetsegd.recordings.writing import RecordingWriter
from gnetsegd.services.record.replay import Replay, Wish
from gnetsegd.services.record.schedule import SILENCE_MAX_S, Schedule
from gnetsegd.services.record.shifting import Shift, parse

from .made import info_of, mask_of, recording, status_of

S = 1_000_000_000
HOUR = 3600 * S
SENT_NS = 5_000_000_000_000


def times(data: bytes) -> tuple[int, int, int]:
    """(session, exposed, sent)."""
    header = parse_image(data).mask if data.startswith(b"image") else parse_header(data)
    return header.session, header.sensor_timestamp_ns, header.publish_timestamp_ns


def test_every_byte_but_session_and_times_is_as_it_was(tmp_path: Path) -> None:
    shift = Shift()
    for message in Recording(recording(tmp_path / "a.mcap", ("mask", "frame", "image"), count=3)):
        data = shift(parse(message), SENT_NS)
        changed = [at for at in range(len(data)) if data[at] != message.data[at]]
        assert len(data) == len(message.data)
        assert all(48 <= at < 72 for at in changed)
        assert times(data)[2] == SENT_NS


def test_mask_frame_and_picture_of_one_exposure_are_of_one_moment_again(tmp_path: Path) -> None:
    shift = Shift()
    found: dict[str, tuple[int, int, int]] = {}
    for number, message in enumerate(
        Recording(recording(tmp_path / "a.mcap", ("mask", "frame", "image"), count=1))
    ):
        found[message.kind] = times(shift(parse(message), SENT_NS + number * 1_000_000))
    # It was exposed 20 ms before its mask was sent; the frame carries its mask's times.
    assert {exposed for _, exposed, _ in found.values()} == {SENT_NS - 20_000_000}
    assert found["frame"] == found["mask"]


@pytest.mark.parametrize("exposed_ns", [0, 1, 2**64 - 1])
@pytest.mark.parametrize("sent_ns", [0, 2**64 - 1])
def test_times_that_lie_are_shifted_without_a_fault(exposed_ns: int, sent_ns: int) -> None:
    message = Recorded("mask", "cam0", mask_of(1, exposed_ns, sent_ns), 0, 0)
    assert times(Shift()(parse(message), SENT_NS))[2] == SENT_NS


@pytest.mark.parametrize(
    ("kind", "camera", "data"),
    [
        ("mask", "cam0", mask_of(1, 1, 2)[:-1]),
        ("mask", "cam0", mask_of(1, 1, 2)[:20] + b"\x02" + mask_of(1, 1, 2)[21:]),
        ("mask", "cam1", mask_of(1, 1, 2)),
        ("frame", "cam0", mask_of(1, 1, 2)),
        ("status", "cam0", status_of(1, 1)[:-1]),
        ("info", "cam1", info_of(1, 1)),
        ("image", "cam0", mask_of(1, 1, 2, kind="image")[:-300]),
        ("mask", "cam0", b""),
    ],
)
def test_what_a_reader_would_refuse_is_not_replayed(kind: str, camera: str, data: bytes) -> None:
    with pytest.raises(MessageError):
        parse(Recorded(kind, camera, data, 0, 0))


def dues(schedule: Schedule, *published: tuple[int, int]) -> list[int]:
    return [schedule.due_ns(session, at_ns) for session, at_ns in published]


def test_within_a_session_the_spacing_is_exact_and_rate_divides_it() -> None:
    sent = [(1, HOUR), (1, HOUR + 7), (1, HOUR + 40 * S), (1, HOUR + 40 * S + 33_333_333)]
    assert dues(Schedule(1.0, 100), *sent) == [
        100,
        107,
        100 + 40 * S,
        133_333_433 - 100 + 100 - S // 10 + 40 * S,
    ]
    assert dues(Schedule(2.0, 0), (1, 0), (1, S), (1, 3 * S)) == [0, S // 2, 3 * S // 2]


@pytest.mark.parametrize("jump_ns", [-1000 * HOUR, 1000 * HOUR])
def test_a_clock_that_was_set_between_two_runs_makes_no_burst_and_no_endless_wait(jump_ns: int) -> None:
    schedule = Schedule(1.0, 0)
    begin = 2000 * HOUR
    found = dues(schedule, (1, begin), (1, begin + S), (2, begin + jump_ns), (2, begin + jump_ns + S))
    pause = 0 if jump_ns < 0 else round(SILENCE_MAX_S) * S
    assert found == [0, S, S + pause, 2 * S + pause]
    assert schedule.shortened == 1


def test_a_run_that_follows_another_is_as_far_from_it_as_it_was() -> None:
    schedule = Schedule(1.0, 0)
    assert dues(schedule, (1, HOUR), (2, HOUR + 5 * S), (1, HOUR + 6 * S)) == [0, 5 * S, 6 * S]
    assert schedule.shortened == 0


def test_one_time_that_lies_costs_a_pause_and_no_more() -> None:
    lie = (1 << 64) - 1
    found = dues(Schedule(1.0, 0), (1, HOUR), (1, lie), (1, HOUR + S), (1, HOUR + 2 * S))
    pause = round(SILENCE_MAX_S) * S
    assert found == [0, pause, pause, pause + S]


def test_topics_that_were_taken_a_little_out_of_order_are_not_waited_for() -> None:
    assert dues(Schedule(1.0, 0), (1, HOUR + S), (1, HOUR), (1, HOUR + 2 * S)) == [0, 0, S]


def test_a_machine_that_slept_does_not_make_up_for_it_in_a_burst() -> None:
    schedule = Schedule(1.0, 0)
    dues(schedule, (1, HOUR), (1, HOUR + S))
    schedule.late(100 * S)
    assert dues(schedule, (1, HOUR + 2 * S)) == [102 * S]


def test_sessions_without_end_take_no_memory_without_end() -> None:
    schedule, shift = Schedule(1.0, 0), Shift()
    for session in range(1, 500):
        schedule.due_ns(session, HOUR)
        shift(parse(Recorded("mask", "cam0", mask_of(session, 1, 2), 0, 0)), SENT_NS)
    assert len(schedule._anchors) <= 64
    assert len(shift._sessions) <= 64
    assert len(shift._shown) <= 256


class Reader:
    """All that comes, as it comes."""

    def __init__(self, endpoint: str, topic: bytes = b"") -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.SUB)
        self.socket.subscribe(topic)
        self.socket.connect(endpoint)

    def all(self) -> list[bytes]:
        found = []
        while self.socket.poll(300):
            found.append(self.socket.recv())
        return found

    def close(self) -> None:
        self.socket.close(0)
        self._context.term()


def play(path: Path, endpoint: str, **wish: Any) -> tuple[list[bytes], list[str]]:
    """(what a reader got, what was said)."""
    said: list[str] = []
    stop = threading.Event()
    made = Replay(Recording(path), endpoint)
    reader = Reader(endpoint)
    try:
        made.wait_for_reader(stop)
        made.play(Wish(rate=100.0, **wish), stop, said.append)
        return reader.all(), said
    finally:
        reader.close()
        made.close()


def test_what_is_left_out_is_told(tmp_path: Path, ipc_endpoint: str) -> None:
    later = mask_of(1, 1, 2)[:20] + b"\x02" + mask_of(1, 1, 2)[21:]
    path = tmp_path / "b.mcap"
    done = RecordingWriter(path)
    for number, data in enumerate((mask_of(1, 1, 2), later, mask_of(1, 3, 4, 2))):
        done.add("mask", "mask/cam0", data, number, number)
    done.add("mask", "mask2/cam0", later, 3, 3)
    done.finish()
    found, said = play(path, ipc_endpoint)
    assert [parse_header(data).sequence for data in found] == [0, 2]
    assert said == [
        "1 messages are damaged or of a later version, and were not sent",
        "1 channels are not gnetsegd's or of a later version, and were left out",
    ]


def test_of_many_machines_one_is_replayed_and_the_others_are_named(tmp_path: Path, ipc_endpoint: str) -> None:
    writer = RecordingWriter(tmp_path / "a.mcap")
    for number in range(3):
        for session, host in enumerate(("robot1", "robot2"), 1):
            writer.add("mask", f"{host}/mask/cam0", mask_of(session, 1, 2, number), number, number)
    writer.finish()
    found, said = play(writer.path, ipc_endpoint)
    assert len({times(data)[0] for data in found}) == 1
    assert len(found) == 3
    assert said == ["3 messages are of other machines (robot2); name one with --host"]
    found, _ = play(writer.path, ipc_endpoint, host="robot2")
    assert len(found) == 3
    with pytest.raises(RecordingError, match="no message in it that can be replayed"):
        play(writer.path, ipc_endpoint, host="robot3")


def test_a_recording_of_one_message_is_looped_at_leisure(tmp_path: Path, ipc_endpoint: str) -> None:
    writer = RecordingWriter(tmp_path / "a.mcap")
    writer.add("status", "status/cam0", status_of(1, 5), 5, 5)
    writer.finish()
    made, stop = Replay(Recording(writer.path), ipc_endpoint), threading.Event()
    try:
        threading.Timer(0.5, stop.set).start()
        made.play(Wish(loop=True), stop, lambda _: None)
        assert 1 <= made.sent <= 10
    finally:
        made.close()


def test_a_reader_who_subscribes_to_one_topic_after_the_other_misses_nothing(
    tmp_path: Path, ipc_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnetsegd.services.record.replay._SUBSCRIBING_MS", 2000)
    path = recording(tmp_path / "a.mcap", count=5)
    made, stop, reader = (
        Replay(Recording(path), ipc_endpoint),
        threading.Event(),
        Reader(ipc_endpoint, b"info"),
    )

    def run() -> None:
        made.wait_for_reader(stop)
        made.play(Wish(rate=100.0), stop, lambda _: None)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        time.sleep(0.3)
        reader.socket.subscribe(b"mask")
        thread.join(20.0)
        assert [parse_header(data).sequence for data in reader.all()] == list(range(5))
    finally:
        stop.set()
        thread.join(10.0)
        reader.close()
        made.close()


def test_each_loop_tells_its_own_session(tmp_path: Path, ipc_endpoint: str) -> None:
    writer = RecordingWriter(tmp_path / "a.mcap")
    writer.add("info", "info/cam0", info_of(1, 0), 5, 5)
    writer.finish()
    made, stop, reader = Replay(Recording(writer.path), ipc_endpoint), threading.Event(), Reader(ipc_endpoint)
    thread = threading.Thread(target=made.play, args=(Wish(loop=True), stop, lambda _: None))
    thread.start()
    try:
        told = []
        for _ in range(4):
            assert reader.socket.poll(10_000)
            told.append(parse_json(reader.socket.recv())[2])
    finally:
        stop.set()
        thread.join(10.0)
        reader.close()
        made.close()
    assert all(body["replay"] is True for body in told)
    # The first may have come twice, as a greeting, too.
    assert len({body["session"] for body in told}) >= 3


@pytest.fixture
def place(ipc_endpoint: str) -> Path:
    """A path that is short enough for a socket."""
    return Path(ipc_endpoint.removeprefix("ipc://"))


def test_a_file_is_not_taken_for_a_place_of_a_socket(tmp_path: Path, place: Path) -> None:
    path = recording(tmp_path / "a.mcap")
    place.write_text("a letter")
    with pytest.raises(RecordingError, match="this is a file, and no place for a socket"):
        Replay(Recording(path), f"ipc://{place}")
    assert place.read_text() == "a letter"


def test_the_socket_of_a_replay_goes_with_it(tmp_path: Path, place: Path) -> None:
    path, endpoint = recording(tmp_path / "a.mcap"), f"ipc://{place}"
    made = Replay(Recording(path), endpoint)
    assert place.is_socket()
    made.close()
    assert not place.exists()
    made = Replay(Recording(path), endpoint)
    place.unlink()
    place.write_text("somebody else's")
    made.close()
    assert place.read_text() == "somebody else's"


def test_a_daemon_that_is_too_busy_to_answer_is_one(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnetsegd.services.record.replay._PROBE_S", 0.1)
    path = recording(tmp_path / "a.mcap")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(str(place))
        busy.listen(0)
        first.connect(str(place))
        with pytest.raises(RecordingError, match="a daemon is there already"):
            Replay(Recording(path), f"ipc://{place}")
    # It is gone, and has left its socket.
    Replay(Recording(path), f"ipc://{place}").close()


@pytest.mark.parametrize(
    ("endpoint", "exposed"),
    [("tcp://0.0.0.0:*", True), ("tcp://127.0.0.1:*", False), ("ipc://{}/a", False)],
)
def test_it_knows_whether_the_network_can_read_it(tmp_path: Path, endpoint: str, exposed: bool) -> None:
    made = Replay(Recording(recording(tmp_path / "a.mcap")), endpoint.format(tmp_path))
    assert made.is_exposed == exposed
    made.close()


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:5x",
        "tcp://127.0.0.1",
        "inproc://mine",
        "ipc://",
        "nonsense",
        "",
    ],
)
def test_what_is_no_address_is_refused_and_not_taken_for_another(tmp_path: Path, endpoint: str) -> None:
    path = recording(tmp_path / "a.mcap")
    with pytest.raises(RecordingError, match=r"neither ipc:///path nor tcp://address:port \(1 to 65535"):
        Replay(Recording(path), endpoint)


def test_a_place_that_cannot_be_looked_at_is_not_taken_for_a_daemon(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap")
    with pytest.raises(RecordingError, match=r"no place for a socket \(File name too long\)"):
        Replay(Recording(path), f"ipc://{tmp_path}/{'y' * 300}")


class _Failing(Recording):
    """Reads one message; then what nobody has foreseen."""

    def __iter__(self) -> Iterator[Recorded]:
        yield next(super().__iter__())
        raise RuntimeError("the disk is on fire")


def test_a_reader_that_fails_ends_the_replay_and_is_not_waited_for(tmp_path: Path, ipc_endpoint: str) -> None:
    made = Replay(_Failing(recording(tmp_path / "a.mcap")), ipc_endpoint)
    stop = threading.Event()
    limit = threading.Timer(10.0, stop.set)
    limit.start()
    try:
        with pytest.raises(RuntimeError, match="on fire"):
            made.play(Wish(), stop, print)
    finally:
        limit.cancel()
        made.close()


class _Searching(Recording):
    """Behind its first message it looks for the next one, until ``found``."""

    def __init__(self, path: Path) -> None:
        self.looks, self.found = threading.Event(), threading.Event()
        self.looks.set()  # to open it is no search
        super().__init__(path)
        self.looks.clear()

    def __iter__(self) -> Iterator[Recorded]:
        yield from list(super().__iter__())[:1]
        if not self.looks.is_set():
            self.looks.set()
            self.found.wait(600)


def test_a_search_through_a_large_file_is_ended_by_a_stop(tmp_path: Path, ipc_endpoint: str) -> None:
    searching, stop = _Searching(recording(tmp_path / "a.mcap")), threading.Event()
    replay = Replay(searching, ipc_endpoint)
    playing = threading.Thread(target=replay.play, args=(Wish(), stop, print), daemon=True)
    playing.start()
    try:
        assert searching.looks.wait(60)
        stop.set()
        playing.join(60)
        assert not playing.is_alive()
    finally:
        searching.found.set()
        playing.join(60)
        replay.close()

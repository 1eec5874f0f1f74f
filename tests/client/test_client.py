"""A subscriber gets the masks that were sent, and is told the truth about those it did not get."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zmq
from fake_publisher import FakePublisher, person

from gnetsegd import client
from gnetsegd.client import MaskSubscriber, ReceivedMask, StatusSubscriber, subscribe
from gnetsegd.message import HEADER_SIZE, TEXT_CHARACTERS, pack_header, parse_header, topic
from gnetsegd.text import MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.runtime

WAIT_S = 5.0
FAR = 0xFFFFFFFF
#: What a subscriber needs of gnetsegd besides the client itself.
FLOORS = ("curve", "errors", "files", "frame", "message", "tcp", "text")


@pytest.fixture
def every(publisher: FakePublisher) -> Iterator[MaskSubscriber]:
    """A subscriber of every mask, connected."""
    with MaskSubscriber(publisher.endpoint, newest_only=False) as subscriber:
        publisher.wait_for("mask", "info", "status")
        yield subscriber


@pytest.fixture
def newest(publisher: FakePublisher) -> Iterator[MaskSubscriber]:
    """A newest-only subscriber, connected."""
    with MaskSubscriber(publisher.endpoint) as subscriber:
        publisher.wait_for("mask", "info", "status")
        yield subscriber


def received(subscriber: MaskSubscriber) -> ReceivedMask:
    mask = subscriber.receive(WAIT_S)
    assert mask is not None
    return mask


def wait_until(what: object, seconds: float = WAIT_S) -> None:
    """Until the callable ``what`` is true: messages take their time."""
    assert callable(what)
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


# -- what arrives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_labels_of_every_encoding_arrive_as_uint8(
    publisher: FakePublisher, every: MaskSubscriber, bits: int
) -> None:
    labels = (np.arange(13 * 7).reshape(7, 13) * 37 % (1 << bits)).astype(np.uint8)
    publisher.mask(5, labels, bits)
    mask = received(every)
    assert mask.labels.dtype == np.uint8
    assert np.array_equal(mask.labels, labels)
    assert (mask.sequence, mask.backend, mask.fallback) == (5, "standin", False)


def test_labels_outlive_the_mask_and_the_next_message(
    publisher: FakePublisher, every: MaskSubscriber
) -> None:
    big = person(224, 224)
    publisher.mask(1, big)
    labels = received(every).labels
    for sequence in range(2, 20):
        publisher.mask(sequence, big ^ np.uint8(1))
        received(every)
    gc.collect()
    assert np.array_equal(labels, big)
    assert not labels.flags.writeable, "other readers in the process may share the message"


def test_a_later_minor_version_is_read_by_its_header_size(
    publisher: FakePublisher, every: MaskSubscriber
) -> None:
    header = pack_header(publisher.header(person(8, 6), 1))
    longer = header[:21] + b"\7" + (160).to_bytes(2, "little") + header[24:] + b"\xee" * 32
    publisher.raw(longer + person(8, 6).tobytes())
    mask = received(every)
    assert mask.header.minor == 7
    assert np.array_equal(mask.labels, person(8, 6))


def test_a_fallback_is_told_with_the_mask(publisher: FakePublisher, every: MaskSubscriber) -> None:
    publisher.mask(1, fallback=True)
    assert received(every).fallback


def test_age_is_counted_from_the_exposure(publisher: FakePublisher, every: MaskSubscriber) -> None:
    exposed = time.monotonic_ns() - 250_000_000
    publisher.mask(1, sensor_timestamp_ns=exposed)
    mask = received(every)
    assert 0.25 <= mask.age_s <= (time.monotonic_ns() - exposed) / 1e9


def test_only_the_named_camera_is_heard(publisher: FakePublisher, every: MaskSubscriber) -> None:
    publisher.mask(1, camera="cam01")
    publisher.mask(2)
    assert received(every).sequence == 2
    assert every.bad_messages == 0


def test_receive_gives_none_when_its_time_is_over(every: MaskSubscriber) -> None:
    begin = time.monotonic()
    assert every.receive(0.05) is None
    assert 0.04 <= time.monotonic() - begin < 1
    assert every.receive(0) is None


def test_the_loop_ends_when_the_subscriber_is_closed(publisher: FakePublisher, every: MaskSubscriber) -> None:
    publisher.info()
    publisher.status()
    for sequence in (1, 2, 3):
        publisher.mask(sequence)
    seen = []
    for mask in every:
        seen.append(mask.sequence)
        if len(seen) == 3:
            every.close()
    assert seen == [1, 2, 3]
    every.close()
    with pytest.raises(ValueError, match="closed"):
        every.receive(0)


# -- newest only ----------------------------------------------------------------------------------


def test_a_slow_reader_gets_the_newest_mask_and_no_talk_of_loss(
    publisher: FakePublisher, newest: MaskSubscriber
) -> None:
    publisher.mask(1, times=2)
    assert received(newest).sequence == 1
    for sequence in range(2, 102):
        publisher.mask(sequence)
    time.sleep(0.2)  # all of them are there before it reads
    mask = received(newest)
    assert mask.sequence == 101
    assert (mask.missed, mask.skipped, newest.missed) == (0, 99, 0)
    assert newest.receive(0.05) is None


def test_info_and_status_are_not_swallowed_by_masks(publisher: FakePublisher, newest: MaskSubscriber) -> None:
    publisher.info()
    publisher.status()
    for sequence in range(50):
        publisher.mask(sequence)
    info, status = newest.info(WAIT_S), newest.status(WAIT_S)
    assert info is not None
    assert info["labels"] == ["background", "person"]
    assert status is not None
    assert status["state"] == "running"


def test_every_mask_is_every_mask(publisher: FakePublisher, every: MaskSubscriber) -> None:
    for sequence in range(1, 101):
        publisher.mask(sequence)
    assert [received(every).sequence for _ in range(100)] == list(range(1, 101))
    assert every.missed == 0


# -- losses ---------------------------------------------------------------------------------------


def missed(publisher: FakePublisher, every: MaskSubscriber, *masks: tuple[int, int, int]) -> list[int]:
    """``missed`` of each of ``masks``: (sequence, dropped by the camera, dropped by the daemon)."""
    for sequence, dropped_camera, dropped_daemon in masks:
        publisher.mask(sequence, dropped_camera=dropped_camera, dropped_daemon=dropped_daemon)
    return [received(every).missed for _ in masks]


def test_a_gap_that_no_counter_explains_was_lost_on_the_way(
    publisher: FakePublisher, every: MaskSubscriber
) -> None:
    assert missed(publisher, every, (10, 0, 0), (14, 0, 0), (15, 0, 0)) == [0, 3, 0]
    assert every.missed == 3


def test_what_camera_and_daemon_dropped_is_no_transport_loss(
    publisher: FakePublisher, every: MaskSubscriber
) -> None:
    assert missed(publisher, every, (10, 5, 5), (13, 7, 5), (18, 8, 8)) == [0, 0, 0]
    assert missed(publisher, every, (24, 9, 10)) == [2], "6 frames on: 3 dropped, 1 is here"


def test_a_drop_that_is_counted_early_is_not_made_up_for_by_a_loss(
    publisher: FakePublisher, every: MaskSubscriber
) -> None:
    # The daemon counts two drops with mask 11 whose frames come behind it; then mask 14 is lost.
    assert missed(publisher, every, (10, 0, 0), (11, 0, 2), (15, 0, 2)) == [0, 0, 1]


def test_counters_that_wrap_at_32_bits_are_no_loss(publisher: FakePublisher, every: MaskSubscriber) -> None:
    assert missed(publisher, every, (10, FAR, FAR), (15, 1, 1)) == [0, 0]


def test_a_restarted_daemon_begins_anew_and_loses_nothing(
    publisher: FakePublisher, every: MaskSubscriber
) -> None:
    publisher.mask(1000)
    assert received(every).new_session
    publisher.mask(1001)
    assert not received(every).new_session
    publisher.session = 8
    publisher.mask(1003, dropped_daemon=1)
    mask = received(every)
    assert (mask.new_session, mask.missed, every.restarts) == (True, 0, 1)


def test_a_daemon_that_goes_and_comes_back_is_found_again(endpoint: str) -> None:
    with MaskSubscriber(endpoint, newest_only=False) as subscriber:
        for session in (1, 2):
            with FakePublisher(endpoint, session=session) as publisher:
                # ZeroMQ subscribes anew only while the subscriber looks: so no waiting for it here.
                while (mask := subscriber.receive(0.02)) is None or mask.session != session:
                    publisher.mask(1)
        assert subscriber.restarts == 1


# -- bad messages ---------------------------------------------------------------------------------


def test_bad_messages_are_skipped_and_counted(publisher: FakePublisher, every: MaskSubscriber) -> None:
    good = pack_header(publisher.header(person(8, 6), 1)) + person(8, 6).tobytes()
    mask_topic = topic("mask", "cam0")
    for bad in (mask_topic, good[:-1], good + b"x", good[:16] + b"JPEG" + good[20:], mask_topic + b"{}"):
        publisher.raw(bad)
    publisher.raw(good, b"a second part")
    publisher.raw(good, good, good)
    publisher.mask(2)
    assert received(every).sequence == 2
    assert every.bad_messages == 7
    assert every.last_error


def test_a_bad_status_does_not_replace_a_good_one(publisher: FakePublisher, every: MaskSubscriber) -> None:
    publisher.status(fps=12.5)
    assert every.status(WAIT_S)
    for _ in range(2):
        publisher.raw(topic("status", "cam0") + b'{"schema":1}')
    wait_until(lambda: every.status() and every.bad_messages)
    status = every.status()
    assert status is not None
    assert status["fps"] == 12.5


def test_a_status_that_nests_too_deep_is_only_bad(publisher: FakePublisher, every: MaskSubscriber) -> None:
    for _ in range(2):
        publisher.raw(topic("status", "cam0") + b"[" * 100_000)
    wait_until(lambda: every.status() is None and every.bad_messages)


# -- judgements -----------------------------------------------------------------------------------


def test_nothing_heard_is_neither_alive_nor_on_rate_nor_valid(every: MaskSubscriber) -> None:
    assert (every.alive, every.on_rate, every.valid) == (False, False, False)
    assert (every.info(), every.status(), every.rate_fps) == (None, None, 0.0)


def test_a_daemon_without_camera_is_alive_and_not_valid(
    publisher: FakePublisher, every: MaskSubscriber
) -> None:
    publisher.status(state="no-camera", reason="unplugged")
    wait_until(lambda: every.alive)
    assert (every.on_rate, every.valid) == (False, False)


def send_at(publisher: FakePublisher, every: MaskSubscriber, fps: float, count: int = 30) -> None:
    """``count`` masks whose frames were exposed at ``fps``, the last just now."""
    last = time.monotonic_ns()
    for i in range(count):
        publisher.mask(i + 1, sensor_timestamp_ns=last - int((count - 1 - i) / fps * 1e9))
    for _ in range(count):
        received(every)


@pytest.mark.parametrize(("fps", "on_rate"), [(30.0, True), (27.0, True), (15.0, False), (45.0, False)])
def test_on_rate_compares_with_the_rate_that_info_promises(
    publisher: FakePublisher, every: MaskSubscriber, fps: float, on_rate: bool
) -> None:
    publisher.info(fps_nominal=30.0)
    assert every.info(WAIT_S)
    send_at(publisher, every, fps)
    assert every.rate_fps == pytest.approx(fps, rel=0.01)
    assert every.on_rate is on_rate


def test_any_rate_will_do_where_none_is_promised(publisher: FakePublisher, every: MaskSubscriber) -> None:
    publisher.info(fps_nominal=0)
    assert every.info(WAIT_S)
    assert not every.on_rate
    send_at(publisher, every, 3.0)
    assert every.on_rate


def test_a_slow_newest_only_reader_judges_the_daemons_rate_not_its_own(
    publisher: FakePublisher, newest: MaskSubscriber
) -> None:
    publisher.info(fps_nominal=30.0)
    assert newest.info(WAIT_S)
    last = time.monotonic_ns()
    for sequence in range(1, 31):
        publisher.mask(sequence, sensor_timestamp_ns=last - int((30 - sequence) / 30 * 1e9))
        if sequence in (1, 30):
            time.sleep(0.1)
            received(newest)
    assert newest.rate_fps == pytest.approx(30, rel=0.01)
    assert newest.on_rate


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"state": "stopping"}, False),
        ({"state": "no-accelerator"}, False),
        ({"state": "no-masks"}, False),
        ({"state": "a state of 2031"}, False),
        ({"session": 8}, False),
        ({"timestamp_ns": 1}, False),
    ],
)
def test_valid_needs_a_fresh_status_of_this_session_that_says_running(
    publisher: FakePublisher, every: MaskSubscriber, changes: dict[str, object], valid: bool
) -> None:
    publisher.mask(1)
    received(every)
    assert not every.valid, "no status yet"
    publisher.status(**changes)
    assert every.status(WAIT_S)
    assert every.valid is valid


@pytest.mark.parametrize(
    ("exposed_s_ago", "valid"), [(0.1, True), (2.0, True), (4.0, False), (60, False), (-60, False)]
)
def test_a_mask_is_as_old_as_its_picture_however_late_it_was_sent(
    publisher: FakePublisher, every: MaskSubscriber, exposed_s_ago: float, valid: bool
) -> None:
    publisher.status()
    publisher.mask(1, sensor_timestamp_ns=time.monotonic_ns() - int(exposed_s_ago * 1e9))
    received(every)
    assert every.status(WAIT_S)
    assert every.alive
    assert every.valid is valid


def test_what_moves_fast_sets_a_lower_age(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False, max_age_s=0.5) as fast:
        publisher.wait_for("mask", "info", "status")
        publisher.status()
        publisher.mask(1, sensor_timestamp_ns=time.monotonic_ns() - int(1e9))
        received(fast)
        assert fast.status(WAIT_S)
        assert not fast.valid


def test_judgements_and_looks_without_a_timeout_never_wait(
    every: MaskSubscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    read = every._read

    def watched(kind: str, timeout_s: float) -> memoryview | None:
        waits.append(timeout_s)
        return read(kind, min(timeout_s, 0.01))

    monkeypatch.setattr(every, "_read", watched)
    # With nothing received yet, which is when a wait would be one.
    assert (every.alive, every.on_rate, every.valid) == (False, False, False)
    assert (every.status(), every.info()) == (None, None)
    assert len(waits) == 5
    assert max(waits) <= 0
    every.status(0.5)
    assert max(waits) == pytest.approx(0.5, abs=0.1)


def test_a_flood_of_bad_messages_does_not_hold_a_reader(
    every: MaskSubscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(every, "_read", lambda *_: memoryview(b"never ending nonsense"))
    assert every.receive(0.05) is None
    assert every.status() is None
    assert every.info(0.05) is None
    assert every.bad_messages > 2


def test_who_watches_the_status_alone_asks_for_nothing_that_wakes(publisher: FakePublisher) -> None:
    with StatusSubscriber(publisher.endpoint) as subscriber:
        publisher.wait_for("info", "status")
        publisher.info()
        publisher.status(state="idle")
        status, info = subscriber.status(WAIT_S), subscriber.info(WAIT_S)
        assert status is not None
        assert info is not None
        assert (status["state"], info["backend"], subscriber.alive) == ("idle", "standin", True)
    wait_until(lambda: len(publisher.gone()) == 2)
    assert publisher.asked == {topic("info", "cam0"), topic("status", "cam0")}


def test_an_old_mask_is_neither_valid_nor_on_rate(publisher: FakePublisher, every: MaskSubscriber) -> None:
    old = time.monotonic_ns() - int(4e9)
    publisher.info()
    publisher.status()
    for sequence in (1, 2):
        publisher.mask(
            sequence, sensor_timestamp_ns=old + sequence * 33_000_000, publish_timestamp_ns=old + int(1e8)
        )
        received(every)
    assert every.status(WAIT_S)
    assert every.info(WAIT_S)
    assert (every.alive, every.on_rate, every.valid) == (True, False, False)


def test_another_machines_clock_does_not_make_masks_old_or_young() -> None:
    clock = client.Clock("tcp://192.0.2.7:5556")
    assert not clock.same_machine
    ahead_ns = int(3600e9)
    clock.observe(1, time.monotonic_ns() + ahead_ns - 2_000_000)
    assert clock.age_s(time.monotonic_ns() + ahead_ns - 52_000_000) == pytest.approx(0.05, abs=0.02)
    # After a reboot it counts from zero.
    clock.observe(2, 1_000_000_000)
    assert clock.age_s(900_000_000) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    "local", ["ipc:///run/x", "tcp://127.0.0.1:1", "tcp://localhost:1", "tcp://[::1]:1", "inproc://x"]
)
def test_this_machines_clock_is_taken_as_it_is(local: str) -> None:
    clock = client.Clock(local)
    clock.observe(1, time.monotonic_ns() - int(9e9))
    assert clock.age_s(time.monotonic_ns() - int(9e9)) == pytest.approx(9, abs=0.1)


# -- opening and closing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "camera", "sentence"),
    [
        ("nonsense", "cam0", "cannot subscribe at 'nonsense'"),
        ("tcp://127.0.0.1:x", "cam0", "cannot subscribe"),
        ("tcp://127.0.0.1:99999", "cam0", "cannot subscribe at .* no port of 1 to 65535"),
        ("ipc:///tmp/x", "Camera!", "camera name"),
    ],
)
def test_what_cannot_be_subscribed_is_a_sentence(wrong: str, camera: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MaskSubscriber(wrong, camera)


PUBLIC, SECRET = b"p" * 40, b"s" * 40


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"server_key": PUBLIC, "public_key": PUBLIC}, "a public key alone is half a pair"),
        ({"server_key": PUBLIC, "secret_key": SECRET}, "a secret key alone is half a pair"),
        ({"public_key": PUBLIC, "secret_key": SECRET}, "needs the server's public key"),
        ({"server_key": b"short"}, "the server key is no CURVE key"),
        (
            {"server_key": PUBLIC, "public_key": b"p" * 39 + b" ", "secret_key": SECRET},
            "the public key is no",
        ),
    ],
)
def test_keys_that_would_protect_nothing_are_a_sentence(keys: dict[str, bytes], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MaskSubscriber("ipc:///tmp/x", **keys)
    with pytest.raises(ValueError, match=sentence):
        subscribe("ipc:///tmp/x", "mask", **keys)


def test_closing_lets_the_context_end(publisher: FakePublisher) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with MaskSubscriber(publisher.endpoint, context=context):
        publisher.wait_for("mask")
    context.term()  # hangs if a socket is left open; pytest's timeout would show it


def test_a_late_joiner_is_greeted_with_info(publisher: FakePublisher) -> None:
    publisher.info(fps_nominal=12.0)
    with MaskSubscriber(publisher.endpoint) as late:
        publisher.wait_for("info")
        info = late.info(WAIT_S)
        assert info is not None
        assert info["fps_nominal"] == 12.0


def test_a_raw_subscription_gives_messages(publisher: FakePublisher) -> None:
    with subscribe(publisher.endpoint, "frame", newest_only=False) as socket:
        publisher.wait_for("frame")
        publisher.frame(3, person(8, 6), format=publisher.header(person(8, 6), 3).format)
        assert socket.poll(5000)
        data = socket.recv()
    header = parse_header(data)
    assert (header.kind, header.sequence, header.payload_offset) == ("frame", 3, HEADER_SIZE)


@pytest.mark.skipif(not zmq.has("curve"), reason="this libzmq was built without CURVE")
def test_masks_come_through_curve_and_not_with_the_wrong_key() -> None:
    public, secret = zmq.curve_keypair()
    other, _ = zmq.curve_keypair()
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.LINGER, 0)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        labels = person(8, 6)
        with FakePublisher("inproc://unused") as speaker:
            message = pack_header(speaker.header(labels, 1)) + labels.tobytes()
        with (
            MaskSubscriber(f"tcp://127.0.0.1:{port}", server_key=public) as good,
            MaskSubscriber(f"tcp://127.0.0.1:{port}", server_key=other) as bad,
        ):
            for _ in range(3):
                assert socket.poll(5000)
                socket.recv()
            socket.send(message)
            assert received(good).sequence == 1
            assert bad.receive(0.2) is None


def test_a_robot_that_subscribes_needs_nothing_of_the_daemon() -> None:
    forbidden = [
        "attrs",
        "attr",
        "cattrs",
        "click",
        "rich",
        "av",
        "tflite_runtime",
        "ai_edge_litert",
        "usb",
        "systemd",
    ]
    code = f"import sys, gnetsegd.client; print([m for m in {forbidden} if m in sys.modules])"
    code += "; print(sorted(m for m in sys.modules if m.startswith('gnetsegd')))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    parts = [f"client.{path.stem}" for path in Path(client.__file__).parent.glob("[!_]*.py")]
    own = ["gnetsegd", *sorted(f"gnetsegd.{name}" for name in ("client", *parts, *FLOORS))]
    assert out.split("\n")[:2] == ["[]", str(own)]


def test_the_numbers_on_the_page_are_the_defaults(publisher: FakePublisher) -> None:
    page = (Path(__file__).parents[2] / "docs" / "messages.md").read_text("utf-8")
    well = page.split("\n## Is it well?\n")[1]
    with MaskSubscriber(publisher.endpoint) as masks:
        for words in (
            f"**alive**: a mask or a status was sent within {masks.alive_limit_s:g} s",
            f"give or take {masks.rate_tolerance:.0%}".replace("%", " %"),
            f"over the last {client.RATE_WINDOW_S:g} s of the camera's time",
            f"*exposed* within {masks.max_age_s:g} s",
            f"same session, sent within {masks.alive_limit_s:g} s",
            f"smallest grow by {client.CLOCK_DRIFT:.0e}".replace("e-04", "e-4"),
        ):
            assert words in well
    assert f"The endpoint is `{client.DEFAULT_ENDPOINT}` by default" in page
    assert f"on one line, at most {TEXT_CHARACTERS} characters" in page
    assert f"a driver or a file at most {MAX_CHARACTERS}" in page

"""What one peer may do to the others: nothing, whatever it sends and however often it comes."""

from __future__ import annotations

import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from gnetsegd.config import PublishConfig
from gnetsegd.errors import PermanentError
from gnetsegd.message import parse_header, topic
from gnetsegd.road import publisher as publisher_module
from gnetsegd.road import zmq_peers
from gnetsegd.road.publisher import Publisher
from gnetsegd.road.zmq_peers import Peers, raise_descriptor_limit

from .fakes import wait_for_readers, wait_until
from .test_publisher import mask, receive, subscribe

#: ZMTP 3.1 in bytes, as a SUB socket begins it.
GREETING = b"\xff" + bytes(8) + b"\x7f\3\1" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\4\x19\5READY\x0bSocket-Type\0\0\0\3SUB"
PING = b"\4\7\4PING\0\0"
MASKS = topic("mask", "cam0")
WAIT_S = 10.0
ROOT = Path(__file__).parents[2]


def message(body: bytes) -> bytes:
    return bytes([0, len(body)]) + body


def subscription(prefix: bytes) -> bytes:
    return message(b"\1" + prefix)


def unsubscription(prefix: bytes) -> bytes:
    return message(b"\0" + prefix)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    made = Publisher("cam0")
    yield made
    made.close()


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


class RawPeer:
    """A connection of which a test writes every byte."""

    def __init__(self, endpoint: str) -> None:
        if endpoint.startswith("ipc://"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(WAIT_S)
            self.socket.connect(endpoint.removeprefix("ipc://"))
        else:
            host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
            self.socket = socket.create_connection((host, int(port)), WAIT_S)

    def say(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def shake_hands(self) -> None:
        """As a subscriber does. libzmq refuses whoever does not wait for its greeting."""
        self.say(GREETING)
        heard = b""
        while len(heard) < len(GREETING):
            more = self.socket.recv(len(GREETING) - len(heard))
            assert more, "it was cut in the handshake"
            heard += more
        self.say(READY)

    def hear_until_cut(self, publisher: Publisher) -> bytes:
        """What came until the other side ended the connection, while the publisher does its work."""
        heard: list[bytes] = []

        def is_cut() -> bool:
            publisher.poll_subscriptions()
            if not select.select([self.socket], [], [], 0.01)[0]:
                return False
            try:
                heard.append(self.socket.recv(65_536))
            except ConnectionError:
                return True
            return not heard[-1]

        wait_until(is_cut)
        self.socket.close()
        return b"".join(heard)


@pytest.fixture(params=["ipc", "tcp"])
def endpoint(request: pytest.FixtureRequest, publisher: Publisher, ipc_endpoint: str) -> str:
    """Where an open publisher listens."""
    publisher.open(PublishConfig(endpoints=[ipc_endpoint if request.param == "ipc" else "tcp://127.0.0.1:*"]))
    return publisher.bound_endpoints()[0]


def topics(publisher: Publisher) -> set[bytes]:
    publisher.poll_subscriptions()
    return set().union(*(outlet.topics() for outlet in publisher._outlets))


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: pole\r\n\r\n" * 10,
        b"SSH-2.0-OpenSSH_9.2\r\n" * 20,
        b"\1\0" * 500,  # ZMTP 1.0, as libzmq 2 spoke it
        b"\xff" * 500,
    ],
)
def test_a_port_scan_an_http_request_or_a_banner_of_ssh_wakes_nothing_and_learns_nothing(
    publisher: Publisher, endpoint: str, words: bytes
) -> None:
    publisher.send_info({"labels": ["background", "person"]})
    scanner = RawPeer(endpoint)
    scanner.say(words)
    assert b"info" not in scanner.hear_until_cut(publisher)
    assert topics(publisher) == set()
    assert not publisher.watched


@pytest.mark.parametrize(
    "flood",
    [
        [subscription(b"%d" % n) for n in range(zmq_peers.TOPICS_MAX + 1)],
        [subscription(MASKS) + unsubscription(MASKS)] * (zmq_peers.EVENTS_MAX // 2 + 1),
        [subscription(MASKS)] * (zmq_peers.EVENTS_MAX + 1),
        [unsubscription(MASKS)] * (zmq_peers.EVENTS_MAX + 1),
        [message(b"\2hello")] * (zmq_peers.EVENTS_MAX + 1),
        [subscription(MASKS + bytes(zmq_peers.TOPIC_MAX_BYTES))],
        [b"\2" + (1_000_000).to_bytes(8, "big") + b"\1" * 5000],
    ],
    ids=["topics", "storm", "repetition", "unsubscribing", "messages", "long topic", "long message"],
)
def test_a_peer_that_sends_too_much_is_cut_and_the_others_go_on(
    publisher: Publisher, endpoint: str, flood: list[bytes], context: zmq.Context[Any]
) -> None:
    reader = subscribe(context, endpoint, b"mask/")
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)
    hostile = RawPeer(endpoint)
    hostile.shake_hands()
    hostile.say(*flood)
    hostile.hear_until_cut(publisher)
    wait_until(lambda: topics(publisher) == {b"mask/"})
    publisher.publish(mask(8), 0)
    assert parse_header(receive(reader)).sequence == 8


def test_a_peer_that_was_cut_no_longer_keeps_anything_awake(publisher: Publisher, endpoint: str) -> None:
    hostile = RawPeer(endpoint)
    hostile.shake_hands()
    hostile.say(subscription(MASKS))
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)
    hostile.say(*[message(b"\2hello")] * zmq_peers.EVENTS_MAX)
    hostile.hear_until_cut(publisher)
    wait_until(lambda: publisher.poll_subscriptions() or not publisher.watched)


def test_nobody_can_unsubscribe_somebody_else(
    publisher: Publisher, endpoint: str, context: zmq.Context[Any]
) -> None:
    reader = subscribe(context, endpoint, MASKS)
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)
    hostile = RawPeer(endpoint)
    hostile.shake_hands()
    hostile.say(unsubscription(MASKS), unsubscription(b""), subscription(b"done"))
    wait_until(lambda: b"done" in topics(publisher))
    assert publisher.watched
    publisher.publish(mask(9), 0)
    assert parse_header(receive(reader)).sequence == 9
    hostile.socket.close()


def test_a_topic_is_wanted_until_the_last_of_its_readers_has_gone(
    publisher: Publisher, endpoint: str, context: zmq.Context[Any]
) -> None:
    first, second = subscribe(context, endpoint, MASKS), subscribe(context, endpoint, MASKS)
    wait_for_readers(publisher, 2)
    first.close()
    wait_for_readers(publisher, 1)
    assert publisher.watched
    second.unsubscribe(MASKS)
    wait_until(lambda: publisher.poll_subscriptions() or not publisher.watched)


@pytest.fixture
def two_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq_peers, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(zmq_peers, "CONNECTIONS_PER_S", 1000)


@pytest.mark.usefixtures("two_connections")
def test_a_full_house_takes_nobody_and_keeps_who_is_in_until_somebody_leaves(
    publisher: Publisher, endpoint: str, context: zmq.Context[Any]
) -> None:
    readers = [subscribe(context, endpoint, b"mask/") for _ in range(2)]
    (outlet,) = publisher._outlets
    wait_until(lambda: outlet.is_shut)
    wait_for_readers(publisher, 2)
    late = subscribe(context, endpoint, b"mask/")
    late.setsockopt(zmq.RECONNECT_IVL, 10)
    publisher.publish(mask(1), 0)
    assert [parse_header(receive(reader)).sequence for reader in readers] == [1, 1]
    assert not late.poll(100)
    readers[0].close()

    def late_has_one() -> bool:
        publisher.poll_subscriptions()
        publisher.publish(mask(2), 0)
        return bool(late.poll(10))

    wait_until(late_has_one)


@pytest.mark.usefixtures("two_connections")
def test_a_silent_connection_makes_room_in_a_full_house(
    publisher: Publisher, context: zmq.Context[Any], ipc_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq_peers, "SILENT_S", 0.05)
    monkeypatch.setattr(publisher_module, "SHUT_S", 0.02)
    publisher.open(PublishConfig(endpoints=[ipc_endpoint]))
    (outlet,) = publisher._outlets
    reader = subscribe(context, ipc_endpoint, b"status/")
    wait_until(lambda: topics(publisher) == {b"status/"})
    silent = RawPeer(ipc_endpoint)
    silent.hear_until_cut(publisher)
    wait_until(lambda: not outlet.is_shut)
    publisher.send_status({"state": "running"})
    assert b"running" in receive(reader)


def test_the_socket_of_a_full_house_goes_with_it(
    publisher: Publisher, ipc_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq_peers, "CONNECTIONS_MAX", 1)
    publisher.open(PublishConfig(endpoints=[ipc_endpoint]))
    (outlet,) = publisher._outlets
    peer = RawPeer(ipc_endpoint)
    wait_until(lambda: outlet.is_shut)
    path = Path(ipc_endpoint.removeprefix("ipc://"))
    assert not path.exists()
    assert outlet.bindings[0].is_ours()
    publisher.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name + ".lock"]
    peer.socket.close()


def test_connections_that_come_in_a_hurry_are_cut_before_they_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(zmq_peers.time, "monotonic", lambda: now)
    peers = Peers(descriptors=4096, sockets=1)
    with socket.socket() as any_socket:
        fd = any_socket.fileno()
        for _ in range(zmq_peers.CONNECTIONS_MAX):
            assert not peers.accepted(fd)
            peers.closed(fd)
        assert peers.accepted(fd)
        now += 1.0
        assert [peers.accepted(fd) for _ in range(zmq_peers.CONNECTIONS_PER_S + 1)] == [
            *[False] * zmq_peers.CONNECTIONS_PER_S,
            True,
        ]


def test_few_descriptors_are_shared_by_the_sockets() -> None:
    assert Peers(512, 1).limit == 64
    assert Peers(512, 2).limit == 32
    assert Peers(65_536, 1).limit == zmq_peers.CONNECTIONS_MAX


def test_a_flood_is_cut_also_while_libzmq_does_not_return_because_of_it(
    publisher: Publisher, endpoint: str
) -> None:
    flood = subscription(b"x") * 10_000
    hostile = RawPeer(endpoint)
    hostile.shake_hands()

    def goes_on() -> bool:
        try:
            hostile.say(flood)
        except ConnectionError:
            return False
        return True

    with publisher._lock:
        assert not all(goes_on() for _ in range(2000))
    hostile.socket.close()


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[tuple[Peers, socket.socket, socket.socket]]:
    """Somebody who is connected: (peers, the end that is judged, the other end)."""
    peers, path = Peers(descriptors=4096, sockets=1), str(tmp_path / "masks.sock")
    peers.names = {path}
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as far:
        listener.bind(path)
        listener.listen()
        far.connect(path)
        near, _ = listener.accept()
        with near:
            assert not peers.accepted(near.fileno())
            yield peers, near, far


def is_cut(far: socket.socket) -> bool:
    far.setblocking(False)
    try:
        return far.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_peer_with_much_waiting_is_cut_and_what_waits_is_thrown_away(
    connection: tuple[Peers, socket.socket, socket.socket],
) -> None:
    peers, near, far = connection
    far.send(bytes(zmq_peers.WAITING_MAX_BYTES))
    assert peers.heard(near.fileno()) == (False, "")
    assert not is_cut(far)
    far.send(b"1")
    _, cut_for = peers.heard(near.fileno())
    assert cut_for
    assert is_cut(far)
    assert near.recv(10_000) == b""


def test_a_flood_keeps_newcomers_out_for_a_while_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(zmq_peers.time, "monotonic", lambda: now)
    peers = Peers(descriptors=4096, sockets=1)
    floods = 0
    while not peers.are_full:
        near, far = socket.socketpair()
        with near, far:
            assert not peers.accepted(near.fileno())
            far.send(bytes(zmq_peers.WAITING_MAX_BYTES + 1))
            assert peers.heard(near.fileno())[1]
            peers.closed(near.fileno())
        floods += 1
    assert floods <= zmq_peers.CONNECTIONS_MAX / zmq_peers.FLOOD_CONNECTIONS
    now += 5.0
    assert peers.have_room


def test_a_peer_that_is_heard_too_often_is_cut(
    connection: tuple[Peers, socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(zmq_peers.time, "monotonic", lambda: now)
    peers, near, far = connection
    for _ in range(zmq_peers.NOISES_MAX):
        assert peers.heard(near.fileno()) == (False, "")
    now += zmq_peers.EVENTS_WINDOW_S + 1
    for _ in range(zmq_peers.NOISES_MAX):
        assert peers.heard(near.fileno()) == (False, "")
    assert not is_cut(far)
    assert peers.heard(near.fileno())[1]
    assert is_cut(far)


def test_a_reader_may_change_its_subscriptions_for_days(
    connection: tuple[Peers, socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(zmq_peers.time, "monotonic", lambda: now)
    peers, near, far = connection
    for _ in range(10 * zmq_peers.EVENTS_MAX):
        now += 1.0
        assert peers.take_in(near.fileno(), b"\1" + MASKS) == (True, "")
        assert peers.take_in(near.fileno(), b"\0" + MASKS) == (True, "")
    assert not is_cut(far)


def test_only_a_connection_of_ours_is_ever_cut() -> None:
    peers = Peers(descriptors=4096, sockets=1)
    peers.names = {"/run/masks.sock", 5555}
    left, right = socket.socketpair()
    with left, right:
        peers.accepted(left.fileno())
        _, cut_for = peers.take_in(left.fileno(), b"\1" + b"x" * 500)
        assert cut_for
        right.send(b"still there")
        assert left.recv(100) == b"still there"


@pytest.mark.parametrize(
    ("limits", "raised"),
    [((1024, 4096), 4096), ((4096, 4096), None), ((1024, 1 << 20), 65_536), ((1024, -1), 65_536)],
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_is_of_use(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], raised: int | None
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: calls.append(wanted))
    assert raise_descriptor_limit() == (raised or limits[0])
    assert calls == ([(raised, limits[1])] if raised else [])


def test_with_too_few_open_files_it_says_so_and_does_not_start(
    publisher: Publisher, ipc_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 511))
    with pytest.raises(PermanentError, match="may open 511 files, and gnetsegd needs 512") as caught:
        publisher.open(PublishConfig(endpoints=[ipc_endpoint]))
    assert caught.value.exit_code == 78


def is_readable(publisher: Publisher, timeout_s: float) -> bool:
    poller = select.poll()
    for descriptor in publisher.descriptors():
        poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def test_with_nobody_watching_a_descriptor_tells_of_a_subscriber(
    publisher: Publisher, endpoint: str, context: zmq.Context[Any]
) -> None:
    publisher.poll_subscriptions()
    assert not is_readable(publisher, 0)
    reader = subscribe(context, endpoint, b"mask/")
    while not publisher.watched:
        assert is_readable(publisher, WAIT_S), "no descriptor told"
        publisher.poll_subscriptions()
    reader.close()
    while publisher.watched:
        assert is_readable(publisher, WAIT_S), "no descriptor told"
        publisher.poll_subscriptions()


def test_a_descriptor_tells_of_a_subscriber_also_if_status_went_out_in_between(
    publisher: Publisher, endpoint: str, context: zmq.Context[Any]
) -> None:
    reader = subscribe(context, endpoint, b"mask/")
    wait_until(lambda: publisher.send_status({}) or publisher._outlets[0].has_received)
    publisher.send_status({})
    assert is_readable(publisher, 0)
    publisher.poll_subscriptions()
    assert publisher.watched
    reader.close()


def test_it_is_watched_from_the_first_who_comes_to_the_last_who_goes(
    publisher: Publisher, endpoint: str, context: zmq.Context[Any]
) -> None:
    first, second = (subscribe(context, endpoint, b"mask/") for _ in range(2))
    wait_for_readers(publisher, 2)
    first.close()
    wait_for_readers(publisher, 1)
    assert publisher.watched
    second.close()
    wait_until(lambda: publisher.poll_subscriptions() or not publisher.watched)


def test_what_the_connections_thread_finds_while_the_main_thread_judges_is_not_forgotten(
    publisher: Publisher, endpoint: str, context: zmq.Context[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = subscribe(context, endpoint, b"mask/")
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)
    (outlet,) = publisher._outlets

    def judge() -> bool:
        reader.close()
        wait_until(lambda: publisher._changed)
        return False

    monkeypatch.setattr(outlet, "judge", judge)
    publisher.poll_subscriptions()
    assert not publisher.watched, "the network would compute for nobody"


def test_one_poll_takes_in_a_bounded_number_of_messages_and_tells_that_there_are_more(
    publisher: Publisher, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "EVENTS_PER_POLL", 1)
    peer = RawPeer(endpoint)
    peer.shake_hands()
    peer.say(*(subscription(b"%d" % n) for n in range(5)))
    (outlet,) = publisher._outlets
    seen = 0
    while seen < 5:
        assert is_readable(publisher, WAIT_S), "no descriptor told of the rest"
        publisher.poll_subscriptions()
        assert len(outlet.topics()) <= seen + 1
        seen = len(outlet.topics())
    peer.socket.close()


HANGS_UP = """
import sys, time
from gnetsegd.config import PublishConfig
from gnetsegd.road.publisher import Publisher
from tests.road.test_peers import PING, RawPeer, subscription

publisher = Publisher("cam0")
publisher.open(PublishConfig(endpoints=[sys.argv[1]]))
peer = RawPeer(sys.argv[1])
peer.shake_hands()
peer.say(*(subscription(b"%d" % n) for n in range(10)), PING)
time.sleep(0.1)
peer.socket.close()
time.sleep(0.1)
for _ in range(20):
    publisher.poll_subscriptions()
    time.sleep(0.01)
publisher.close()
print("alive")
"""


def test_a_peer_that_hangs_up_behind_a_ping_does_not_end_the_process(ipc_endpoint: str) -> None:
    # In a process of its own: libzmq would end it.
    command = [sys.executable, "-c", HANGS_UP, ipc_endpoint]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT)
    assert done.stdout == "alive\n", done.stderr

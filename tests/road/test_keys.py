"""Who may read over the network: the folder of keys, followed while masks go out."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from zmq.auth import create_certificates, load_certificate

from gnetsegd import curve
from gnetsegd.config import EndpointConfig, PublishConfig
from gnetsegd.message import parse_header
from gnetsegd.road import publisher as publisher_module
from gnetsegd.road.publisher import Publisher

from .fakes import wait_until
from .test_publisher import mask, subscribe

pytestmark = [
    pytest.mark.runtime,
    pytest.mark.skipif(not zmq.has("curve"), reason="this libzmq was built without CURVE"),
]


class Talk:
    """A publisher that sends a mask each 10 ms on ipc and on TCP with keys, and its clients."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(publisher_module, "LOOK_S", 0.02)
        self.folder, self.permitted, self.pairs = folder, folder / "clients", folder / "pairs"
        self.permitted.mkdir()
        self.pairs.mkdir()
        create_certificates(self.pairs, "daemon")
        self.ipc = f"ipc://{folder}/m.sock"
        self.publisher = Publisher("cam0")
        self.context = zmq.Context()
        self.sent = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def open(self) -> None:
        self.publisher.open(
            PublishConfig(
                endpoints=[self.ipc],
                send_hwm_messages=1000,
                endpoint=[
                    EndpointConfig(
                        address="tcp://127.0.0.1:*",
                        curve_secret_key_file=str(self.pairs / "daemon.key_secret"),
                        curve_authorized_keys_dir=str(self.permitted),
                    )
                ],
            )
        )
        (self.tcp,) = [at for at in self.publisher.bound_endpoints() if at.startswith("tcp://")]
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(0.01):
            self.publisher.poll_subscriptions()
            self.sent += 1
            self.publisher.publish(mask(self.sent), 0)

    def add(self, name: str) -> None:
        """A new client, permitted from now on."""
        if not (self.pairs / f"{name}.key").exists():
            create_certificates(self.pairs, name)
        (self.permitted / f"{name}.key").write_bytes((self.pairs / f"{name}.key").read_bytes())

    def revoke(self, name: str) -> None:
        (self.permitted / f"{name}.key").unlink()

    def in_force(self) -> bool:
        return self.publisher.keys_in_force() == [curve.permitted(self.permitted).digest]

    def read(self, name: str) -> Any:
        made = self.context.socket(zmq.SUB)
        made.curve_publickey, made.curve_secretkey = load_certificate(self.pairs / f"{name}.key_secret")
        made.curve_serverkey, _ = load_certificate(self.pairs / "daemon.key")
        made.setsockopt(zmq.SUBSCRIBE, b"mask/")
        made.connect(self.tcp)
        return made

    def close(self) -> None:
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.publisher.close()
        self.context.destroy(linger=0)


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    made = Talk(tmp_path, monkeypatch)
    yield made
    made.close()


def newest(reader: Any) -> int:
    """The number of the newest mask that has come; waits for one."""
    assert reader.poll(5000), "no mask came"
    sequence = 0
    while reader.poll(0):
        sequence = parse_header(reader.recv()).sequence
    return sequence


def test_a_key_that_is_added_lets_its_client_in_and_ends_no_stream(talk: Talk) -> None:
    talk.add("robot")
    talk.open()
    robot = talk.read("robot")
    newest(robot)
    outlet = talk.publisher._outlets[1]
    talk.add("arm")
    wait_until(talk.in_force)
    late = talk.read("arm")
    newest(late)
    newest(robot)
    assert talk.publisher._outlets[1] is outlet


def test_once_a_revocation_is_in_force_its_client_gets_no_mask_and_the_others_go_on(talk: Talk) -> None:
    talk.add("robot")
    talk.add("arm")
    talk.open()
    robot, arm = talk.read("robot"), talk.read("arm")
    here = subscribe(talk.context, talk.ipc, b"mask/")
    for reader in (robot, arm, here):
        newest(reader)
    talk.revoke("robot")
    wait_until(talk.in_force)
    last = talk.sent + 1  # one may have been under way
    deadline = time.monotonic() + 5
    while newest(arm) <= last + 5:
        assert time.monotonic() < deadline
    seen = [parse_header(robot.recv()).sequence for _ in iter(lambda: robot.poll(0), 0)]
    assert all(sequence <= last for sequence in seen)
    assert not robot.poll(300)
    # On this machine nobody noticed.
    before = newest(here)
    following = [parse_header(here.recv()).sequence for _ in range(20)]
    assert following == list(range(before + 1, before + 21))


def test_a_revoked_client_that_comes_again_is_refused(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    talk.add("robot")
    talk.open()
    newest(talk.read("robot"))
    with caplog.at_level(logging.INFO):
        talk.revoke("robot")
        wait_until(talk.in_force)
        again = talk.read("robot")
        wait_until(lambda: "is not permitted" in caplog.text)
        assert not again.poll(200)
        assert "keys: robot may no longer read" in caplog.text
        assert "publish: 127.0.0.1 was refused: its key (" in caplog.text
        talk.add("robot")
        wait_until(talk.in_force)
        newest(talk.read("robot"))
        assert "keys: robot may read" in caplog.text


def test_a_key_that_is_exchanged_under_its_name_ends_the_old_ones_stream(talk: Talk) -> None:
    talk.add("robot")
    talk.open()
    old = talk.read("robot")
    newest(old)
    create_certificates(talk.permitted, "robot")
    (talk.permitted / "robot.key_secret").unlink()
    wait_until(talk.in_force)
    while old.poll(100):
        old.recv()
    assert not old.poll(300)


def test_a_folder_that_is_gone_permits_nobody_and_one_that_comes_back_does(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    talk.add("robot")
    talk.open()
    robot = talk.read("robot")
    newest(robot)
    aside = talk.permitted.rename(talk.folder / "aside")
    nobody = curve.Permitted({}).digest
    wait_until(lambda: talk.publisher.keys_in_force() == [nobody])
    while robot.poll(100):
        robot.recv()
    assert not robot.poll(200)
    assert "No such file or directory" in caplog.text
    aside.rename(talk.permitted)
    wait_until(talk.in_force)
    newest(talk.read("robot"))


def test_a_file_that_is_no_key_is_named_once_and_harms_nobody(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    talk.add("robot")
    talk.open()
    robot = talk.read("robot")
    (talk.permitted / "half.key").write_text('curve\n    public-key = "')
    os.mkfifo(talk.permitted / "pipe.key")
    wait_until(lambda: "half.key: no CURVE key file" in caplog.text and "pipe.key" in caplog.text)
    newest(robot)
    wait_until(talk.in_force)
    assert caplog.text.count("half.key") <= 3  # read anew while it is fresh


STRANGERS = {
    "no key": lambda _: None,
    "another key of the daemon": lambda s: _curve(s, zmq.curve_keypair()[0]),
    "PLAIN": lambda s: (s.setsockopt(zmq.PLAIN_USERNAME, b"u"), s.setsockopt(zmq.PLAIN_PASSWORD, b"p")),
}


def _curve(made: Any, server: bytes) -> None:
    made.curve_publickey, made.curve_secretkey = zmq.curve_keypair()
    made.curve_serverkey = server


@pytest.mark.parametrize(
    ("stranger", "words"),
    [
        ("no key", "it shows no CURVE key"),
        ("PLAIN", "it shows no CURVE key"),
        ("another key of the daemon", "it has another key for this daemon"),
    ],
)
def test_each_stranger_is_a_line_with_its_reason_and_gets_nothing(
    talk: Talk, caplog: pytest.LogCaptureFixture, stranger: str, words: str
) -> None:
    talk.add("robot")
    talk.open()
    with talk.context.socket(zmq.SUB) as made:
        STRANGERS[stranger](made)
        made.setsockopt(zmq.SUBSCRIBE, b"")
        made.connect(talk.tcp)
        wait_until(lambda: words in caplog.text)
        assert not made.poll(100)
    assert all(" was refused: " in line for line in caplog.messages)


def test_a_stranger_that_is_still_there_is_told_with_its_address(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    talk.open()
    with socket.create_connection(("127.0.0.1", int(talk.tcp.rpartition(":")[2]))) as slow:
        talk.publisher._outlets[1].mind_the_door(())
        time.sleep(0.05)
        slow.sendall(b"GET / HTTP/1.1\r\n\r\n")
        port = slow.getsockname()[1]
        wait_until(lambda: f"publish: 127.0.0.1:{port} was refused: it speaks no ZMTP 3" in caplog.text)


def test_a_hundred_refusals_are_a_few_lines(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    talk.open()
    port = int(talk.tcp.rpartition(":")[2])
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", port)) as garbage:
            garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
    wait_until(lambda: "was refused" in caplog.text)
    assert len(caplog.messages) < 20


def test_a_client_that_comes_and_goes_was_not_refused(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    talk.add("robot")
    talk.open()
    for _ in range(5):
        with talk.read("robot") as robot:
            newest(robot)
    time.sleep(0.1)
    assert "refused" not in caplog.text


def test_without_keys_nothing_is_told_of_them(tmp_path: Path) -> None:
    made = Publisher("cam0")
    made.open(PublishConfig(endpoints=[f"ipc://{tmp_path}/m.sock"]))
    assert made.keys_in_force() == []
    made.close()


def test_the_digest_is_of_the_keys_and_not_of_names_or_places(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    create_certificates(one, "robot")
    create_certificates(two, "arm")
    assert curve.permitted(one).digest != curve.permitted(two).digest
    (two / "robot-again.key").write_bytes((one / "robot.key").read_bytes())
    (two / "arm.key").unlink()
    assert curve.permitted(one).digest == curve.permitted(two).digest

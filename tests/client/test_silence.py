"""A client says why it gets nothing, soon, and gets masks once it may."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from fake_publisher import FakeDaemon
from zmq.auth import create_certificates, load_certificate

from gnetsegd.client import MaskSubscriber, NoData, StatusSubscriber, probe, silence
from gnetsegd.client.probe import Probe
from gnetsegd.config import EndpointConfig, PublishConfig
from gnetsegd.message import topic
from gnetsegd.road.publisher import Publisher

pytestmark = [
    pytest.mark.runtime,
    pytest.mark.skipif(not zmq.has("curve"), reason="this libzmq was built without CURVE"),
]


LIMITS_S = (probe.HANDSHAKE_S, silence.PATIENCE_S)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is just now."""
    monkeypatch.setattr(probe, "HANDSHAKE_S", 20.0)
    monkeypatch.setattr(silence, "AGAIN_S", 0.1)


class Guarded:
    """A publisher of ``cam7`` with keys, which says how it is, and key files beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.permitted = folder, folder / "clients"
        self.permitted.mkdir()
        for name in ("daemon", "friend", "stranger"):
            create_certificates(folder, name)
        self.permit("friend")
        self.publisher = Publisher("cam7")
        table = EndpointConfig(
            address="tcp://127.0.0.1:*",
            curve_secret_key_file=str(folder / "daemon.key_secret"),
            curve_authorized_keys_dir=str(self.permitted),
        )
        self.publisher.open(PublishConfig(endpoints=[], endpoint=[table]))
        (self.endpoint,) = self.publisher.bound_endpoints()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(0.02):
            self.publisher.poll_subscriptions()
            self.publisher.send_status({"camera": "cam7"})

    def permit(self, name: str) -> None:
        (self.permitted / f"{name}.key").write_bytes((self.folder / f"{name}.key").read_bytes())

    def keys(self, name: str) -> dict[str, Any]:
        server, _ = load_certificate(self.folder / "daemon.key")
        public, secret = load_certificate(self.folder / f"{name}.key_secret")
        return {"server_key": server, "public_key": public, "secret_key": secret}

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self.publisher.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    made = Guarded(tmp_path)
    yield made
    made.close()


def reason(endpoint: str, camera: str = "cam7", **keys: Any) -> NoData:
    """The first reason that is more than silence, as a loop over the masks hears it."""
    with MaskSubscriber(endpoint, camera, **keys) as masks:
        end = time.monotonic() + 20
        for found in masks.follow():
            assert isinstance(found, NoData)
            assert time.monotonic() < end, found
            if "has answered yet" not in found.reason:
                return found
    raise AssertionError


def test_a_key_that_is_not_permitted_is_told_so(guarded: Guarded) -> None:
    found = reason(guarded.endpoint, **guarded.keys("stranger"))
    assert found.why == "not-permitted"
    assert "does not permit this key" in found.reason
    assert "gnetsegctl keys add" in found.reason


def test_a_client_without_keys_is_told_so(guarded: Guarded) -> None:
    found = reason(guarded.endpoint)
    assert found.why == "no-keys"
    assert "wants keys" in found.reason


def test_a_client_with_the_daemons_key_alone_is_told_what_it_lacks(guarded: Guarded) -> None:
    found = reason(guarded.endpoint, server_key=guarded.keys("friend")["server_key"])
    assert found.why == "not-permitted"
    assert "give public_key and secret_key" in found.reason


def test_a_wrong_key_of_the_daemon_is_told_so(guarded: Guarded) -> None:
    keys = guarded.keys("friend") | {"server_key": zmq.curve_keypair()[0]}
    found = reason(guarded.endpoint, **keys)
    assert found.why == "wrong-server-key"
    assert "not the key of this daemon" in found.reason


def test_a_wrong_name_of_the_camera_is_told_with_those_that_are_there(guarded: Guarded) -> None:
    found = reason(guarded.endpoint, "front", **guarded.keys("friend"))
    assert found.why == "wrong-camera"
    assert "says nothing of camera front; it has cam7" in found.reason


def test_that_no_daemon_is_there_is_told_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = reason(f"tcp://127.0.0.1:{port}")
    assert found.why == "silent"
    assert "no daemon answers there" in found.reason


def test_the_limits_of_it_are_less_than_a_second_together() -> None:
    assert sum(LIMITS_S) < 1.0


def test_a_client_that_is_permitted_later_hears_the_daemon_without_a_restart(guarded: Guarded) -> None:
    with StatusSubscriber(guarded.endpoint, "cam7", **guarded.keys("stranger")) as status:
        end = time.monotonic() + 20
        while (found := status.why_silent()) is None or found.why != "not-permitted":
            assert time.monotonic() < end
            time.sleep(0.02)
        guarded.permit("stranger")
        heard = False
        while not heard:
            assert time.monotonic() < end
            status.why_silent()
            # What it says is no status of this version; that it says something is enough.
            status.status(0.02)
            heard = status.bad_messages > 0


def test_a_daemon_that_is_heard_costs_no_second_connection(endpoint: str) -> None:
    with FakeDaemon(endpoint) as daemon, MaskSubscriber(daemon.endpoint) as masks:
        for found in masks.follow():
            if not isinstance(found, NoData):
                break
        assert masks.why_silent() is None
        assert b"info/" not in daemon.publisher.asked
        assert topic("mask", "cam0") in daemon.publisher.asked


def test_a_probe_that_nobody_looks_at_can_be_closed(guarded: Guarded) -> None:
    made = Probe(guarded.endpoint, "cam7", **guarded.keys("stranger"))
    time.sleep(0.1)
    made.close()
    made.close()


def test_a_name_that_can_be_no_endpoint_is_refused() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(50):
        with pytest.raises(ValueError, match="cannot connect"):
            Probe("tcp://", "cam0")
    assert len(os.listdir("/proc/self/fd")) < before + 50  # noqa: PTH208 - nothing is left open

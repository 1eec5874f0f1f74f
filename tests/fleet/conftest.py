"""A router in this process, and daemons that send what a test says (tests/client)."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))

zenoh = pytest.importorskip("zenoh")

from gnetsegd.services.fleet.config import LinkConfig  # noqa: E402


def publisher_at(session: Any, key: str) -> Any:
    """One that waits for room: nothing of it is lost."""
    return session.declare_publisher(key, congestion_control=zenoh.CongestionControl.BLOCK)


def wait_for_a_listener(publisher: Any) -> None:
    """The router knows of it, and we do."""
    deadline = time.monotonic() + 10
    while not publisher.matching_status.matching:
        assert time.monotonic() < deadline, f"nobody listens to {publisher.key_expr}"
        time.sleep(0.005)


def put(session: Any, key: str, data: bytes | str) -> None:
    """To somebody who listens, and surely."""
    publisher = publisher_at(session, key)
    wait_for_a_listener(publisher)
    publisher.put(data)
    publisher.undeclare()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def router_at(address: str, **more: Any) -> Any:
    config = zenoh.Config()
    values = {"mode": "router", "listen/endpoints": [address], "scouting/multicast/enabled": False}
    for key, value in (values | more).items():
        config.insert_json5(key, json.dumps(value))
    return zenoh.open(config)


@pytest.fixture
def router() -> Iterator[LinkConfig]:
    """How to reach it."""
    address = f"tcp/127.0.0.1:{free_port()}"
    session = router_at(address)
    yield LinkConfig(connect=[address], host="robot1")
    session.close()

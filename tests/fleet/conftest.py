"""A router in this process, and daemons that send what a test says (tests/client)."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))

zenoh = pytest.importorskip("zenoh")

from gnetsegd.services.fleet.config import LinkConfig  # noqa: E402


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

"""Services find each camera once, by a name that stays, however many sockets its daemon has."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_publisher import FakeDaemon

from gnetsegd.errors import ConfigError
from gnetsegd.services.here import Cameras, Found, check, listen

pytestmark = pytest.mark.runtime


def test_a_daemon_at_two_sockets_is_one(tmp_path: Path) -> None:
    """As it is where a recorder has an endpoint of its own."""
    first, second = f"ipc://{tmp_path}/b.sock", f"ipc://{tmp_path}/a.sock"
    with FakeDaemon(first) as daemon:
        cameras = Cameras((first, second))
        assert cameras.look() == [Found("cam0", first, "cam0")]
        # A further socket, whose name comes before, makes no further camera.
        daemon.publisher.socket.bind(second)
        assert listen((second, first)) == {second: ["cam0"], first: []}
        cameras = Cameras((second, first))
        cameras._names = {(first, "cam0"): "cam0"}
        assert cameras.look() == []


def test_two_cameras_of_one_name_are_two(tmp_path: Path) -> None:
    first, second = f"ipc://{tmp_path}/a.sock", f"ipc://{tmp_path}/b.sock"
    with FakeDaemon(first), FakeDaemon(second, session=99):
        cameras = Cameras((first, second))
        assert cameras.look() == [Found("cam0", first, "cam0"), Found("cam0-2", second, "cam0")]
        assert cameras.look() == []


@pytest.mark.parametrize("port", ["99999", "0", "5x", "-1", "9" * 5000, ""])
def test_a_port_that_is_none_is_not_taken_for_another(port: str) -> None:
    with pytest.raises(ConfigError, match="is no endpoint; one is like"):
        check([f"tcp://127.0.0.1:{port}"], "--endpoint")
    check(["tcp://127.0.0.1:65535", "ipc:///nobody/is/there"], "--endpoint")

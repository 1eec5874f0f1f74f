"""The page's own configurations of Zenoh: certificates on both sides, each robot under its own name alone."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zenoh

from gnetsegd.errors import TransientError
from gnetsegd.services.fleet import link
from gnetsegd.services.fleet.config import LinkConfig

PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"
LIMIT_S = 20.0


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


def certificate(folder: Path, name: str, signed_by: str) -> None:
    """``NAME.pem`` and ``NAME.key`` for localhost, by ``signed_by`` (itself: one who may sign)."""
    key, request, out = (str(folder / f"{name}.{end}") for end in ("key", "csr", "pem"))
    if signed_by == name:
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", out, "-days", "2",
                "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
        return
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
    (folder / "more").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", request, "-CA", str(folder / f"{signed_by}.pem"), "-CAkey",
            str(folder / f"{signed_by}.key"), "-CAcreateserial", "-out", out, "-days", "2",
            "-extfile", str(folder / "more"))  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    certificate(folder, "fleet-ca", "fleet-ca")
    certificate(folder, "stranger-ca", "stranger-ca")
    for name in ("router", "robot7", "robot8", "operators"):
        certificate(folder, name, "fleet-ca")
    certificate(folder, "stranger", "stranger-ca")
    return folder


def blocks() -> tuple[str, str]:
    """The machine's configuration and the router's, as they stand on the page."""
    machine, router = re.findall(r"```json5\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    return machine, router


@pytest.fixture(scope="module")
def address(folder: Path) -> Any:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = blocks()[1].replace("/etc/zenohd/", f"{folder}/").replace("tls/[::]:7447", f"tls/localhost:{port}")
    session = zenoh.open(zenoh.Config.from_json5(text))
    yield f"tls/localhost:{port}"
    session.close()


@pytest.fixture
def reach(folder: Path, address: str) -> Callable[[str], LinkConfig]:
    def of(name: str) -> LinkConfig:
        path = folder / f"{name}.json5"
        path.write_text(blocks()[0].replace("/etc/gnetsegd/", f"{folder}/").replace("robot7", name))
        return LinkConfig(connect=[address], config_file=str(path))

    return of


def test_a_robot_puts_under_its_own_name_alone_and_the_operators_hear_it(
    reach: Callable[[str], LinkConfig],
) -> None:
    heard: list[tuple[str, bytes]] = []
    operators, robot7, robot8 = (link.open_session(reach(name)) for name in ("operators", "robot7", "robot8"))
    subscriber = operators.declare_subscriber(
        "gnetseg/**", lambda sample: heard.append((str(sample.key_expr), bytes(sample.payload)))
    )
    tokens: list[str] = []
    listener = operators.liveliness().declare_subscriber(
        "gnetseg/*/*", lambda sample: tokens.append(str(sample.key_expr)), history=True
    )
    token = robot7.liveliness().declare_token("gnetseg/robot7/cam0")
    deadline = time.monotonic() + LIMIT_S
    while not heard or not tokens:
        assert time.monotonic() < deadline, (heard, tokens)
        robot8.put("gnetseg/robot7/cam0/status", b"false")
        robot8.put("gnetseg/robot8/cam0/status", b"no rule")
        robot7.put("gnetseg/robot7/cam0/status", b"true")
        time.sleep(0.1)
    assert {data for _, data in heard} == {b"true"}
    assert tokens == ["gnetseg/robot7/cam0"]
    for made in (token, subscriber, listener):
        made.undeclare()
    for session in (operators, robot7, robot8):
        session.close()


def test_a_machine_without_a_certificate_of_the_fleet_is_not_let_in(
    reach: Callable[[str], LinkConfig], folder: Path
) -> None:
    with pytest.raises(TransientError, match="or its certificate is not one that"):
        link.open_session(reach("stranger"))
    assert (folder / "stranger.pem").exists()

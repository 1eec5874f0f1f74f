"""gnetsegctl keys: from nothing to a second machine, and back."""

from __future__ import annotations

import json
import os
import stat
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from fake_publisher import status_body
from test_ctl import ctl

from gnetsegd import curve
from gnetsegd.client import MaskSubscriber, client_config
from gnetsegd.config import PublishConfig, load
from gnetsegd.ctl import permitted
from gnetsegd.errors import ConfigError
from gnetsegd.road.publisher import Publisher

pytestmark = [
    pytest.mark.runtime,
    pytest.mark.skipif(not zmq.has("curve"), reason="this libzmq was built without CURVE"),
]


class Machine:
    """A configuration, keys beside it, and a publisher that says how it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "gnetsegd.toml"
        self.ipc = f"ipc://{folder}/m.sock"
        self.config.write_text(f'[publish]\nendpoints = ["{self.ipc}"]\n')
        self.publisher: Publisher | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def keys(self, *arguments: str) -> Any:
        where = (
            [] if "[[publish.endpoint]]" in self.config.read_text() else ["--folder", str(self.keys_folder)]
        )
        return ctl("keys", *arguments, "--config", str(self.config), *where)

    @property
    def keys_folder(self) -> Path:
        return self.folder / "keys"

    def configure(self, said: str) -> None:
        """As a person who pastes what was printed, with a port that is free."""
        tables = said[said.index("[[publish.endpoint]]") :]
        self.config.write_text(tables.replace("tcp://0.0.0.0:5555", "tcp://127.0.0.1:*"))

    def start(self) -> None:
        self.publisher = Publisher("cam0")
        publish: PublishConfig = load(self.config).publish
        self.publisher.open(publish)
        (self.tcp,) = [at for at in self.publisher.bound_endpoints() if at.startswith("tcp://")]
        self._thread.start()

    def _run(self) -> None:
        assert self.publisher is not None
        while not self._ending.wait(0.02):
            self.publisher.poll_subscriptions()
            body = status_body("cam0", self.publisher.session)
            self.publisher.send_status(body | {"keys": self.publisher.keys_in_force()})

    def close(self) -> None:
        if self.publisher is not None:
            self._ending.set()
            self._thread.join()
            self.publisher.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_named_from_here_is_told_as_the_daemon_finds_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine.folder)
    said = ctl("keys", "init", "--config", str(machine.config), "--folder", "keys")
    assert f'curve_secret_key_file = "{machine.keys_folder}/daemon.key_secret"' in said.stdout, said
    assert f'curve_authorized_keys_dir = "{machine.keys_folder}/clients"' in said.stdout


def test_from_nothing_to_a_client_that_reads_and_is_revoked(machine: Machine) -> None:
    said = machine.keys("init")
    assert said.returncode == 0, said.stderr
    machine.configure(said.stdout)
    machine.start()

    said = machine.keys("add", "robot")
    assert "robot may read\n" in said.stdout, said
    shown = machine.keys("show-client-config", "robot", "--host", "127.0.0.1")
    file = machine.folder / "robot.toml"
    file.write_text(shown.stdout.replace("127.0.0.1:*", machine.tcp.removeprefix("tcp://")))
    with MaskSubscriber(**client_config(file)) as masks:
        assert masks.status(10) is not None
    out = ctl("status", "--client", str(file))
    assert out.returncode == 0
    assert "running" in out.stdout

    listed = json.loads(machine.keys("list", "--json").stdout)
    assert [client["name"] for client in listed] == ["robot"]
    said = machine.keys("revoke", "robot")
    assert said.stdout == "robot gets nothing more\n"
    assert machine.keys("list").stdout == ""
    out = ctl("status", "--client", str(file), "--timeout", "1")
    assert out.returncode == 77
    assert "does not permit this key" in out.stderr


def test_secrets_are_for_those_alone_who_need_them(machine: Machine) -> None:
    machine.keys("init")
    machine.keys("add", "robot")
    folder = machine.keys_folder
    assert mode(folder) == 0o750
    assert mode(folder / "daemon.key_secret") == 0o640
    assert mode(folder / "daemon.key") == 0o644
    assert mode(folder / "clients/robot.key") == 0o640
    assert mode(folder / "issued") == 0o700
    assert mode(folder / "issued/robot.key_secret") == 0o600
    assert "secret" not in (folder / "clients/robot.key").read_text().lower()


def test_a_client_may_keep_its_secret_to_itself(machine: Machine) -> None:
    machine.keys("init")
    public, _ = zmq.curve_keypair()
    assert machine.keys("add", "robot", "--public", public.decode()).returncode == 0
    assert curve.permitted(machine.keys_folder / "clients").names == {public: "robot"}
    assert not list((machine.keys_folder / "issued").iterdir())
    shown = tomllib.loads(machine.keys("show-client-config", "robot").stdout)
    assert shown["public_key"] == public.decode()
    assert shown["secret_key"] == ""
    out = machine.keys("add", "arm", "--public", "short")
    assert out.returncode == 64
    assert "40 characters" in out.stderr


def test_a_revoked_name_takes_its_secret_along_and_a_second_name_of_the_same_key_is_told(
    machine: Machine,
) -> None:
    machine.keys("init")
    machine.keys("add", "robot")
    clients = machine.keys_folder / "clients"
    (clients / "twin.key").write_bytes((clients / "robot.key").read_bytes())
    out = machine.keys("revoke", "robot")
    assert out.returncode == 75
    assert "permitted as twin" in out.stderr
    assert not (machine.keys_folder / "issued/robot.key_secret").exists()
    assert machine.keys("revoke", "twin").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["revoke", "nobody"], 66, "nobody is not permitted; permitted are: robot"),
        (["add", "robot"], 73, "robot.key is there already; revoke robot first"),
        (["add", "../evil"], 64, "a name is 1 to 64 of letters"),
        (["init"], 73, "is there already; with --new every client needs the new public key"),
        (["show-client-config", "nobody"], 66, "sudo gnetsegctl keys add nobody"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    machine: Machine, arguments: list[str], code: int, words: str
) -> None:
    machine.keys("init")
    machine.keys("add", "robot")
    out = machine.keys(*arguments)
    assert out.returncode == code
    assert words in out.stderr


def test_without_keys_it_is_said_how_to_make_them(machine: Machine) -> None:
    out = machine.keys("add", "robot")
    assert out.returncode == 66
    assert "sudo gnetsegctl keys init makes them" in out.stderr


def test_a_new_pair_of_the_daemon_is_told_to_need_a_restart(machine: Machine) -> None:
    machine.keys("init")
    before = (machine.keys_folder / "daemon.key").read_bytes()
    assert "systemctl restart" in machine.keys("init", "--new").stdout
    assert (machine.keys_folder / "daemon.key").read_bytes() != before


def test_a_daemon_that_does_not_take_the_keys_over_is_an_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.configure(machine.keys("init").stdout)
    machine.start()
    monkeypatch.setattr(permitted, "TAKEN_OVER_S", 0.5)
    assert machine.publisher is not None
    monkeypatch.setattr(machine.publisher, "keys_in_force", lambda: ["0000000000000000"])
    out = machine.keys("add", "robot")
    assert out.returncode == 75
    assert "has not taken the keys over within 0.5 s" in out.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("endpoint = 5", "endpoint is not a text"),
        ('server_key = "short"', "server_key is no CURVE key"),
        ('camera = "Front Door"', "camera is no name"),
        ('password = "x"', "unknown key password"),
        ("endpoint = ", "no client's file"),
    ],
)
def test_a_wrong_clients_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "robot.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        client_config(file)
    with pytest.raises(ConfigError, match="No such file"):
        client_config(tmp_path / "none.toml")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_the_daemons_group_what_it_must_read(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permitted, "GROUP", "daemon")
    machine.keys("init")
    machine.keys("add", "robot")
    group = permitted.grp.getgrnam("daemon").gr_gid
    folder = machine.keys_folder
    for given in (folder, folder / "daemon.key_secret", folder / "clients", folder / "clients/robot.key"):
        assert (given.stat().st_uid, given.stat().st_gid) == (0, group)
    assert (folder / "issued/robot.key_secret").stat().st_gid != group

"""The mock accelerator of a daemon in a process of its own, and the socket that spoils it from outside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import usb.core
from gnetseg_device.device import MockDevice
from gnetseg_device.remote import RemoteControl, ask

from gnetsegd.client import subscribe
from gnetsegd.message import parse_header, parse_json
from gnetsegd.testing.mock_accelerator import install

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "tests" / "data" / "models" / "threshold-32"


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[tuple[MockDevice, Path]]:
    device = MockDevice()
    control = RemoteControl(device, tmp_path / "remote")
    yield device, tmp_path / "remote"
    control.close()
    device.close()
    assert not (tmp_path / "remote").exists()


def test_a_device_is_plugged_unplugged_and_spoiled_from_outside(remote: tuple[MockDevice, Path]) -> None:
    device, path = remote
    assert ask(path, "unplug") == "ok"
    assert usb.core.find(backend=device.backend) is None
    assert ask(path, "plug elsewhere") == "ok"
    assert usb.core.find(backend=device.backend).bus == 2
    assert ask(path, "inject permission") == "ok"
    with pytest.raises(usb.core.USBError, match="Access"):
        usb.core.find(backend=device.backend).get_active_configuration()
    assert json.loads(ask(path, "injected")) == {"permission": 1}
    assert ask(path, "clear permission") == "ok"
    usb.core.find(backend=device.backend).get_active_configuration()
    assert ask(path, "inject flap-after:7") == "ok"
    assert device.port.faults.defect("flap-after") == 7
    assert ask(path, "clear") == "ok"
    assert not device.port.faults.armed


def test_a_single_fault_happens_once_unless_it_is_told_a_rate_or_a_count(
    remote: tuple[MockDevice, Path],
) -> None:
    device, path = remote
    for line, times in (("inject timeout", 1), ("inject timeout 3", 3), ("inject timeout:1", 10)):
        ask(path, line)
        assert sum(device.port.faults.draw("in") == "timeout" for _ in range(10)) == times


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("inject stal-in", "there is no fault 'stal-in'; did you mean stall-in"),
        ("inject", "is none of: inject NAME"),
        ("clear nonsense", "is none of: inject NAME"),
        ("unplug soon", "soon"),
        ("inject timeout often", "often"),
        ("x" * 500, "is none of"),
    ],
)
def test_a_command_that_is_none_changes_nothing_and_is_told_why(
    line: str, sentence: str, remote: tuple[MockDevice, Path]
) -> None:
    device, path = remote
    with pytest.raises(ValueError, match=sentence):
        ask(path, line)
    assert not device.port.faults.armed
    assert device.port.attachment == 1
    assert ask(path, "injected") == "{}"


def test_a_socket_that_a_killed_process_left_is_replaced_and_any_other_file_is_not(tmp_path: Path) -> None:
    device = MockDevice()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "remote"))
    left.close()
    control = RemoteControl(device, tmp_path / "remote")
    assert ask(tmp_path / "remote", "plug") == "ok"
    control.close()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="in use"):
        RemoteControl(device, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


class Daemon:
    """``gnetsegd run`` on the mock, in a process of its own."""

    def __init__(self, folder: Path, driver: str, *settings: str, file: Path | None = None) -> None:
        install(folder / "plugins")
        self.remote = folder / "remote"
        self.endpoint = endpoint = f"ipc://{folder}/m.sock"
        options = [
            "camera.driver=pattern", "camera.fps=50", f'model.bundle="{BUNDLE}"',
            f'publish.endpoints=["{endpoint}"]',
            f"accelerator.driver={driver}", f'accelerator.{driver}.remote_socket="{self.remote}"', *settings,
        ]  # fmt: skip
        command = [sys.executable, "-m", "gnetsegd", "run", *(["--config", str(file)] if file else [])]
        for setting in options:
            command += ["--set", setting]
        path = [str(folder / "plugins"), str(ROOT), str(ROOT / "firmware")]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path))
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.masks = subscribe(endpoint, "mask")

    def wait_for(self, backend: str) -> None:
        """A mask of this backend, however long a loaded machine takes."""
        deadline = time.monotonic() + 30
        while not (self.masks.poll(100) and parse_header(self.masks.recv()).backend == backend):
            assert self.process.poll() is None
            assert time.monotonic() < deadline

    def info(self, backend: str) -> tuple[str, int, str]:
        """Model, size and format that ``info`` tells of this backend."""
        with subscribe(self.endpoint, "info") as reader:
            deadline = time.monotonic() + 30
            told: dict[str, Any] = {}
            while told.get("backend") != backend:
                assert time.monotonic() < deadline
                if reader.poll(100):
                    told = parse_json(reader.recv())[2]
        return told["model"]["id"], told["input"]["width"], told["input"]["pixel_format"]

    def close(self) -> str:
        """Its log."""
        self.masks.close()
        self.process.terminate()
        return self.process.communicate(timeout=20)[1]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    started: list[Daemon] = []

    def make(*arguments: str, file: Path | None = None) -> Daemon:
        started.append(Daemon(tmp_path, *arguments, file=file))
        return started[-1]

    yield make
    for daemon in started:
        daemon.process.kill()
        daemon.close()


@pytest.mark.timeout(120)
def test_a_daemon_in_a_process_of_its_own_runs_on_the_mock_falls_back_and_returns(
    start: Callable[..., Daemon],
) -> None:
    daemon = start("mock", "accelerator.standin.threads=1")
    daemon.wait_for("usb")
    ask(daemon.remote, "unplug")
    daemon.wait_for("standin")
    ask(daemon.remote, "plug")
    daemon.wait_for("usb")
    assert "Traceback" not in daemon.close()


@pytest.mark.timeout(120)
def test_faults_of_the_configuration_are_there_from_the_start(start: Callable[..., Daemon]) -> None:
    daemon = start(
        "mock-usb", 'accelerator.mock-usb.faults=["late-answer", "error-reply:0.2"]',
        "accelerator.mock-usb.has_model=false", "accelerator.mock-usb.slots=2",
    )  # fmt: skip
    daemon.wait_for("usb")
    deadline = time.monotonic() + 30
    while not {"late-answer", "error-reply"} <= set(json.loads(ask(daemon.remote, "injected"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "uploading model" in daemon.close()


@pytest.mark.timeout(120)
def test_the_first_accelerator_that_comes_brings_its_own_network_and_one_in_its_stead(
    start: Callable[..., Daemon],
) -> None:
    daemon = start(
        "mock", "accelerator.standin.threads=1", "model.bundle=auto", "accelerator.mock.plugged=false",
        "accelerator.mock.has_model=false", "publish.status_interval_s=0.1",
    )  # fmt: skip
    daemon.wait_for("standin")
    assert daemon.info("standin") == ("person", 256, "YUV444")
    ask(daemon.remote, "plug")
    daemon.wait_for("usb")
    assert daemon.info("usb") == ("gnetseg-large-224y", 224, "Y")
    ask(daemon.remote, "unplug")
    daemon.wait_for("standin")
    assert daemon.info("standin") == ("person-gray", 224, "Y")
    log = daemon.close()
    assert log.count("the first one has come") == 1
    assert "Traceback" not in log


@pytest.mark.timeout(120)
def test_an_accelerator_that_comes_while_somebody_edits_the_configuration_is_taken_with_the_one_in_force(
    start: Callable[..., Daemon], tmp_path: Path
) -> None:
    file = tmp_path / "gnetsegd.toml"
    file.write_text("[idle]\nlinger_s = 50.0\n")
    daemon = start(
        "mock", "accelerator.standin.threads=1", "model.bundle=auto", "accelerator.mock.plugged=false",
        "accelerator.mock.has_model=false", file=file,
    )  # fmt: skip
    daemon.wait_for("standin")
    file.write_text("[idle]\nlinger_")
    ask(daemon.remote, "plug")
    daemon.wait_for("usb")
    assert daemon.info("usb") == ("gnetseg-large-224y", 224, "Y")
    log = daemon.close()
    assert str(file) not in log, "it is nobody's business but a reload's"


def test_a_fault_that_there_is_not_is_told_in_one_sentence(start: Callable[..., Daemon]) -> None:
    daemon = start("mock", 'accelerator.mock.faults=["stal-in"]')
    assert daemon.process.wait(30) == os.EX_CONFIG
    log = daemon.close()
    assert "there is no fault 'stal-in'; did you mean stall-in?" in log
    assert "Traceback" not in log

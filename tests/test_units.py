"""The units: two that differ only where they must, and as tight as is promised."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from gnetsegd import config
from gnetsegd.client.connect import DEFAULT_ENDPOINT, INSTANCE_ENDPOINT, usual_endpoint

SYSTEMD = Path(__file__).parents[1] / "systemd"
#: Of systemd 252; other versions count otherwise.
EXPOSURE_TENTHS = 16


def lines(name: str) -> list[str]:
    text = (SYSTEMD / name).read_text("utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_unit_of_another_camera_differs_in_its_name_file_and_folder_alone() -> None:
    one, other = set(lines("gnetsegd.service")), set(lines("gnetsegd@.service"))
    keys = {line.partition("=")[0] for line in one ^ other}
    assert keys == {"Description", "ExecStart", "RuntimeDirectory"}


def command(instance: str) -> tuple[str, list[str]]:
    """The configuration file and the settings with which systemd starts an instance."""
    (start,) = [line for line in lines("gnetsegd@.service") if line.startswith("ExecStart=")]
    words = shlex.split(start.partition("=")[2].replace("%i", instance))
    given = words[2:]
    options = list(zip(given[::2], given[1::2], strict=True))
    (file,) = [value for name, value in options if name == "--config"]
    return file, [value for name, value in options if name == "--set"]


@pytest.mark.parametrize("instance", ["front", "1"])
def test_an_instance_has_its_own_name_and_socket_unless_its_file_says_otherwise(
    tmp_path: Path, instance: str
) -> None:
    file, settings = command(instance)
    assert file == f"/etc/gnetsegd/{instance}.toml"
    path = tmp_path / "instance.toml"
    path.write_text("[camera]\nfps = 15\n")
    made = config.load(path, settings)
    assert made.camera.name == instance
    assert made.publish.endpoints == [INSTANCE_ENDPOINT.format(camera=instance)]
    (folder,) = [line for line in lines("gnetsegd@.service") if line.startswith("RuntimeDirectory=")]
    assert made.publish.endpoints[0].startswith(
        f"ipc:///run/{folder.partition('=')[2].replace('%i', instance)}/"
    )
    path.write_text('[camera]\nname = "door"\n[publish]\nendpoints = ["ipc:///run/x"]\n')
    made = config.load(path, settings)
    assert (made.camera.name, made.publish.endpoints) == ("door", ["ipc:///run/x"])
    path.write_text('[[publish.endpoint]]\naddress = "ipc:///run/y"\n')
    made = config.load(path, settings)
    assert [table.address for table in made.publish.all_endpoints()] == ["ipc:///run/y"]


def test_the_tools_find_the_socket_of_a_camera_that_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = f"ipc://{tmp_path}/{{camera}}.sock"
    monkeypatch.setattr("gnetsegd.client.connect.INSTANCE_ENDPOINT", own)
    assert usual_endpoint("front") == DEFAULT_ENDPOINT
    (tmp_path / "front.sock").touch()
    assert usual_endpoint("front") == f"ipc://{tmp_path}/front.sock"


@pytest.mark.parametrize("name", ["gnetsegd.service", "gnetsegd@.service"])
def test_the_unit_is_as_tight_as_is_promised(name: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not here")
    version = re.search(r"systemd (\d+)", subprocess.check_output([analyze, "--version"], text=True))
    if version is None or version[1] != "252":
        pytest.skip("the threshold is for systemd 252")
    unit = tmp_path / name.replace("@", "@front")
    shutil.copy(SYSTEMD / name, unit)
    done = subprocess.run(
        [analyze, "security", "--offline=true", f"--threshold={EXPOSURE_TENTHS}", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-400:] + done.stderr

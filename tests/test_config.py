"""The configuration: what is wrong in it is named, and nothing wrong is half applied."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from gnetsegd import config_doc
from gnetsegd.config import MAX_FILE_BYTES, Config, from_dict, load
from gnetsegd.errors import ConfigError
from gnetsegd.road import zmq_endpoints as endpoints

ROOT = Path(__file__).parents[1]


def refusal(text: str, tmp_path: Path) -> ConfigError:
    file = tmp_path / "gnetsegd.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(file) in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[camera]\nfsp = 30", "unknown key camera.fsp: did you mean camera.fps?"),
        ("[camera]\nzzzzzz = 30", "unknown key camera.zzzzzz: known are driver, name, fps,"),
        ("[camera.auto]\nx = 1", "unknown key camera.auto.x: there are no keys here"),
        ("[camear]\nfps = 30", "unknown table [camear]: did you mean camera?"),
        ("[camera.vidoe]\npath = 'x'", "unknown table camera.vidoe: did you mean camera.video?"),
        ("[camera.video]\npaht = 'x'", "unknown key camera.video.paht: did you mean camera.video.path?"),
        ("[camera]\noptions = 3", "unknown key camera.options"),
        (
            "[camera]\ndriver = 'picamera'",
            "driver is 'picamera', which is not installed: did you mean picamera2?",
        ),
        ("[camera]\nfps = '30'", "camera.fps is '30'; allowed is a number from 0 to 1000 (frames/s)"),
        ("[camera]\nfps = -1", "camera.fps is -1; allowed is a number from 0 to 1000"),
        ("[camera]\nfps = nan", "camera.fps is nan; allowed is"),
        ("[camera]\nfps = inf", "camera.fps is inf; allowed is"),
        ("[camera]\ngeometry = 'fit'", "allowed is one of center-crop, letterbox, stretch"),
        ("[camera]\nname = 'Front Door'", "camera.name is 'Front Door'; allowed is"),
        ("[accelerator.standin]\nthreads = 2.5", "threads is 2.5; allowed is a whole number from 0 to 16"),
        ("[accelerator.standin]\nthreads = true", "threads is True; allowed is a whole number"),
        ("[publish]\nframes = 1", "publish.frames is 1; allowed is true or false"),
        (
            "[publish]\nendpoints = 'ipc:///x'",
            "publish.endpoints is 'ipc:///x'; allowed is a list, each a text",
        ),
        ("[publish]\nipc_mode = '666'", "publish.ipc_mode is '666'; allowed is a text like 0[0-7]{3}"),
        ("publish = 3", "publish is 3; it must be a table, [publish]"),
        ("[camera\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(text: str, sentence: str, tmp_path: Path) -> None:
    error = refusal(text, tmp_path)
    assert sentence in str(error)
    assert "\n" not in str(error)
    assert error.exit_code == os.EX_CONFIG


def test_a_table_of_a_driver_that_is_not_in_use_is_checked_as_well(tmp_path: Path) -> None:
    text = "[camera]\ndriver = 'pattern'\n[camera.v4l2]\nno_such_key = 1"
    assert "camera.v4l2.no_such_key" in str(refusal(text, tmp_path))


def test_a_missing_or_unreadable_file_is_named_with_its_own_exit_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file") as caught:
        load(tmp_path / "none.toml")
    assert caught.value.exit_code == os.EX_NOINPUT
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(latin)


def test_a_configuration_that_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.toml")
    with pytest.raises(ConfigError, match=r"fifo\.toml: cannot be read: it is a FIFO, no plain file"):
        load(tmp_path / "fifo.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="it is larger than 1 MiB"):
        load(tmp_path / "big.toml")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 3000,
        "camera.fps = " + "[" * 3000,
        "camera.fps = " + "9" * 5000,
        "camera.fps = 0x" + "f" * 5000,
        "camera.name" + ".a" * 90 + " = 1",
        "camera" + ".a" * 5000 + " = 1",
        "k" * 5000 + " = 1",
        "camera.driver = '" + "k" * 5000 + "'",
        "[camera." + "k" * 5000 + "]",
        "camera.name = '" + "k" * 5000 + "'",
    ],
)
def test_a_configuration_that_hurts_parsers_is_a_short_sentence(text: str, tmp_path: Path) -> None:
    error = refusal(text, tmp_path)
    assert len(str(error)) < 1000
    assert error.exit_code == os.EX_CONFIG


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 3000, "a" + ".a" * 5000])
def test_a_setting_that_hurts_parsers_is_a_short_sentence(value: str) -> None:
    with pytest.raises(ConfigError, match=r"camera\.fps is") as caught:
        load(None, [f"camera.fps={value}"])
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("path", ["x" * 5000, "/" + "x/" * 3000])
def test_a_path_that_no_file_can_have_is_a_short_sentence(path: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read: File name too long") as caught:
        load(Path(path))
    assert len(str(caught.value)) < 400


def test_settings_of_the_command_line_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[camera]\nfps = 10\ndriver = 'pattern'\n")
    config = load(file, ["camera.fps=25", "camera.name=front", "accelerator.standin.threads=3"])
    assert (config.camera.fps, config.camera.name, config.camera.driver) == (25.0, "front", "pattern")
    assert config.accelerator.options["standin"].threads == 3


@pytest.mark.parametrize("setting", ["camera.fps", "=3", "camera.fsp=3"])
def test_a_wrong_setting_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"key=value|did you mean"):
        load(None, [setting])


def test_every_default_is_within_its_own_range() -> None:
    config = load(None)
    raw = {}
    for section in attrs.fields(Config):
        table = attrs.asdict(getattr(config, section.name), recurse=False)
        options = table.pop("options", None)
        if options is not None:
            table.update({name: attrs.asdict(value) for name, value in options.items()})
        raw[section.name] = table
    assert from_dict(raw, "defaults") == config
    endpoints.check(config.publish)


def test_configuration_md_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert page == config_doc.render(), "run: make docs"


def test_every_key_says_what_it_means() -> None:
    page = config_doc.render()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 25
    assert all(len(row.split(" | ")[-1].rstrip(" |")) > 10 for row in rows)


def test_the_shipped_configuration_is_good() -> None:
    file = ROOT / "systemd" / "gnetsegd.toml"
    done = subprocess.run(
        [sys.executable, "-m", "gnetsegd", "check-config", "--no-load", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "good" in done.stdout

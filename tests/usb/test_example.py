"""docs/accelerators.md: its example runs as it stands there, its sentences are those of the code."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zmq

from gnetsegd.accelerators.standin import StandinOptions
from gnetsegd.accelerators.usb import UsbOptions
from gnetsegd.message import parse_header, unpack_mask

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "accelerators.md").read_text("utf-8")
EXAMPLE = ROOT / "examples" / "accelerator"


def install(target: Path, work: Path) -> None:
    """As ``pip install --target`` does it; by setuptools alone where that cannot build wheels."""
    setuptools = pytest.importorskip("setuptools")
    # Building leaves its traces beside the sources.
    shutil.copytree(EXAMPLE, work)
    if int(setuptools.__version__.split(".")[0]) > 70 or importlib.util.find_spec("wheel"):
        command = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        command += ["--disable-pip-version-check", "--target", str(target), "."]
    else:
        target.mkdir()
        command = ["-c", "import setuptools; setuptools.setup()", "--quiet"]
        command += ["build_py", "--build-lib", str(target), "egg_info", "--egg-base", str(target)]
    subprocess.run([sys.executable, *command], cwd=work, check=True, timeout=60)


def test_the_example_is_installed_and_the_daemon_runs_with_it(tmp_path: Path, ipc_endpoint: str) -> None:
    target = tmp_path / "installed"
    install(target, tmp_path / "source")
    settings = [
        f'publish.endpoints=["{ipc_endpoint}"]', "publish.frames=true", "camera.driver=pattern",
        f"model.bundle={ROOT / 'tests' / 'data' / 'models' / 'threshold-32'}",
        "accelerator.driver=example", "accelerator.example.threshold=100",
    ]  # fmt: skip
    command = [sys.executable, "-m", "gnetsegd", "run"]
    for setting in settings:
        command += ["--set", setting]
    paths = os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH", "")]))
    environment = dict(os.environ, PYTHONPATH=paths)
    environment.pop("NOTIFY_SOCKET", None)
    context = zmq.Context()
    reader = context.socket(zmq.SUB)
    reader.setsockopt(zmq.SUBSCRIBE, b"")
    reader.connect(ipc_endpoint)
    daemon = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    masks: dict[int, bytes] = {}
    pictures: dict[int, bytes] = {}
    try:
        while len(masks.keys() & pictures.keys()) < 3:
            assert reader.poll(15_000), "no mask came"
            message = reader.recv()
            if message[:5] not in (b"mask/", b"frame"):
                continue
            header = parse_header(message)
            if header.kind == "mask":
                assert (header.backend, header.fallback) == ("example", False)
            (masks if header.kind == "mask" else pictures)[header.sequence] = message
    finally:
        daemon.terminate()
        words = daemon.communicate(timeout=10)[1]
        context.destroy(linger=0)
    assert daemon.returncode == 0, words
    for number in masks.keys() & pictures.keys():
        header = parse_header(masks[number])
        labels = unpack_mask(masks[number][header.payload_offset :], header.format)
        luminance = np.frombuffer(pictures[number], np.uint8, offset=header.payload_offset).reshape(32, 32)
        assert (labels == (luminance >= 100)).all()


def test_each_sentence_of_the_diagnostics_is_said_by_the_code() -> None:
    rows = re.findall(r"^\|[^|]*\| `([^`]+)` \|.*\|.*\|$", PAGE.partition("## Diagnostics")[2], re.MULTILINE)
    assert len(rows) >= 20
    files = [*(ROOT / "gnetsegd" / "accelerators").glob("*.py"), *(ROOT / "gnetsegd" / "link").glob("*.py")]
    code = "".join(file.read_text("utf-8") for file in files)
    # Literals that go on in the next line are one sentence.
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    assert [sentence for sentence in rows if sentence not in code] == []


@pytest.mark.parametrize(("table", "options"), [("usb", UsbOptions()), ("standin", StandinOptions())])
def test_the_options_that_the_page_shows_are_there(table: str, options: object) -> None:
    block = PAGE.partition(f"[accelerator.{table}]")[2].partition("```")[0]
    keys = re.findall(r"^(\w+) = ", block, re.MULTILINE)
    assert keys
    for key in keys:
        assert hasattr(options, key)

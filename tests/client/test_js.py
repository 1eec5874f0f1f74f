"""The JavaScript module: it reads what is sent, refuses what is not, and stops a robot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_publisher import FakeDaemon, person
from test_examples import EXAMPLES, NODE, ROOT, VECTORS

JS = ROOT / "js"
LIMIT_S = 60

pytestmark = pytest.mark.skipif(
    not (NODE and (EXAMPLES / "node_modules" / "zeromq").exists()),
    reason="needs node, and zeromq in examples/node_modules (npm install zeromq)",
)

READ = """
import {readFileSync} from "node:fs"
import {parseHeader, parseJson, unpack} from "gnetseg/message"
for (const line of readFileSync(0, "latin1").split("\\n").slice(0, -1)) {
  const message = Buffer.from(line, "hex")
  const header = parseHeader(message), body = parseJson(message)
  if (!header) console.log(body ? JSON.stringify(body) : "none")
  else {
    const {sequence, width, height, fallback, backend} = header
    console.log(`${sequence} ${width}x${height} ${fallback} ${backend} ${unpack(message, header)}`)
  }
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of somebody's that has the module, and zeromq."""
    folder = tmp_path_factory.mktemp("js")
    modules = folder / "node_modules"
    modules.mkdir()
    for installed in (EXAMPLES / "node_modules").iterdir():
        (modules / installed.name).symlink_to(installed)
    shutil.copytree(JS, modules / "gnetseg")
    (folder / "read.mjs").write_text(READ, "utf-8")
    shutil.copy(JS / "examples" / "stop_zone.mjs", folder)
    return folder


def read(folder: Path, messages: list[str]) -> list[str]:
    done = subprocess.run(
        [str(NODE), "read.mjs"], input="\n".join(messages) + "\n", cwd=folder, capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def golden() -> list[tuple[str, str, Any]]:
    """(name, message in hex, what it is) of all messages: text of a mask, a table, or None to be refused."""
    found: list[tuple[str, str, Any]] = []
    for path in sorted(VECTORS.glob("*.json")):
        meaning = json.loads(path.read_text("utf-8"))
        says: Any = None
        if meaning["kind"] == "mask":
            header = meaning["header"]
            labels = ",".join(str(label) for row in meaning["labels"] for label in row)
            size, fallback = f"{header['width']}x{header['height']}", str(header["fallback"]).lower()
            says = f"{header['sequence']} {size} {fallback} {header['backend']} {labels}"
        elif meaning["kind"] in ("info", "status"):
            says = meaning["body"]
        found.append((path.stem, "".join(path.with_suffix(".hex").read_text("ascii").split()), says))
    return found


def test_it_agrees_with_every_golden_message_and_refuses_what_is_to_be_refused(folder: Path) -> None:
    vectors = golden()
    assert sum(says is None for _, _, says in vectors) > 20
    for (name, _, says), line in zip(vectors, read(folder, [hex_ for _, hex_, _ in vectors]), strict=True):
        if isinstance(says, dict):
            # Beyond 2**53 a time loses some nanoseconds.
            assert line != "none", name
            assert json.loads(line).keys() == says.keys(), name
        else:
            assert line == (says or "none"), name


def test_damaged_messages_hurt_nothing(folder: Path) -> None:
    random = np.random.default_rng(1)
    messages = []
    for _, message, _ in golden():
        for _ in range(20):
            damaged = bytearray.fromhex(message)
            for place in random.integers(0, max(1, len(damaged)), 3):
                if damaged:
                    damaged[place] = random.integers(256)
            cut = random.integers(len(damaged) + 1) if random.random() < 0.3 else len(damaged)
            messages.append(bytes(damaged[:cut]).hex())
    assert len(read(folder, messages)) == len(messages)


def test_a_robot_stops_for_a_person_and_for_silence_and_goes_when_the_way_is_clear(
    folder: Path, ipc_endpoint: str
) -> None:
    clear = np.zeros((48, 64), np.uint8)
    daemon = FakeDaemon(ipc_endpoint, labels=clear)
    robot: Any = subprocess.Popen(
        [str(NODE), "stop_zone.mjs", ipc_endpoint, "60"], cwd=folder, env=dict(os.environ),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = threading.Timer(LIMIT_S, robot.kill)
    limit.start()

    def says(words: str) -> None:
        # A mask, info and status come each by its own way: what is missing meanwhile is said, too.
        line = robot.stdout.readline()
        while line.startswith(("STOP: the daemon runs, and no mask", "STOP: the daemon's info")):
            line = robot.stdout.readline()
        assert line.startswith(words)

    try:
        says("STOP: no daemon has answered yet")
        daemon.start()
        says("GO: the way is clear")
        daemon._labels = person(64, 48)
        says("STOP: somebody is in the way")
        daemon._labels = clear
        says("GO: the way is clear")
        daemon._status.update(state="no-camera", reason="it was pulled")
        says("STOP: it was pulled")
        daemon._status.clear()
        says("GO: the way is clear")
        daemon.stop()
        says("STOP: the newest mask's picture is")
    finally:
        limit.cancel()
        robot.kill()
        _, errors = robot.communicate()
    assert errors == ""


@pytest.mark.parametrize(
    "code",
    [
        'new Zone([[0, 0], [1, 1]])', 'new Zone([[0, 0], [1, NaN], [1, 1]])', 'Zone.box(0.5, 0, 0.5, 1)',
        'new Zone("box")', 'new MaskSubscriber("ipc:///tmp/x", "Camera 1")',
    ],
)  # fmt: skip
def test_what_can_be_no_zone_or_camera_is_refused(folder: Path, code: str) -> None:
    imports = 'import {MaskSubscriber, Zone} from "gnetseg"'
    script = f"{imports}\ntry {{ {code} }} catch (e) {{ console.log(e.name) }}"
    done = subprocess.run(
        [str(NODE), "--input-type=module", "--eval", script], cwd=folder, capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.stdout == "RangeError\n", done.stderr

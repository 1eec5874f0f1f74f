"""The fuzzer runs, finds nothing in what is here, and can be seen to find a bug."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tools" / "fuzz" / "run.py"
CHILD = ROOT / "tools" / "fuzz" / "child.py"


def test_a_short_run_tries_every_target_and_finds_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), "--seconds", "2", "--no-atheris", "--json"],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["crashes"], result["hangs"]) == (0, 0)
    assert {target["name"] for target in result["targets"]} == {"codec", "engine", "usbip", "engine-machine"}
    assert all(target["inputs"] > 0 for target in result["targets"])


@pytest.mark.parametrize(("how", "name"), [("random", "engine"), ("machine", "engine-machine")])
def test_an_engine_that_forgets_to_end_an_epoch_is_found_out(tmp_path: Path, how: str, name: str) -> None:
    broken = (
        "import runpy, sys; sys.path[:0] = sys.argv[1:3]; del sys.argv[1:3]\n"
        "from gnetseg_device.engine import Engine\n"
        "def abort(self, epoch): self._status.epoch = epoch; self._parser.restart(epoch)\n"
        "Engine._abort = abort\n"
        "sys.argv.insert(0, 'child.py'); runpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            broken,
            str(ROOT),
            str(ROOT / "firmware"),
            str(CHILD),
            how,
            name,
            "20",
            "1",
            ".",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(CHILD.parent)},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode != 0
    assert "AssertionError" in done.stderr

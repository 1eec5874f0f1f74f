"""The fuzzer runs, finds nothing in what is here, and can be seen to find a bug."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FUZZ = ROOT / "tools" / "fuzz"


def test_a_short_run_finds_nothing_and_ends_with_its_figures() -> None:
    targets = ["--target", "engine", "--target", "engine-machine"]
    done = subprocess.run(
        [sys.executable, str(FUZZ / "run.py"), "--seconds", "1", "--no-atheris", "--json", *targets],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["crashes"], result["hangs"]) == (0, 0)
    assert {target["name"] for target in result["targets"]} == {"engine", "engine-machine"}
    assert all(target["inputs"] > 0 for target in result["targets"])


def test_an_engine_that_forgets_to_end_an_epoch_is_found_out(tmp_path: Path) -> None:
    broken = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'firmware'), str(FUZZ)]}\n"
        "import child\n"
        "from gnetseg_device.engine import Engine\n"
        "def abort(self, epoch): self._status.epoch = epoch; self._parser.restart(epoch)\n"
        "Engine._abort = abort\n"
        "child.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", broken, "random", "engine", "20", "1", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode != 0
    assert "AssertionError" in done.stderr

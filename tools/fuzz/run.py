"""Fuzz the USB link: its codec, the device's engine, USB/IP, and the host driver's reader.

    .venv/bin/python tools/fuzz/run.py --seconds 60 --json

Targets of bytes run under atheris (coverage-guided, PyPI), in a virtual environment of its own:
``--python`` names its interpreter, by default ``.venv-fuzz/bin/python``, which is made if it is not
there. Where atheris cannot be had, the same targets get random mutations of their seeds, and one
sentence says so. State machines run under hypothesis. Each runs in a process of its own for its
share of the time; a bug's input stays in the folder that is printed.

The last line is one JSON object: inputs tried, crashes, hangs, in all and by target. The exit
status is 1 if there was a crash or a hang.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VENV = ROOT / ".venv-fuzz"
PACKAGES = ["atheris>=3.0", "numpy<2", "attrs", "cattrs", "click", "hypothesis", "pyusb"]
#: Start-up of a process, with instrumentation, that is not counted as its time; in seconds.
GRACE_S = 60
COUNTS = ("inputs", "crashes", "hangs")


@dataclass
class Outcome:
    """What became of one target."""

    name: str
    how: str
    inputs: int
    crashes: int
    hangs: int
    seconds: float


def names(file: str, variable: str) -> list[str]:
    """The keys of a dictionary in a file, without importing it: it may need another interpreter."""
    for node in ast.parse((HERE / file).read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == variable:
            assert isinstance(node.value, ast.Dict)
            return [str(ast.literal_eval(key)) for key in node.value.keys if key]
    raise AssertionError(f"{variable} is not in {file}")


def quiet(command: list[str]) -> bool:
    """Run a command without a word; whether it succeeded."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def has(python: str, module: str) -> bool:
    """Whether an interpreter can import a module."""
    try:
        return (
            subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False


def atheris_python(given: str | None) -> str | None:
    """An interpreter with atheris, made if need be; None, and a sentence, if it cannot be had."""
    for python in filter(None, [given, sys.executable, str(VENV / "bin" / "python")]):
        if has(python, "atheris"):
            return python
    if given is None:
        print(f"making {VENV.name} for atheris ...", flush=True)
        own = str(VENV / "bin" / "python")
        install = [own, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *PACKAGES]
        if quiet([sys.executable, "-m", "venv", str(VENV)]) and quiet(install):
            return own
    print(
        "atheris cannot be had for this interpreter (see its wheels on PyPI): its targets get random "
        "mutations of their seeds, without coverage, instead"
    )
    return None


def run(how: str, name: str, python: str, seconds: float, seed: int, folder: Path) -> Outcome:
    """One target in a process of its own."""
    place = folder / name
    place.mkdir()
    begun = time.monotonic()
    command = [python, str(HERE / "child.py"), how, name, str(seconds), str(seed), str(place)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds + GRACE_S, check=False
        )
        output, status = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired as error:
        output, status = f"{error.stdout!r} {error.stderr!r}\nTimeout", -1
    counts = re.findall(r"(?:inputs|stat::number_of_executed_units:) (\d+)", output)
    hang = "Timeout" in output or "libFuzzer: timeout" in output
    crashed = status != 0 and not hang
    if status or not counts:
        (place / "output").write_text(output, "utf-8")
        print(f"{name}: {'hangs' if hang else 'crashes'}, see {place}\n{output[-3000:]}", flush=True)
    return Outcome(
        name, how, int(counts[-1]) if counts else 0,
        crashes=int(crashed or (not counts and not hang)), hangs=int(hang),
        seconds=round(time.monotonic() - begun, 1),
    )  # fmt: skip


def main() -> int:
    targets, machines = names("targets.py", "TARGETS"), names("machines.py", "MACHINES")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default 1)")
    parser.add_argument("--target", action="append", choices=targets + machines, help="only this one; again")
    parser.add_argument("--python", help="an interpreter that has atheris")
    parser.add_argument("--no-atheris", action="store_true", help="random mutations only")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object, unless it fails")
    arguments = parser.parse_args()
    chosen = arguments.target or targets + machines
    python = None
    if not arguments.no_atheris and set(chosen) & set(targets):
        python = atheris_python(arguments.python)
    # One line of plain parsing needs less time than the engine.
    weights = {name: 1 if name == "usbip" else 4 for name in chosen}
    folder = Path(tempfile.mkdtemp(prefix="gnetseg-fuzz-"))
    outcomes = []
    for name in chosen:
        share = arguments.seconds * weights[name] / sum(weights.values())
        how = "machine" if name in machines else "atheris" if python else "random"
        interpreter = python if how == "atheris" and python else sys.executable
        outcomes.append(run(how, name, interpreter, share, arguments.seed, folder))
        if not arguments.json:
            last = outcomes[-1]
            print(
                f"{last.name} ({last.how}): {last.inputs} inputs, {last.crashes} crashes, {last.hangs} hangs"
            )
    total = {key: sum(getattr(one, key) for one in outcomes) for key in COUNTS}
    details = [asdict(outcome) for outcome in outcomes]
    print(json.dumps({**total, "coverage_guided": python is not None, "targets": details}))
    failed = bool(total["crashes"] or total["hangs"])
    if not failed:
        shutil.rmtree(folder, ignore_errors=True)  # else it holds what failed
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

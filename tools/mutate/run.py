"""How much the tests notice: single lines are changed, and the tests must go red.

Mutations are drawn from a seed, some of each module; each is made in a copy of the tree and tried
against its room's own tests, and where those stay green, against the whole suite. A run that does not end
within its limit counts as red. Results are kept in a file of JSON lines, so that it goes on where it was
ended, and does not try again what was tried on the same version of the file.

    .venv/bin/python tools/mutate/run.py --list               what would be tried
    .venv/bin/python tools/mutate/run.py                      hours: go on until all have been tried
    .venv/bin/python tools/mutate/run.py --only road/health   those whose name has this in it
    .venv/bin/python tools/mutate/run.py --again              the survivors once more, after mending tests
    .venv/bin/python tools/mutate/run.py --report             how many were killed, and who survived
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from mutations import Mutation, choose, mutations

ROOT = Path(__file__).parents[2]
STATE = ROOT / "build" / "mutate" / "results.jsonl"

#: Which tests are a room's own; the first entry that a path begins with.
ROOMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("gnetsegd/road/", ("tests/road",)),
    ("gnetsegd/process/", ("tests/daemon",)),
    ("gnetsegd/cli.py", ("tests/daemon",)),
    ("gnetsegd/accelerators/usb", ("tests/usb",)),
    ("gnetsegd/accelerators/auto", ("tests/accelerators", "tests/usb")),
    ("gnetsegd/accelerators/", ("tests/accelerators",)),
    ("gnetsegd/cameras/", ("tests/cameras",)),
    ("gnetsegd/link/", ("tests/link", "tests/usb")),
    ("gnetsegd/client/", ("tests/client",)),
    ("gnetsegd/ctl/", ("tests/client",)),
    ("gnetsegd/message.py", ("tests/test_message.py", "tests/client")),
    ("gnetsegd/model.py", ("tests/test_model.py",)),
    ("gnetsegd/config.py", ("tests/test_config.py",)),
    ("gnetsegd/plugins.py", ("tests/test_config.py", "tests/daemon")),
    ("gnetsegd/", ("tests/road", "tests/test_message.py", "tests/cameras")),
    ("firmware/gnetseg_conform/", ("tests/conform",)),
    ("firmware/", ("tests/device", "tests/link")),
)
#: Not the daemon: fakes, and pages that are written from the code.
LEFT_OUT = ("gnetsegd/testing/", "gnetsegd/config_doc.py", "gnetsegd/__main__.py")
WHOLE = ("tests",)

#: Of each module's mutations: one for so many, at least and at most these.
ONE_OF, LEAST, MOST = 30, 1, 4
#: A run may take so many times as long as without a mutation, and so much at least, in s.
LIMIT_TIMES, LIMIT_LEAST_S = 3.0, 60.0
BASELINE_LIMIT_S = 1200.0


def room_tests(path: str) -> tuple[str, ...]:
    """The tests of a module's room."""
    return next(tests for prefix, tests in ROOMS if path.startswith(prefix))


def drawn(seed: int, only: Sequence[str]) -> list[Mutation]:
    """The mutations of this tree and this seed. One module's do not depend on another's."""
    listed = subprocess.run(
        ["git", "ls-files", "gnetsegd/*.py", "firmware/*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[Mutation] = []
    for path in sorted(listed.stdout.split()):
        if path.startswith(LEFT_OUT) or not (ROOT / path).is_file():
            continue
        possible = mutations(path, (ROOT / path).read_bytes())
        count = min(MOST, max(LEAST, len(possible) // ONE_OF))
        found += choose(possible, count, f"{seed} {path}")
    return [mutation for mutation in found if not only or any(part in mutation.name for part in only)]


class Results:
    """What came of each mutation: a file of JSON lines, the newest line counts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        if file.exists():
            for line in file.read_text().splitlines():
                with contextlib.suppress(json.JSONDecodeError):  # the last line of a run that was killed
                    self._keep(json.loads(line))

    def _keep(self, result: dict[str, Any]) -> None:
        self._known[result["name"], result["digest"]] = result

    def of(self, mutation: Mutation) -> dict[str, Any] | None:
        return self._known.get((mutation.name, mutation.digest))

    def add(self, mutation: Mutation, outcome: str, by: str, seconds: float) -> None:
        """``outcome``: killed or survived; ``by``: which tests, or that they hung."""
        result = {
            "name": mutation.name, **dataclasses.asdict(mutation),
            "outcome": outcome, "by": by, "seconds": round(seconds, 1),
        }  # fmt: skip
        with self._lock:
            self._keep(result)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as out:
                out.write(json.dumps(result) + "\n")


class NotGreen(Exception):
    """Tests fail without any mutation: they can tell nothing."""


class Copy:
    """A copy of the tracked files, in which mutations are made and tests run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for path in filter(None, listed.stdout.split("\0")):
            if (ROOT / path).is_file() or (ROOT / path).is_symlink():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, folder / path, follow_symlinks=False)
        self._limits: dict[tuple[str, ...], float] = {}

    @contextlib.contextmanager
    def with_mutation(self, mutation: Mutation) -> Iterator[None]:
        file = self.folder / mutation.path
        before = file.read_bytes()
        file.write_bytes(mutation.apply(before))
        try:
            yield
        finally:
            file.write_bytes(before)

    def test(self, tests: tuple[str, ...], limit_s: float) -> tuple[str, float]:
        """(``green``, ``red`` or ``hung``, seconds)."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(self.folder / part) for part in ("", "tools", "firmware")),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        began = time.monotonic()
        with (self.folder / "pytest.log").open("w") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                code = process.wait(limit_s)
                outcome = "green" if code == 0 else "red"
            except subprocess.TimeoutExpired:
                outcome = "hung"
            finally:
                # What the tests started ends with them: it is all in the session's own process group.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return outcome, time.monotonic() - began

    def limit_s(self, tests: tuple[str, ...]) -> float:
        """How long these tests may take. ``NotGreen`` if they fail without any mutation."""
        if tests not in self._limits:
            outcome, seconds = self.test(tests, BASELINE_LIMIT_S)
            self._limits[tests] = max(LIMIT_LEAST_S, LIMIT_TIMES * seconds) if outcome == "green" else 0.0
            if outcome != "green":
                words = (self.folder / "pytest.log").read_text()[-3000:]
                print(f"{' '.join(tests)}: {outcome} without a mutation:\n{words}", flush=True)
        if not self._limits[tests]:
            raise NotGreen(f"{' '.join(tests)} fail without a mutation")
        return self._limits[tests]

    def try_out(self, mutation: Mutation, whole: bool) -> tuple[str, str, float]:
        """(outcome, by, seconds): the room's tests first; with ``whole`` the suite where they stay green."""
        own = room_tests(mutation.path)
        total_s = 0.0
        for tests in (own, WHOLE) if whole else (own,):
            limit_s = self.limit_s(tests)
            with self.with_mutation(mutation):
                outcome, seconds = self.test(tests, limit_s)
            total_s += seconds
            if outcome != "green":
                where = "the whole suite" if tests == WHOLE else " ".join(tests)
                return "killed", f"{where} {'hung' if outcome == 'hung' else 'went red'}", total_s
        return "survived", "", total_s


def run(wanted: list[Mutation], results: Results, jobs: int, whole: bool) -> None:
    """Try all of ``wanted``, ``jobs`` side by side, each in its own copy."""
    with tempfile.TemporaryDirectory(prefix="gnetsegd-mutate") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(jobs):
            place = Path(folder) / str(number)
            place.mkdir()
            copies.put(Copy(place))

        def one(mutation: Mutation) -> None:
            copy = copies.get()
            try:
                outcome, by, seconds = copy.try_out(mutation, whole)
            except NotGreen as error:
                print(f"not tried            {describe(mutation)}  {error}", flush=True)
                return
            finally:
                copies.put(copy)
            results.add(mutation, outcome, by, seconds)
            print(f"{outcome:9} {seconds:6.1f} s  {describe(mutation)}  {by}", flush=True)

        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(one, wanted):
                pass


def describe(mutation: Mutation) -> str:
    return f"{mutation.path}:{mutation.line} {mutation.kind}: `{mutation.before}` -> `{mutation.after}`"


def report(wanted: list[Mutation], results: Results) -> None:
    """Killed in per cent, by room, and the survivors."""
    known = [(mutation, result) for mutation in wanted if (result := results.of(mutation))]
    rooms: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    for mutation, result in known:
        room = str(Path(mutation.path).parent)
        rooms[room] += 1
        killed[room] += result["outcome"] == "killed"
    for room in sorted(rooms):
        print(f"{room:30} {killed[room]:4} of {rooms[room]:4} killed")
    for mutation, result in known:
        if result["outcome"] == "survived":
            print(f"survived  {describe(mutation)}")
    modules = len({mutation.path for mutation, _ in known})
    share = killed.total() / max(1, rooms.total())
    print(
        f"{killed.total()} of {rooms.total()} mutations of {modules} modules killed: {share:.1%}; "
        f"{len(wanted) - len(known)} not tried yet"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", action="append", default=[], metavar="PART", help="of a name: path:line:column:kind"
    )
    parser.add_argument("--limit", type=int, default=None, help="try at most so many this time")
    parser.add_argument("--jobs", type=int, default=1, help="side by side (default: 1)")
    parser.add_argument("--again", action="store_true", help="try the survivors once more")
    parser.add_argument(
        "--room-only", action="store_true", help="no whole suite: survivors of the room's tests"
    )
    parser.add_argument("--state", type=Path, default=STATE, help=f"default: {STATE.relative_to(ROOT)}")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true")
    what.add_argument("--report", action="store_true")
    options = parser.parse_args()
    wanted, results = drawn(options.seed, options.only), Results(options.state)
    if options.list:
        for mutation in wanted:
            print(describe(mutation))
        print(f"{len(wanted)} mutations of {len({mutation.path for mutation in wanted})} modules")
        return
    if not options.report:
        os.nice(19)

        def is_due(mutation: Mutation) -> bool:
            result = results.of(mutation)
            return result is None or (options.again and result["outcome"] == "survived")

        due = [mutation for mutation in wanted if is_due(mutation)][: options.limit]
        run(due, results, options.jobs, not options.room_only)
    report(wanted, results)


if __name__ == "__main__":
    main()

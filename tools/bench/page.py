"""Run benchmarks and write what they print into docs/performance.md.

    .venv/bin/python tools/bench/page.py                    every one that the README's promises name
    .venv/bin/python tools/bench/page.py link presence      these alone; the others' sections stay
    .venv/bin/python tools/bench/page.py --list

Some need root, a network or minutes, as the top of each says. One that fails leaves its section as it was.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "performance.md"
#: What is between is written by this program.
BEGIN, END = "<!-- begin: tools/bench/page.py -->", "<!-- end: tools/bench/page.py -->"
#: Longer values are told by their number alone.
VALUE_MAX_CHARACTERS = 300
LINE_CHARACTERS = 118
LIMIT_S = 3600


class Bench(NamedTuple):
    """``command``: as the README has it. ``promise``: what it shows."""

    name: str
    command: str
    promise: str


def benches(readme: str) -> list[Bench]:
    """Those of the README's table of promises, in its order."""
    found = []
    for promise, shown in re.findall(r"^\| (.+?) \| (.+) \|$", readme, re.M):
        for command, name in re.findall(r"`(tools/bench/(\w+)\.py --json)`", shown):
            found.append(Bench(name, command, promise))
    return found


def shortened(result: dict[str, object]) -> str:
    """JSON in lines of some ``LINE_CHARACTERS``; of a long value only how many there are."""
    lines = [""]
    for number, (key, value) in enumerate(result.items(), 1):
        if isinstance(value, dict | list) and len(json.dumps(value)) > VALUE_MAX_CHARACTERS:
            value = f"{len(value)} of them"
        part = f"{json.dumps(key)}: {json.dumps(value)}" + ("," if number < len(result) else "")
        if lines[-1] and len(lines[-1]) + len(part) > LINE_CHARACTERS:
            lines.append("")
        lines[-1] += f" {part}" if lines[-1] else part
    return "{" + "\n ".join(lines) + "}"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return os.uname().machine


def section(bench: Bench, result: dict[str, object], when: str, where: str) -> str:
    return (
        f"### {bench.name}: {bench.promise}\n\n"
        f"    .venv/bin/python {bench.command}\n\n"
        f"{when}, {where}:\n\n```json\n{shortened(result)}\n```\n"
    )


def sections(page: str) -> dict[str, str]:
    """What the page has so far, by the name of the bench."""
    _, _, rest = page.partition(BEGIN)
    parts = re.split(r"^(?=### )", rest.partition(END)[0], flags=re.M)
    names = [re.search(r"tools/bench/(\w+)\.py", part) for part in parts]
    return {name[1]: part.strip() + "\n" for name, part in zip(names, parts, strict=True) if name}


def written(page: str, known: dict[str, str], order: list[str]) -> str:
    """The page with these sections."""
    before, _, rest = page.partition(BEGIN)
    parts = "\n".join(known[name] for name in order if name in known)
    return f"{before}{BEGIN}\n\n{parts}\n{END}{rest.partition(END)[2]}"


def measure(bench: Bench) -> dict[str, object] | None:
    """Its JSON object; None where it fails, or what it shows does not hold."""
    done = subprocess.run(
        [sys.executable, *bench.command.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=False,
        timeout=LIMIT_S,
    )
    try:
        result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return result if done.returncode == 0 else None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of tools/bench, without .py")
    parser.add_argument("--list", action="store_true", help="name those that there are, and end")
    given = parser.parse_args()
    all_of_them = benches(README.read_text("utf-8"))
    known = {bench.name for bench in all_of_them}
    if unknown := set(given.names) - known:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    if given.list:
        print("\n".join(f"{bench.name:12} {bench.promise}" for bench in all_of_them))
        return 0
    where = f"{os.cpu_count()} cores, {processor()}"
    failed = []
    for bench in all_of_them:
        if given.names and bench.name not in given.names:
            continue
        print(f"{bench.name} ...", file=sys.stderr, flush=True)
        result = measure(bench)
        if result is None:
            failed.append(bench.name)
            continue
        page = PAGE.read_text("utf-8")
        found = sections(page) | {bench.name: section(bench, result, time.strftime("%Y-%m-%d"), where)}
        PAGE.write_text(written(page, found, [each.name for each in all_of_them]), "utf-8")
    if failed:
        print(f"failed, or does not hold here: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

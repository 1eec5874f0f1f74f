"""Write into each bundle's ``model.toml`` which TFLite runtime is cheaper for it on a Pi.

    .venv/bin/python tools/bench/inference.py --json > build/inference.json
    python tools/bench/runtime_keys.py build/inference.json

To be run after a network was exported anew: an export knows no costs. The last line of the file is what
``inference.py`` printed. A bundle whose networks cost the same, but for a few per cent, has no such key.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from gnetsegd.files import write_whole
from gnetsegd.model import RUNTIMES, SHIPPED

#: Of what LiteRT takes: less is no reason to leave it.
GAIN_MIN = 0.03
LITERT, OTHER = RUNTIMES
MACHINE = "aarch64"

_TABLE = re.compile(r"(?m)(?:^# Of an emulated .*\n)?^\[runtime\]\n(?:(?!\[|# ).*\n)*")
_NEXT = re.compile(r"(?m)^\[data\]$")


def with_key(text: str, instructions: Mapping[str, float | None]) -> str:
    """``text`` of a ``model.toml`` with what ``instructions``, by runtime, say of ``MACHINE``.

    What its ``[runtime]`` says of other machines stays. Where one of the two was not measured, all stays.
    """
    litert, other = instructions.get(LITERT), instructions.get(OTHER)
    if litert is None or other is None:
        return text
    keys = {k: v for k, v in tomllib.loads(text).get("runtime", {}).items() if k != MACHINE}
    words = ""
    if other < (1 - GAIN_MIN) * litert:
        keys[MACHINE] = OTHER
        words = (
            f"# Of an emulated Cortex-A53: {other / 1e6:.1f} against {litert / 1e6:.1f} million instructions "
            "under LiteRT (tools/bench/inference.py).\n"
        )
    text = _TABLE.sub("", text)
    if not keys:
        return text
    table = words + "[runtime]\n" + "".join(f'{k} = "{v}"\n' for k, v in sorted(keys.items())) + "\n"
    found = _NEXT.search(text)
    if found is None:
        return text.rstrip("\n") + "\n\n" + table.rstrip("\n") + "\n"
    return text[: found.start()] + table + text[found.start() :]


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measured", type=Path, help="what inference.py printed")
    measured = json.loads(parser.parse_args().measured.read_text("utf-8").strip().splitlines()[-1])
    for name, figures in measured["bundles"].items():
        file = SHIPPED / name / "model.toml"
        old = file.read_text("utf-8")
        new = with_key(old, figures["a53_instructions"])
        if new != old:
            write_whole(file, new.encode())
            print(f"{name}: {tomllib.loads(new).get('runtime', 'LiteRT')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

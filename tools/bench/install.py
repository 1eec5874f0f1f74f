"""From one command to the first mask, in a booted Debian root without a network (``make deb`` comes before).

The packages and what they need lie in apt's cache: seconds are those of installing, starting and the first
mask, not of a network. Bytes are of our packages and of what they need, not of what they recommend, over a
minimal system.

    .venv/bin/python tools/bench/install.py --json
    .venv/bin/python tools/bench/install.py --suite bookworm
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "deb"))
from booted import INSTALL, SUITES, Root
from harness import finish


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--suite", choices=SUITES, default=SUITES[-1])
    options = parser.parse_args()
    root = Root(options.suite)
    try:
        code, log = root.run(INSTALL)
        if code:
            sys.exit(log[-4000:])
        finish({"bench": "install", "suite": options.suite, **root.result()}, options.json)
    finally:
        root.close()


if __name__ == "__main__":
    main()

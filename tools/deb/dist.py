"""The sdist and the wheel of this checkout: ``dist.py OUT``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import build_meta


def main() -> None:
    out = str(Path(sys.argv[1]).resolve())
    os.chdir(Path(__file__).parents[2])
    for build in (build_meta.build_sdist, build_meta.build_wheel):
        print(build(out))


if __name__ == "__main__":
    main()

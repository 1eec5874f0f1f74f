"""``make test-install``: the checks of tests/install in booted roots of both suites."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from booted import INSTALL, SUITES, TOP, Root, packages

CHECKS = (
    INSTALL
    + r"""
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-pytest
mkdir -p /tmp/checks && cp -r /host/install /tmp/checks/
cd /tmp/checks && python3 -m pytest -q -rA --tb=short -p no:cacheprovider WANTED install
"""
)
OLD_VERSION = "0.0.9"


def age(deb: Path, out: Path) -> None:
    """The same package with a lower version, to upgrade from."""
    tree = out / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", str(deb), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    text = control.read_text()
    (version,) = re.findall(r"^Version: (.*)$", text, re.M)
    control.write_text(text.replace(version, version.replace(version.partition("~")[0], OLD_VERSION)))
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(out)], check=True, stdout=-3)
    shutil.rmtree(tree)


def check(suite: str, wanted: str) -> tuple[int, int]:
    """(passed, failed); tells as it ends."""
    root = Root(suite)
    try:
        old = root.path / "srv" / "old"
        old.mkdir()
        for deb in root.debs:
            age(deb, old)
        more = root.path / "srv" / "more"
        more.mkdir()
        for deb in packages(suite, ("gnetseg-zenoh",)):
            shutil.copy(deb, more)
        shutil.copytree(
            TOP / "tests" / "install", root.host / "install", ignore=shutil.ignore_patterns("__pycache__")
        )
        code, log = root.run(CHECKS.replace("WANTED", f"-k '{wanted}'" if wanted else ""))
        (TOP / "build" / "deb" / f"test-install-{suite}.log").write_text(log)
        passed = len(re.findall(r"^PASSED ", log, re.M))
        failed = len(re.findall(r"^(?:FAILED|ERROR) ", log, re.M))
        if code and not failed:
            failed = 1
        print(log if failed else "\n".join(line for line in log.splitlines() if line.startswith("PASSED")))
        print(f"{suite}: {passed} passed, {failed} failed", flush=True)
        return passed, failed
    finally:
        root.close()


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    with ThreadPoolExecutor(len(SUITES)) as pool:
        results = list(pool.map(lambda suite: check(suite, wanted), SUITES))
    passed, failed = (sum(counts) for counts in zip(*results, strict=True))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()

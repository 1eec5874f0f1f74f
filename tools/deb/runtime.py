"""The part of LiteRT that our networks need, for a Debian suite: ``runtime.py SUITE ARCHITECTURE OUT``.

The wheel is fetched once, by its checksum, into ``build/deb/wheels``; ``FILES`` says what is taken of it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
WHEELS = HERE.parents[1] / "build" / "deb" / "wheels"
PACKAGE = "ai_edge_litert"
FILES = (
    "interpreter.py",
    "metrics_interface.py",
    "metrics_portable.py",
    "_pywrap_litert_interpreter_wrapper.so",
    "libpywrap_litert_common.so",
)


def find(suite: str, architecture: str) -> tuple[str, str]:
    """(SHA-256, name) of the wheel."""
    for line in (HERE / "wheels.txt").read_text("utf-8").splitlines():
        if line.split()[:2] == [suite, architecture]:
            _, _, digest, name = line.split()
            return digest, name
    sys.exit(f"runtime.py: wheels.txt knows none for {suite} {architecture}")


def fetch(digest: str, name: str) -> Path:
    """The wheel, whole and unchanged."""
    file = WHEELS / name
    if not file.exists():
        WHEELS.mkdir(parents=True, exist_ok=True)
        project, version, python, _, platform = name.removesuffix(".whl").split("-")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--python-version", f"{python[2]}.{python[3:]}"]
        command += ["--platform", platform, "--dest", str(WHEELS), f"{project.replace('_', '-')}=={version}"]
        subprocess.run(command, check=True)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != digest:
        sys.exit(f"runtime.py: {file} has the checksum {found}, expected was {digest}")
    return file


def take(wheel: Path, out: Path) -> None:
    """The files that are needed, and a record of the version, below ``out``."""
    shutil.rmtree(out, ignore_errors=True)
    package = out / PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    with zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            (package / name).write_bytes(archive.read(f"{PACKAGE}/{name}"))
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(metadata).decode().splitlines()
        head = [line for line in lines if line.startswith(("Metadata-Version:", "Name:", "Version:"))]
        record = out / metadata
        record.parent.mkdir()
        record.write_text("\n".join(head) + "\n", "utf-8")


def main() -> None:
    suite, architecture, out = sys.argv[1:]
    take(fetch(*find(suite, architecture)), Path(out))


if __name__ == "__main__":
    main()

"""What our packages carry, since Debian has none: ``carried.py WHAT SUITE ARCHITECTURE OUT``.

``runtime``: the part of LiteRT that our networks need; ``zenoh``: Zenoh's Python package. The wheel is
fetched once, by its checksum, into ``build/deb/wheels``; ``FILES`` says what is taken of it.
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
#: Each package's files, in its folder of the wheel.
FILES = {
    "runtime": (
        "ai_edge_litert",
        (
            "interpreter.py",
            "metrics_interface.py",
            "metrics_portable.py",
            "_pywrap_litert_interpreter_wrapper.so",
            "libpywrap_litert_common.so",
        ),
    ),
    "zenoh": ("zenoh", ("__init__.py", "ext.py", "shm.py", "zenoh.abi3.so")),
}


def find(what: str, suite: str, architecture: str) -> tuple[str, str]:
    """(SHA-256, name) of the wheel."""
    for line in (HERE / "wheels.txt").read_text("utf-8").splitlines():
        words = line.split()
        if words[:1] == [what] and words[1] in (suite, "any") and words[2] == architecture:
            return words[3], words[4]
    sys.exit(f"carried.py: wheels.txt knows no {what} for {suite} {architecture}")


def fetch(digest: str, name: str) -> Path:
    """The wheel, whole and unchanged."""
    file = WHEELS / name
    if not file.exists():
        WHEELS.mkdir(parents=True, exist_ok=True)
        project, version, python, _, platforms = name.removesuffix(".whl").split("-")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--python-version", f"{python[2]}.{python[3:]}"]
        command += ["--platform", platforms.partition(".")[0], "--dest", str(WHEELS)]
        subprocess.run([*command, f"{project.replace('_', '-')}=={version}"], check=True)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != digest:
        sys.exit(f"carried.py: {file} has the checksum {found}, expected was {digest}")
    return file


def take(what: str, wheel: Path, out: Path) -> None:
    """The files that are needed, and a record of the version, below ``out``."""
    folder, files = FILES[what]
    shutil.rmtree(out, ignore_errors=True)
    package = out / folder
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    with zipfile.ZipFile(wheel) as archive:
        for name in files:
            (package / name).write_bytes(archive.read(f"{folder}/{name}"))
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(metadata).decode().splitlines()
        head = [line for line in lines if line.startswith(("Metadata-Version:", "Name:", "Version:"))]
        record = out / metadata
        record.parent.mkdir()
        record.write_text("\n".join(head) + "\n", "utf-8")


def main() -> None:
    what, suite, architecture, out = sys.argv[1:]
    take(what, fetch(*find(what, suite, architecture)), Path(out))


if __name__ == "__main__":
    main()

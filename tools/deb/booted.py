"""A booted Debian root without a network, in which the built packages are installed.

systemd, cgroups and seccomp are real. Roots are made once for a suite and the packages that ours need, and
kept as a tar in ``build/deb/roots``. Needs root and systemd-nspawn.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOP = HERE.parents[1]
ROOTS = TOP / "build" / "deb" / "roots"
SUITES = ("bookworm", "trixie")
BASE = "systemd-sysv,dbus,udev,procps,kmod"
#: What a daemon on this machine needs; the board that is a device is another one.
OURS = ("gnetsegd", "python3-gnetsegd", "gnetseg-runtime")
#: Besides, for the checks.
FOR_CHECKS = ("python3-pytest",)
#: Of everything inside, in s.
LIMIT_S = 900
UNIT = """\
[Unit]
After=multi-user.target

[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh -c '/bin/bash /host/run; echo $? >/host/rc'
StandardOutput=file:/host/log
StandardError=file:/host/log
ExecStopPost=/bin/systemctl poweroff --no-block

[Install]
WantedBy=multi-user.target
"""


def packages(suite: str, names: tuple[str, ...] = OURS) -> list[Path]:
    """The built packages of a suite, for amd64."""
    found = []
    for name in names:
        (file,) = [
            file
            for file in (TOP / "build" / "deb" / suite).glob(f"{name}_*.deb")
            if not file.stem.endswith("_arm64")
        ]
        found.append(file)
    return found


def needs(debs: list[Path]) -> str:
    """What packages depend on, in words: the roots hang on it."""
    command = ["dpkg-deb", "--show", "--showformat=${Depends}\n"]
    return "\n".join(subprocess.check_output([*command, str(deb)], text=True) for deb in debs)


class Root:
    """An unpacked root, with the archives of what our packages need in apt's cache."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.debs = packages(suite)
        self.folder = Path(tempfile.mkdtemp(prefix="booted.", dir=TOP / "build" / "deb"))
        self.path, self.host = self.folder / "root", self.folder / "host"
        self.host.mkdir()
        text = f"{BASE} {FOR_CHECKS} {needs(self.debs)} {UNIT} {Path(__file__).read_text()}"
        tar = ROOTS / f"{suite}-install-{hashlib.sha256(text.encode()).hexdigest()[:16]}.tar"
        if not tar.exists():
            self._make(tar)
        else:
            self.path.mkdir()
            subprocess.run(["tar", "-xf", tar, "-C", self.path, "--numeric-owner"], check=True)
        shutil.rmtree(self.path / "srv", ignore_errors=True)
        (self.path / "srv").mkdir()
        for deb in self.debs:
            shutil.copy(deb, self.path / "srv")

    def _make(self, tar: Path) -> None:
        for old in ROOTS.glob(f"{self.suite}-install-*.tar"):
            old.unlink()
        subprocess.run([HERE / "root.sh", self.suite, "test", BASE, self.path], check=True)
        (self.path / "srv").mkdir(exist_ok=True)
        for deb in self.debs:
            shutil.copy(deb, self.path / "srv")
        install = "apt-get install --yes --quiet --download-only --no-install-recommends"
        names = " ".join(f"/srv/{deb.name}" for deb in self.debs)
        for packages_ in (names, f"{names} {' '.join(FOR_CHECKS)}"):
            command = f"apt-get update --quiet && {install} {packages_}"
            subprocess.run(
                ["chroot", self.path, "/bin/sh", "-ec", command], check=True, stdout=subprocess.DEVNULL
            )
        systemd = self.path / "etc/systemd/system"
        (systemd / "checks.service").write_text(UNIT)
        wants = systemd / "multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / "checks.service").symlink_to("../checks.service")
        (self.path / "host").mkdir()
        subprocess.run(["tar", "-cf", tar, "-C", self.path, "--numeric-owner", "."], check=True)

    def run(self, script: str) -> tuple[int, str]:
        """Boot, run a bash script, power off: its exit code and what it said."""
        (self.host / "run").write_text(script)
        subprocess.run(
            [
                "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--boot",
                f"--directory={self.path}", f"--bind={self.host}:/host", "--console=pipe",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=LIMIT_S, check=False,
        )  # fmt: skip
        code = (self.host / "rc").read_text() if (self.host / "rc").exists() else "125"
        return int(code), (self.host / "log").read_text(errors="replace")

    def result(self) -> dict[str, Any]:
        """What the script has left in ``/host/result.json``."""
        found: dict[str, Any] = json.loads((self.host / "result.json").read_text())
        return found

    def close(self) -> None:
        subprocess.run(["rm", "-rf", "--one-file-system", self.folder], check=True)


#: Install offline, and wait for the first mask: seconds and sizes go to /host/result.json. The camera of this
#: machine is the pattern camera, by a drop-in: the configuration stays as installed.
INSTALL = r"""
set -eu
mkdir -p /etc/systemd/system/gnetsegd.service.d
cat >/etc/systemd/system/gnetsegd.service.d/camera.conf <<'END'
[Service]
ExecStart=
ExecStart=/usr/bin/gnetsegd run --config /etc/gnetsegd/gnetsegd.toml --set camera.driver=pattern
END
find / -xdev -not -path '/proc/*' | sort >/host/before
dpkg-query -W -f '${Package}\n' | sort >/tmp/packages-before
begin=$(date +%s.%N)
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends /srv/*.deb
cat >/tmp/first.py <<'END'
import time
from gnetsegd.client import MaskSubscriber, NoData
with MaskSubscriber() as masks:
    for mask in masks.follow():
        if not isinstance(mask, NoData):
            break
print(time.time())
END
first=$(timeout 120 python3 /tmp/first.py)
dpkg-query -W -f '${Package}\n' | sort | comm -13 /tmp/packages-before - >/tmp/new
python3 - "$begin" "$first" <<'END'
import json, os, subprocess, sys
new = open("/tmp/new").read().split()
sizes = subprocess.check_output(["dpkg-query", "-W", "-f", "${Installed-Size}\n", *new], text=True).split()
names = {line.partition("_")[0]: line for folder in ("/var/cache/apt/archives", "/srv")
         for line in map(lambda n: f"{folder}/{n}", os.listdir(folder)) if line.endswith(".deb")}
files = [path for path in names.values() if os.path.basename(path).partition("_")[0] in new]
json.dump({
    "seconds_from_apt_install_to_first_mask": round(float(sys.argv[2]) - float(sys.argv[1]), 1),
    "bytes_downloaded": sum(map(os.path.getsize, files)),
    "bytes_installed": sum(map(int, sizes)) * 1024,
    "packages": len(new), "files": len(files), "commands": 1,
}, open("/host/result.json", "w"))
END
"""

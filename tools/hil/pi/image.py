"""What the emulated Pi boots: an image that is kept, and the checkout as it is, put on top at each start."""

from __future__ import annotations

import configparser
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]
BUILD = CHECKOUT / "build" / "hil-pi"

#: What the image is made of: a change of one of them makes another.
INGREDIENTS = ("packages.txt", "wheels.txt", "modules.txt", "build-image.sh")
#: Of the checkout, what goes into the wheel that is installed.
SOURCES = ("gnetsegd", "firmware", "setup.py", "pyproject.toml", "README.md")

SCRIPT = """\
#!/usr/bin/python3
import sys
from {module} import {function}
sys.exit({function}())
"""


def image() -> Path:
    """The folder with ``vmlinuz``, ``pi.dtb`` and ``root.cpio``, built if it is not there."""
    digest = hashlib.sha256()
    for name in INGREDIENTS:
        digest.update((HERE / name).read_bytes())
    folder = BUILD / f"image-{digest.hexdigest()[:12]}"
    if not folder.exists():
        print(f"hil-pi: building {folder.name}, a minute or two, once", flush=True)
        BUILD.mkdir(parents=True, exist_ok=True)
        # A root file system with its owners is made by root.
        root = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run(
            [*root, "env", f"PYTHON={sys.executable}", HERE / "build-image.sh", folder], check=True
        )
    return folder


def initrd(folder: Path, work: Path) -> Path:
    """The image's root with this checkout installed in it, as its package would be."""
    root = work / "overlay"
    _install_package(root, work)
    systemd = CHECKOUT / "systemd"
    places = {
        systemd / "gnetsegd.service": "usr/lib/systemd/system/gnetsegd.service",
        systemd / "gnetsegd.sysusers": "usr/lib/sysusers.d/gnetsegd.conf",
        systemd / "60-gnetsegd.rules": "usr/lib/udev/rules.d/60-gnetsegd.rules",
        HERE / "guest" / "agent.py": "usr/lib/hil/agent.py",
        HERE / "guest" / "hil-agent.service": "usr/lib/systemd/system/hil-agent.service",
    }
    for source, place in places.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, root / place)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "hil-agent.service").symlink_to("/usr/lib/systemd/system/hil-agent.service")
    whole = work / "initrd"
    shutil.copyfile(folder / "root.cpio", whole)
    with whole.open("ab") as archive:
        # The kernel unpacks one archive after the other.
        names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
        command = ["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet"]
        subprocess.run(command, cwd=root, input=names.encode(), stdout=archive, check=True)
    shutil.rmtree(root)
    return whole


def _install_package(root: Path, work: Path) -> None:
    """Code and console scripts of the checkout, where a Debian package has them."""
    source = work / "source"
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in SOURCES:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, source / name, ignore=skip)
        else:
            shutil.copy(CHECKOUT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", work, source], check=True)
    packages = root / "usr/lib/python3/dist-packages"
    (wheel,) = work.glob("gnetsegd-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # Bytecode is the same on every processor, and compiling takes an emulated one long.
    compileall = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*compileall, "-s", root, "-p", "/", packages], check=True)
    entry_points = configparser.ConfigParser(delimiters=("=",))
    (text,) = packages.glob("gnetsegd-*.dist-info/entry_points.txt")
    entry_points.read(text)
    (root / "usr/bin").mkdir(parents=True)
    for name, target in entry_points["console_scripts"].items():
        module, _, function = target.partition(":")
        script = root / "usr/bin" / name
        script.write_text(SCRIPT.format(module=module, function=function))
        script.chmod(0o755)

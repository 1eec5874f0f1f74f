#!/usr/bin/env python3
"""Run the checks of ``tests/hil`` in a Debian guest on real kernels, under QEMU (docs/testing.md).

    run.py                      every check
    run.py -k watchdog          those whose names match, as pytest's -k
    run.py --shell              a root shell in the guest; `bash /host/run` runs the checks there

The guest is built once and kept, under the checksum of what it is built from. The CPU is always
emulated (TCG): a /dev/kvm can be there and still not run this kernel, so none is looked for. The
guest's disk is a snapshot that is thrown away. What the guest may see of this machine is one
folder: the checkout's files, the checks, and where it leaves its logs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from plug import PlugServer  # noqa: E402

#: What the guest is made of: a change of one of them makes another guest.
INGREDIENTS = (
    "guest-packages.txt",
    "guest-wheels.txt",
    "build-guest.sh",
    "make-initrd.sh",
    "guest/hil.service",
    "guest/autologin.conf",
)
#: Of the checkout, what the guest gets.
SHARED = (
    "gnetsegd",
    "firmware",
    "systemd",
    "tests/hil",
    "tests/data/models",
    "setup.py",
    "pyproject.toml",
    "README.md",
)
QEMU = "qemu-system-x86_64"


def cache_folder() -> Path:
    """Where guests are kept."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "gnetsegd-hil"
    return CHECKOUT / "build" / "hil"


def guest() -> Path:
    """The folder of the guest, built if it is not there."""
    digest = hashlib.sha256()
    for name in INGREDIENTS:
        digest.update((HERE / name).read_bytes())
    folder = cache_folder() / f"guest-{digest.hexdigest()[:12]}"
    if not (folder / "root.ext4").exists():
        print(f"hil: building the guest {folder.name}, some minutes, once", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A root file system with its owners and devices is made by root.
        root = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run(
            [*root, "env", f"PYTHON={sys.executable}", HERE / "build-guest.sh", folder], check=True
        )
    return folder


def fill_share(share: Path, pytest_arguments: list[str]) -> None:
    """Put the checkout as it is, committed or not, and the order of the day into ``share``."""
    for name in SHARED:
        source = CHECKOUT / name
        if source.is_dir():
            skip = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(source, share / "src" / name, ignore=skip)
        else:
            (share / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, share / "src" / name)
    # With the setuptools that is here: no run after the first needs a network.
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", share, share / "src"], check=True)
    shutil.copy(HERE / "guest" / "run", share / "run")
    shutil.copy(HERE / "guest" / "install", share / "install")
    (share / "arguments").write_text("".join(f"{argument}\n" for argument in pytest_arguments))
    (share / "logs").mkdir()


def qemu_command(image: Path, share: Path, work: Path, shell: bool) -> list[str]:
    """One q35 machine: disk, share, an xHCI controller with a port for usbredir, a wire to us."""
    # Units that a machine without a network, a screen and people at it does without.
    masked = ["systemd-networkd.service", "systemd-logind.service", "getty@tty1.service"]
    masked += ["hil.service" if shell else "serial-getty@ttyS0.service"]
    append = [
        "root=/dev/vda", "rw", "console=ttyS0", "quiet", "panic=-1", "net.ifnames=0", "mitigations=off",
        # Drivers for what this machine only pretends to have.
        "modprobe.blacklist=ahci,kvm_amd,kvm_intel,kvm,powernow_k8,psmouse,sr_mod,i2c_i801,iTCO_wdt",
        # The kernel panics if no tick of its timer comes soon, as on a starved emulator.
        "no_timer_check",
        "audit=0", "systemd.show_status=0", "systemd.unit=multi-user.target",
        *(f"systemd.mask={unit}" for unit in masked),
    ]  # fmt: skip
    return [
        QEMU, "-M", "q35", "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max",
        "-smp", "2", "-m", "2048", "-nodefaults", "-no-reboot", "-display", "none",
        "-serial", "mon:stdio" if shell else "stdio",
        "-kernel", f"{image}/vmlinuz", "-initrd", f"{image}/initrd", "-append", " ".join(append),
        "-drive", f"file={image}/root.ext4,format=raw,if=virtio,snapshot=on,cache=unsafe",
        "-virtfs", f"local,path={share},mount_tag=host,security_model=none",
        "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=plug,path={work}/plug,server=on,wait=off",
        "-device", "virtserialport,chardev=plug,name=hil.plug",
        "-device", "qemu-xhci,id=xhci",
        "-chardev", f"socket,id=redir,path={work}/redir,server=on,wait=off",
        "-device", "usb-redir,chardev=redir,bus=xhci.0",
    ]  # fmt: skip


def run(image: Path, arguments: Any, work: Path) -> int:
    share = work / "share"
    share.mkdir()
    fill_share(share, [*(["-k", arguments.k] if arguments.k else []), *arguments.pytest])
    process = subprocess.Popen(qemu_command(image, share, work, arguments.shell))
    # The far end of the USB cable is a process of this machine: the guest says when it is to be plugged.
    plug = PlugServer(image / "venv" / "bin" / "python", share / "src", work / "plug", work / "redir")
    plug.start()
    timer = threading.Timer(arguments.timeout_s, process.send_signal, (signal.SIGTERM,))
    if not arguments.shell:
        timer.start()
    try:
        process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            process.terminate()
            process.wait()
        plug.close()
        logs = CHECKOUT / "build" / "hil" / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        try:
            shutil.copytree(share / "logs", logs, dirs_exist_ok=True)
        except OSError as error:
            # Those of an earlier run may be root's.
            print(f"hil: the logs cannot be kept in {logs.relative_to(CHECKOUT)}: {error}", flush=True)
    if arguments.shell:
        return 0
    code, summary = words(share / "rc"), words(share / "summary")
    if code != "0":
        print(f"hil: logs are in {logs.relative_to(CHECKOUT)}")
    if not code.isdigit() or not summary:
        print(f"hil: the guest ended without a result (limit {arguments.timeout_s:g} s)", flush=True)
        return 1
    # Last, so that it is the last line: the guest's kernel may have said something after it.
    print(summary, flush=True)
    return int(code)


def words(path: Path) -> str:
    """A file's text; an empty one if the guest did not come to write it."""
    return path.read_text(errors="replace").strip() if path.exists() else ""


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that QEMU does not outlive us
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-k", metavar="NAMES", help="only these checks, as pytest's -k")
    parser.add_argument("--shell", action="store_true", help="a shell in the guest instead")
    parser.add_argument("--build-only", action="store_true", help="build the guest if need be, and end")
    parser.add_argument("--timeout-s", type=float, default=3600, help="end the guest after so long")
    parser.add_argument("pytest", nargs="*", help="more arguments for pytest, after --")
    arguments = parser.parse_args()
    # mke2fs is there, which is in no other user's path than root's.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for tool in (QEMU, "mmdebstrap", "mke2fs", "cpio"):
        if not shutil.which(tool):
            print(f"hil: {tool} is missing; run tools/setup/hil-packages.sh")
            return 1
    image = guest()
    if arguments.build_only:
        return 0
    # A short path: it is also that of Unix sockets.
    with tempfile.TemporaryDirectory(prefix="hil-") as work:
        return run(image, arguments, Path(work))


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Run the checks of ``tests/hil_pi`` on an emulated Raspberry Pi 3B (docs/testing.md).

    run.py                      every check
    run.py -k unplug            those whose names match, as pytest's -k
    run.py --shell              a root shell in the machine, with a device plugged in

What it boots is built once and kept in build/hil-pi; the checkout is put on top at each start. The
checks run here, on the machine outside, and ask an agent inside. Logs of the last run are in
build/hil-pi/logs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from cable import Cable  # noqa: E402
from image import BUILD, CHECKOUT, image, initrd  # noqa: E402
from machine import qemu_command  # noqa: E402
from report import Report  # noqa: E402

TOOLS = ("qemu-system-aarch64", "qemu-aarch64", "mmdebstrap", "cpio", "depmod", "modprobe", "fdtput")
CHECKS = CHECKOUT / "tests" / "hil_pi"


def run_checks(work: Path, names: str) -> int:
    """Run them; the exit code. The last line is ``N passed, M failed``."""
    os.environ["GNETSEGD_HIL_PI"] = str(work)
    report = Report(work / "failures")
    # An empty configuration: the project's own asks for plugins and a form of output of its own.
    arguments = ["-c", "/dev/null", "--rootdir", CHECKOUT, "-p", "no:cacheprovider", "-qq", "--no-summary"]
    arguments += ["-o", "console_output_style=classic"]
    arguments += ["--import-mode=importlib", "--timeout", "1200", *(["-k", names] if names else [])]
    code = pytest.main([*map(str, arguments), str(CHECKS)], plugins=[report])
    logs = BUILD / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    try:
        logs.mkdir(parents=True, exist_ok=True)
        for name in ("console", "qemu", "device", "journal", "dmesg", "failures"):
            if (work / name).exists():
                shutil.copy(work / name, logs / name)
    except OSError as error:
        # Those of an earlier run may be root's.
        print(f"hil-pi: the logs cannot be kept in {logs.relative_to(CHECKOUT)}: {error}")
    if code == 0 and not report.failed:
        print(f"{report.passed} passed, 0 failed", flush=True)
        return 0
    print(f"hil-pi: logs are in {logs.relative_to(CHECKOUT)}")
    if not report.failed:
        # An interruption, an internal error, or no check of that name.
        print(f"hil-pi: pytest did not come to its end (its exit code is {int(code)})")
    print(f"{report.passed} passed, {report.failed} failed", flush=True)
    return 1


def run_shell(folder: Path, work: Path) -> int:
    """A shell on the machine's console, and a device with the model at its USB port."""
    machine = subprocess.Popen(qemu_command(folder, work / "initrd", work, shell=True))
    device = Cable(work)
    print("hil-pi: the shell comes in half a minute; `poweroff` or Ctrl-A X ends it", flush=True)
    try:
        while not (work / "redir").exists() and machine.poll() is None:
            time.sleep(0.1)
        device.plug()
        return machine.wait()
    finally:
        device.pull()
        if machine.poll() is None:
            machine.terminate()
            machine.wait()


def interrupt(*_: object) -> None:
    # What else a check may raise, SystemExit too, only fails that check.
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, interrupt)  # so that QEMU does not outlive us
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-k", metavar="NAMES", default="", help="only these checks, as pytest's -k")
    parser.add_argument("--shell", action="store_true", help="a shell in the machine instead")
    arguments = parser.parse_args()
    # depmod and modprobe are there, which is in no other user's path than root's.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        print(f"hil-pi: {', '.join(missing)} missing; run tools/hil/pi/system-packages.sh")
        return 1
    begun = time.monotonic()
    folder = image()
    # A short path: it is also that of Unix sockets.
    with tempfile.TemporaryDirectory(prefix="hil-pi-") as path:
        work = Path(path)
        initrd(folder, work)
        print(f"hil-pi: image with this checkout after {time.monotonic() - begun:.1f} s", flush=True)
        if arguments.shell:
            return run_shell(folder, work)
        os.environ["GNETSEGD_HIL_PI_IMAGE"] = str(folder)
        return run_checks(work, arguments.k)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("hil-pi: interrupted")

"""How many instructions a frame costs the host, in user space, on the Pi's architecture.

The road (camera loop, mailbox, pipeline, USB driver, pyusb, libusb, publisher, pyzmq, libzmq) runs in an
emulated arm64 Debian, and a plugin of the emulator counts its instructions. Not counted: the camera's own
work, and the kernel's. ``cpu/usbfs.c`` stands in for the kernel's USB side under Debian's libusb; its
instructions are printed apart, as are those of libzmq's I/O thread (``network``).

``threads`` is the daemon's own road with its threads, all asleep when a frame comes: the figure that the
bars are for. ``calls`` is the same calls in one thread: less, as no thread is woken, but it repeats to
some tenths of a percent. ``steps`` tells which call costs what. ``c_async`` is a loop in C for the USB
transfers alone. ``core_share`` is no measurement: instructions times an assumed CPI at 1.2 GHz.

    .venv/bin/python tools/bench/cpu.py --json

The first run downloads some Debian packages into build/; the later ones take about a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from gnetseg_device import descriptors
from harness import finish

from gnetsegd.link import constants as c
from gnetsegd.link.header import in_buffer_size, message_size
from gnetsegd.link.model_upload import ModelRecord
from gnetsegd.link.requests import Capabilities
from gnetsegd.model import load_bundle

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "cpu"
BUILD = ROOT / "build" / "cpu"
MODEL = ROOT / "tests" / "data" / "models" / "threshold-224"
SUITE = "bookworm"
PACKAGES = "python3-numpy,python3-zmq,python3-usb,python3-attr,python3-cattr,libusb-1.0-0-dev"
LIBRARIES = "usr/lib/aarch64-linux-gnu"

TOOLS = {
    "qemu-aarch64": "qemu-user",
    "mmdebstrap": "mmdebstrap",
    "gcc": "gcc",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
}
BARS = {8: 110_000, 1: 75_000}
CORE_HZ = 1.2e9
RATES = (30, 120, 190)
ROLES = {"c": "camera", "o": "out", "i": "in", "a": "calls"}
STEPS = ("take_slot", "put", "wait", "take", "submit", "collect", "publish", "give_slot", "mark")

SUBSCRIBER = """
import sys, zmq
reader = zmq.Context().socket(zmq.SUB)
reader.setsockopt(zmq.SUBSCRIBE, b"mask/")
reader.connect(sys.argv[1])
while True:
    reader.recv()
"""


def run(command: list[str | Path], what: str) -> None:
    """Run a command that has nothing to say; end with its words if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"cpu.py: {what} failed: {done.stdout.strip()[-2000:]}")


def prepare() -> Path:
    """Everything that is built, from the cache where it is there; the arm64 root."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        sys.exit(
            f"cpu.py: {', '.join(missing)} is not here; as root: "
            f"apt-get install --no-install-recommends {packages}"
        )
    script = HERE / "root.sh"
    key = hashlib.sha256(f"{SUITE} {PACKAGES}".encode() + script.read_bytes()).hexdigest()[:12]
    root = BUILD / f"root-{key}"
    BUILD.mkdir(parents=True, exist_ok=True)
    if not root.exists():
        run([script, root, SUITE, PACKAGES], "making the arm64 root")
    version = subprocess.run(["qemu-aarch64", "--version"], capture_output=True, text=True).stdout
    major = int(version.split("version ")[1].split(".")[0])
    plugin_version = f"-DPLUGIN_VERSION={1 if major < 9 else 2}"
    run(
        ["gcc", "-O2", "-shared", "-fPIC", plugin_version, "-o", BUILD / "count.so", HERE / "count.c"],
        "gcc",
    )
    cross: list[str | Path] = [
        "aarch64-linux-gnu-gcc", "-O2", "-idirafter", root / "usr/include/libusb-1.0",
        "-Wl,--unresolved-symbols=ignore-in-shared-libs",
    ]  # fmt: skip
    # All of its own instructions within its own borders: no calls of memcpy or of atomic helpers.
    alone = ["-shared", "-fPIC", "-fno-builtin", "-fno-tree-loop-distribute-patterns", "-mno-outline-atomics"]
    libusb = root / LIBRARIES / "libusb-1.0.so.0"
    run([*cross, *alone, "-o", BUILD / "usbfs.so", HERE / "usbfs.c", libusb], "gcc for arm64")
    run([*cross, "-o", BUILD / "loop", HERE / "loop.c", libusb], "gcc for arm64")
    return root


def write_device(path: Path) -> None:
    """What the emulated device answers on endpoint 0, as ``usbfs.c`` reads it."""
    identity = descriptors.Identity("emulated")
    capabilities = Capabilities(
        c.Feature(0), 3, (8, 4, 2, 1), (0,), 0, 1 << 20, 0, 0, ModelRecord.of(load_bundle(str(MODEL)))
    )
    records = [
        (0xFF, 0, 0, descriptors.device_descriptor(identity) + descriptors.configuration_descriptor()),
        (c.REQUEST_IN, c.Request.CAPABILITIES, 0, capabilities.pack()),
    ]
    for index in range(4):
        text = descriptors.string_descriptor(identity, index) or b""
        records.append((0x80, 6, descriptors.STRING << 8 | index, text))
    path.write_bytes(
        b"".join(
            struct.pack("<BBHH", kind, request, value, len(data)) + data
            for kind, request, value, data in records
        )
    )


def emulator(root: Path, device: Path) -> list[str | Path]:
    """The command that runs an arm64 program, its instructions counted."""
    return [
        "qemu-aarch64", "-cpu", "cortex-a53", "-L", root, "-E", f"LD_PRELOAD={BUILD / 'usbfs.so'}",
        "-E", f"GNETSEG_FAKE_USB={device}", "-plugin", BUILD / "count.so",
    ]  # fmt: skip


def c_loop(root: Path, device: Path, mask_bits: int, frames: int) -> int:
    """Instructions per frame of the C loop."""
    record = ModelRecord.of(load_bundle(str(MODEL)))
    mask_bytes = (record.mask.width * mask_bits + 7) // 8 * record.mask.height
    sizes = message_size(record.input.size_bytes, 0), in_buffer_size(mask_bytes)
    command = [*emulator(root, device), BUILD / "loop", str(frames), *map(str, sizes), str(mask_bits)]
    done = subprocess.run(command, capture_output=True, text=True)
    counts = [line.split() for line in done.stderr.splitlines() if line.startswith("COUNT c")]
    if done.returncode or len(counts) != 1:
        sys.exit(f"cpu.py: the C loop failed: {done.stderr.strip()}")
    return round(int(counts[0][2]) / frames)


def road(root: Path, device: Path, frames: int, measurements: list[str]) -> list[dict[str, Any]]:
    """Instructions per frame of each measurement (``road.py`` tells what there is)."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "0",
        "PYTHONPYCACHEPREFIX": str(BUILD / "pycache"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    with tempfile.TemporaryDirectory(prefix="gs") as folder:
        endpoint = f"ipc://{folder}/masks.sock"
        command: list[str | Path] = [
            *emulator(root, device), root / "usr/bin/python3", "-s", HERE / "road.py", BUILD / "usbfs.so",
            MODEL, endpoint, str(frames), *measurements,
        ]  # fmt: skip
        subscriber = subprocess.Popen([sys.executable, "-c", SUBSCRIBER, endpoint])
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
        finally:
            subscriber.kill()
            subscriber.wait()
    results, found = [], {"network": 0, "stand_in": 0}
    for line in done.stderr.splitlines():
        words = line.split()
        if line.startswith("COUNT"):
            role, counted, _, fake, *steps = words[1:]
            found["stand_in"] += int(fake)
            if role == "?":
                found["network"] += int(counted)
            elif role in ROLES:
                found[ROLES[role]] = int(counted)
            found |= {STEPS[int(number) - 1]: int(n) for number, n in (step.split(":") for step in steps)}
        elif line.startswith("FRAMES"):
            results.append({name: round(count / int(words[1])) for name, count in found.items()})
            found = {"network": 0, "stand_in": 0}
    if done.returncode or len(results) != len(measurements):
        sys.exit(f"cpu.py: the emulated road failed: {done.stderr.strip()[-2000:]}")
    return results


def of_threads(windows: list[dict[str, int]]) -> dict[str, Any]:
    """The median of each thread over the windows, and the spread of their sum."""
    names = ("camera", "out", "in")
    sums = [sum(window[name] for name in names) for window in windows]
    middle = {name: round(statistics.median(w[name] for w in windows)) for name in names}
    network = round(statistics.median(w["network"] for w in windows))
    return {
        "road": round(statistics.median(sums)),
        "min": min(sums),
        "max": max(sums),
        **middle,
        "network": network,
    }


def of_steps(found: dict[str, int], calls: int) -> dict[str, int]:
    """Each step without the marks in between, which are what ``steps`` has more than ``calls``."""
    mark = (sum(found[name] for name in STEPS) - calls) // len(STEPS)
    return {name: found[name] - mark for name in STEPS[:-1]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=100, help="in each measurement")
    parser.add_argument("--windows", type=int, default=3, help="measurements of the threads")
    parser.add_argument("--cpi", type=float, default=1.4, help="assumed cycles per instruction")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    root = prepare()
    result: dict[str, Any] = {
        "bench": "cpu",
        "emulated": "qemu-aarch64 -cpu cortex-a53, user mode: instructions, not cycles",
        "packages": f"Debian {SUITE} arm64",
    }
    with tempfile.TemporaryDirectory(prefix="gs") as folder:
        device = Path(folder) / "device"
        write_device(device)
        measurements = [f"{mode}:{bits}" for bits in BARS for mode in ("calls", "steps")]
        measurements += [f"threads:{bits}" for _ in range(options.windows) for bits in BARS]
        counted = list(zip(measurements, road(root, device, options.frames, measurements), strict=True))
        for bits, bar in BARS.items():
            found = {
                mode: [n for name, n in counted if name == f"{mode}:{bits}"]
                for mode in ("calls", "steps", "threads")
            }
            threads = of_threads(found["threads"])
            calls = found["calls"][0]["calls"]
            result[f"{bits}_bit"] = {
                "threads": threads,
                "calls": calls,
                "steps": of_steps(found["steps"][0], calls),
                "c_async": c_loop(root, device, bits, options.frames),
                "stand_in": found["calls"][0]["stand_in"],
                "bar": bar,
                "threads/bar": round(threads["road"] / bar, 3),
                "calls/bar": round(calls / bar, 3),
                "core_share": {
                    f"{rate}_fps": round(threads["road"] * options.cpi * rate / CORE_HZ, 4) for rate in RATES
                },
            }
    result["core_share_assumes"] = (
        f"{options.cpi} cycles per instruction, 1.2 GHz; an estimate, no measurement"
    )
    finish(result, options.json)


if __name__ == "__main__":
    main()

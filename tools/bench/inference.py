"""What one mask costs: instructions on an emulated Cortex-A53 (the Pi 3B's core), milliseconds here.

Each shipped bundle, under both TFLite runtimes, one thread. The instructions include making the
network's input of a camera's YUV420 (640x480, centre crop), with the daemon's own code and PyAV.
A Debian for arm64 runs on an emulated board whose clock advances a nanosecond an instruction, so the
guest's clock counts them, of every library and of its kernel; figures repeat to three digits. Instructions
are no cycles: an A53 issues at most two at once. The milliseconds are the best of several runs, for the
network alone, and those of a busy machine are worthless.

    .venv/bin/python tools/bench/inference.py --json

The first run downloads Debian packages and wheels into build/ (some 200 MB); later ones take some
minutes. MediaPipe's own file is measured beside them: ``GNETSEG_PEERS`` names its folder, or npm fetches it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from gnetseg_zoo.judging import peers
from harness import finish

from gnetsegd.errors import ModelError
from gnetsegd.model import SHIPPED, load_bundle

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "inference"
BUILD = ROOT / "build" / "inference"
SUITE = "bookworm"
PACKAGES = (
    "busybox-static,python3.11-minimal,libpython3.11-stdlib,libc6,libstdc++6,libgcc-s1,zlib1g,libexpat1,"
    "libssl3,libffi8,python3-attr,python3-cattr,python3-typing-extensions,linux-image-arm64"
)
WHEELS = ("ai-edge-litert==2.3.0", "numpy==1.26.4", "tflite-runtime==2.14.0", "av==18.1.0")
PLATFORMS = tuple(f"manylinux_2_{minor}_aarch64" for minor in (34, 28, 27, 17))
TOOLS = {"qemu-system-aarch64": "qemu-system-arm", "mmdebstrap": "mmdebstrap", "cpio": "cpio"}
MODULES = {"litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
ENVIRONMENTS = {"litert": (".venv-litert", ".venv-train"), "tflite-runtime": (".venv", ".venv-bookworm")}
BARS = {"person": 60e6, "person-gray": 33e6, "person-fast": 31e6}
BOOT_LIMIT_S = 1800
X86_RUNS = 30


def run(command: list[str | Path], what: str, **how: Any) -> None:
    """Run a command that has nothing to say; end with its words if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how)
    if done.returncode:
        sys.exit(f"inference.py: {what} failed: {done.stdout.strip()[-2000:]}")


def prepare() -> tuple[Path, Path]:
    """(folder of the guest's files, its kernel), made once."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        sys.exit(
            f"inference.py: {', '.join(missing)} is not here; as root: apt-get install "
            f"--no-install-recommends {packages}; or leave the emulation out: --x86"
        )
    guest, kernel = BUILD / "guest", BUILD / "vmlinuz"
    if not kernel.is_file():
        BUILD.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(guest, ignore_errors=True)
        archive = BUILD / "root.tar"
        command: list[str | Path] = ["mmdebstrap", "--quiet", "--mode=root", "--variant=extract"]
        command += ["--architectures=arm64", f"--include={PACKAGES}", SUITE, archive]
        run(command, "making the arm64 root")
        guest.mkdir()
        run(["tar", "-C", guest, "-xf", archive, "--exclude=./dev/*"], "tar")
        archive.unlink()
        (image,) = (guest / "boot").glob("vmlinuz-*")
        _add_wheels(guest / "site")
        shutil.rmtree(guest / "usr/lib/modules", ignore_errors=True)
        shutil.rmtree(guest / "lib/modules", ignore_errors=True)
        shutil.copy(image, kernel)
        shutil.rmtree(guest / "boot")
    return guest, kernel


def _add_wheels(site: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        platforms = [f"--platform={name}" for name in PLATFORMS]
        command: list[str | Path] = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
        command += ["--python-version=3.11", "--only-binary=:all:", *platforms, *WHEELS]
        run(command, "pip download")
        site.mkdir()
        for wheel in Path(folder).glob("*.whl"):
            run([sys.executable, "-m", "zipfile", "-e", wheel, site], "unpacking a wheel")
    # Importing all of LiteRT wants libraries of graphics; the interpreter does not.
    (site / "ai_edge_litert" / "__init__.py").write_text("")
    for heavy in site.glob("ai_edge_litert/*ebGpu*"):
        heavy.unlink()


def emulate(models: dict[str, bytes], inputs: dict[str, tuple[str, int]]) -> dict[str, dict[str, Any]]:
    """The guest's figures: of each model instructions by runtime, or None; of each input its making.

    ``models``: files by name; ``inputs``: pixel format and size by name.
    """
    guest, kernel = prepare()
    for folder in ("models", "repository"):
        shutil.rmtree(guest / folder, ignore_errors=True)
        (guest / folder).mkdir()
    for name, content in models.items():
        (guest / "models" / f"{name}.tflite").write_bytes(content)
    (guest / "models" / "inputs.json").write_text(json.dumps(inputs))
    shutil.copytree(
        ROOT / "gnetsegd",
        guest / "repository/gnetsegd",
        ignore=shutil.ignore_patterns("models", "__pycache__"),
    )
    for name in ("init", "guest.py"):
        shutil.copy(HERE / name, guest / name)
    (guest / "init").chmod(0o755)
    names = subprocess.run(["find", "."], cwd=guest, capture_output=True, check=True).stdout
    packed = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=guest, input=names, capture_output=True
    )
    with tempfile.TemporaryDirectory() as folder:
        initrd = Path(folder) / "initrd.gz"
        initrd.write_bytes(gzip.compress(packed.stdout, 1))
        command = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-m", "2000"]
        command += ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-nic", "none"]
        command += ["-kernel", str(kernel), "-initrd", str(initrd)]
        command += ["-append", "console=ttyAMA0 rdinit=/init panic=-1 quiet", "-display", "none"]
        command += ["-serial", "stdio", "-monitor", "none", "-no-reboot"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=BOOT_LIMIT_S)
        except subprocess.TimeoutExpired:
            sys.exit(
                f"inference.py: the emulated board took more than {BOOT_LIMIT_S} s; try on a quieter machine"
            )
    found: dict[str, dict[str, Any]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            figure = json.loads(line)
            found.setdefault(figure["name"], {})[figure["what"]] = figure["instructions"]
    if not found:
        sys.exit(f"inference.py: the emulated board said nothing: {(done.stdout + done.stderr)[-1000:]}")
    return found


TIMED = """
import sys, time, numpy, importlib
net = importlib.import_module(sys.argv[1]).Interpreter(model_path=sys.argv[2], num_threads=1)
net.allocate_tensors()
entry = net.get_input_details()[0]
net.set_tensor(entry["index"], numpy.full(entry["shape"], 100, entry["dtype"]))
times = []
for _ in range(int(sys.argv[3])):
    begin = time.perf_counter(); net.invoke(); times.append(time.perf_counter() - begin)
print(min(times) * 1000)
"""


def x86_ms(runtime: str, file: Path) -> float | None:
    """The best time of one inference here, None where ``runtime`` is absent or does not load the file."""
    for name in ENVIRONMENTS[runtime]:
        python = ROOT / name / "bin" / "python"
        if not python.is_file():
            continue
        command = [python, "-c", TIMED, MODULES[runtime], file, str(X86_RUNS)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return round(float(done.stdout.split()[-1]), 2)
    return None


def mediapipe() -> Path | None:
    """MediaPipe's own file, where it is or can be fetched."""
    try:
        return peers.find(peers.PEERS["mediapipe-rgb"], ())
    except ModelError as error:
        print(error, file=sys.stderr)
        return None


def measure(names: list[str], emulated: bool) -> dict[str, Any]:
    """The figures of the bundles ``names`` and of the peers; see the module's text."""
    bundles = {name: load_bundle(name) for name in names}
    models = {name: bundle.content for name, bundle in bundles.items()}
    inputs = {name: (b.input.pixel_format, b.input.width) for name, b in bundles.items()}
    peer = mediapipe()
    if peer is not None:
        models["mediapipe-selfie"], inputs["mediapipe-selfie"] = peer.read_bytes(), ("RGB", 256)
    found = emulate(models, inputs) if emulated else {}
    out: dict[str, dict[str, Any]] = {"bundles": {}, "peers": {}}
    for name in models:
        file = peer if name not in bundles else bundles[name].path / "model.tflite"
        assert file is not None
        own = found.get(name, {})
        a53 = {
            runtime: round(own[runtime] + own["input"]) if own.get(runtime) is not None else None
            for runtime in MODULES
        }
        out["bundles" if name in bundles else "peers"][name] = {
            "a53_instructions": a53,
            "a53_input_instructions": own.get("input"),
            "x86_ms": {runtime: x86_ms(runtime, file) for runtime in MODULES},
        }
    return out


def main() -> int:
    """The command; gives its exit status: 1 if a bundle costs more than its bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="*", help="names of shipped bundles (all)")
    parser.add_argument("--x86", action="store_true", help="leave the emulated A53 out")
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    given = parser.parse_args()
    names = given.bundles or sorted(path.parent.name for path in SHIPPED.glob("*/model.toml"))
    result = measure(names, not given.x86)
    within = True
    for name, bar in BARS.items():
        if name in result["bundles"] and not given.x86:
            cheaper = min(
                (v for v in result["bundles"][name]["a53_instructions"].values() if v), default=bar + 1
            )
            within &= cheaper <= bar
    finish(result, given.json)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())

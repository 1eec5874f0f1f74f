"""The examples receive what is sent, in every language whose tools are on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fake_publisher import FakePublisher

from gnetsegd.message import topic

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
VECTORS = ROOT / "tests" / "vectors" / "messages"

C_COMPILER = shutil.which("cc")
CPP_COMPILER = shutil.which("c++")
NODE = shutil.which("node")
RUSTC = shutil.which("rustc")
HAS_ZMQ_H = any(Path(folder, "zmq.h").exists() for folder in ("/usr/include", "/usr/local/include"))

#: 13 x 8 pixels of which a quarter is person; rows of 4, 2 and 1 bit end inside a byte.
QUARTER = np.zeros((8, 13), np.uint8)
QUARTER[4:, :6] = 1
QUARTER[4:6, 12] = 1


class Repeating(threading.Thread):
    """Sends the same mask, and nonsense before it, until stopped."""

    def __init__(self, publisher: FakePublisher, bits: int) -> None:
        super().__init__(daemon=True)
        self._publisher = publisher
        self._bits = bits
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.01):
            self._publisher.raw(topic("mask", "cam0") + b"nonsense")
            self.stopped.wait(0.01)
            self._publisher.mask(77, QUARTER, self._bits, fallback=True)
            self._publisher.info()
            self._publisher.status()


@pytest.fixture(params=[1, 2, 4, 8])
def repeating(publisher: FakePublisher, request: pytest.FixtureRequest) -> Iterator[str]:
    """The endpoint of a publisher that repeats itself, once for each encoding."""
    thread = Repeating(publisher, request.param)
    thread.start()
    yield publisher.endpoint
    thread.stopped.set()
    thread.join()


def lines(*command: str | Path) -> list[str]:
    out = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert out.returncode == 0, out.stderr
    return out.stdout.splitlines()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C example, compiled as C and as C++; it is the C++ one that is run."""
    folder = tmp_path_factory.mktemp("compiled")
    strict, source = ["-Wall", "-Wextra", "-Werror"], EXAMPLES / "subscribe.c"
    lines(str(C_COMPILER), *strict, source, "-lzmq", "-o", folder / "c")
    lines(str(CPP_COMPILER), *strict, "-x", "c++", source, "-lzmq", "-o", folder / "cpp")
    return folder / "cpp"


def test_the_python_example_is_about_ten_lines_and_runs(publisher: FakePublisher) -> None:
    source = (EXAMPLES / "subscribe.py").read_text("utf-8")
    assert len([line for line in source.splitlines() if line.strip()]) <= 12
    thread = Repeating(publisher, 8)
    thread.start()
    command = [sys.executable, str(EXAMPLES / "subscribe.py"), publisher.endpoint]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.kill()
    thread.stopped.set()
    thread.join()
    assert first.startswith("frame 77: ")
    assert first.endswith(" ms old, 25% person\n")


@pytest.mark.skipif(
    not (C_COMPILER and CPP_COMPILER and HAS_ZMQ_H), reason="needs a C and a C++ compiler and libzmq3-dev"
)
def test_the_c_example_reads_every_encoding(compiled: Path, repeating: str) -> None:
    said = lines(compiled, repeating, "2")
    assert len(said) == 2
    assert all(line.startswith("frame 77: ") for line in said)
    assert all(line.endswith(" ms old, 25% person, by standin (fallback)") for line in said)


@pytest.mark.skipif(
    not (NODE and (EXAMPLES / "node_modules" / "zeromq").exists()),
    reason="needs node, and zeromq in examples/node_modules (npm install zeromq)",
)
def test_the_javascript_example_reads_every_encoding(repeating: str) -> None:
    said = lines(str(NODE), EXAMPLES / "subscribe.mjs", repeating, "2")
    assert all(line.endswith(" ms old, 25% person, by standin (fallback)") for line in said)


def golden(kind: str) -> list[tuple[str, str, str]]:
    """(name, message in hex, what a reader says) of the golden masks, or of malformed ones."""
    found = []
    for path in sorted(VECTORS.glob("*.json")):
        meaning = json.loads(path.read_text("utf-8"))
        if meaning["kind"] != kind or meaning.get("read_as", "mask") != "mask":
            continue
        says = "none"
        if kind == "mask":
            header = meaning["header"]
            labels = ",".join(str(label) for row in meaning["labels"] for label in row)
            size = f"{header['width']}x{header['height']}"
            says = (
                f"{header['sequence']} {size} {str(header['fallback']).lower()} {header['backend']} {labels}"
            )
        found.append((path.stem, "".join(path.with_suffix(".hex").read_text("ascii").split()), says))
    return found


#: A reader of masks need not look at the topic that it subscribed to, nor at the backend's letters.
OTHERS_CHECK = ("malformed-topic", "malformed-backend")


def agrees(command: list[str]) -> None:
    """``command`` reads messages in hex from its input and says what each of them is."""
    vectors = golden("mask") + [v for v in golden("malformed") if not v[0].startswith(OTHERS_CHECK)]
    assert len(vectors) > 20
    text = "\n".join(message for _, message, _ in vectors) + "\n"
    out = subprocess.run(command, input=text, capture_output=True, text=True, timeout=20, check=False)
    assert out.returncode == 0, out.stderr
    said = dict(zip([name for name, _, _ in vectors], out.stdout.splitlines(), strict=True))
    assert said == {name: says for name, _, says in vectors}


@pytest.mark.skipif(not NODE, reason="needs node")
def test_the_javascript_reader_agrees_with_the_golden_messages(tmp_path: Path) -> None:
    source = (EXAMPLES / "subscribe.mjs").read_text("utf-8")
    start = source.index("export function parse")
    (tmp_path / "check.mjs").write_text(
        source[start : source.index("\n}\n", start) + 3]
        + """
import {readFileSync} from "node:fs"
for (const line of readFileSync(0, "latin1").split("\\n").slice(0, -1)) {
  const mask = parse(Buffer.from(line, "hex"))
  const labels = []
  for (let y = 0; y < (mask?.height ?? 0); y++)
    for (let x = 0; x < mask.width; x++) labels.push(mask.label(x, y))
  const size = `${mask?.width}x${mask?.height}`
  console.log(mask ? `${mask.sequence} ${size} ${mask.fallback} ${mask.backend} ${labels}` : "none")
}
""",
        "utf-8",
    )
    agrees([str(NODE), str(tmp_path / "check.mjs")])


@pytest.mark.skipif(not RUSTC, reason="needs rustc")
def test_the_rust_reader_agrees_with_the_golden_messages(tmp_path: Path) -> None:
    (tmp_path / "check.rs").write_text(
        f'#[path = "{EXAMPLES / "rust" / "src" / "mask.rs"}"]\nmod mask;\n'
        + """
fn main() {
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let bytes: Vec<u8> = (0..line.len() / 2)
            .map(|i| u8::from_str_radix(&line[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let Some(mask) = mask::Mask::parse(&bytes) else { println!("none"); continue };
        let labels: Vec<String> = (0..mask.height)
            .flat_map(|y| (0..mask.width).map(move |x| (x, y)))
            .map(|(x, y)| mask.label(x, y).to_string())
            .collect();
        let size = format!("{}x{}", mask.width, mask.height);
        println!("{} {size} {} {} {}", mask.sequence, mask.fallback, mask.backend, labels.join(","));
    }
}
""",
        "utf-8",
    )
    lines(str(RUSTC), "--edition", "2021", tmp_path / "check.rs", "-o", tmp_path / "check")
    agrees([str(tmp_path / "check")])

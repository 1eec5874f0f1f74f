"""The C++ header: it reads what is sent, refuses what is not, and stops a robot, under the sanitizers."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_publisher import FakeDaemon, person

ROOT = Path(__file__).parents[2]
CPP = ROOT / "cpp"
VECTORS = ROOT / "tests" / "vectors" / "messages"
FLAGS = [
    "-std=c++17",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
]
LIMIT_S = 60


#: Somebody's own program.
PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(user LANGUAGES CXX)
find_package(gnetseg 0.1 REQUIRED)
add_executable(user user.cpp)
target_link_libraries(user gnetseg::gnetseg)
"""
PROGRAM = """
#include <gnetseg/client.hpp>
int main() { return gnetseg::topic("mask", "cam0").size() != 16; }
"""


def built(name: str, folder: Path) -> str:
    out = folder / name
    source = CPP / "examples" / f"{name}.cpp"
    subprocess.run(
        ["c++", *FLAGS, f"-I{CPP / 'include'}", source, "-o", out, "-lzmq"], check=True, timeout=200
    )
    return str(out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cpp")


def golden() -> list[tuple[str, str, str]]:
    """(name, message in hex, what it is) of all masks, and of all that a reader of masks refuses."""
    found = []
    for path in sorted(VECTORS.glob("*.json")):
        meaning = json.loads(path.read_text("utf-8"))
        kind, says = meaning["kind"], "none"
        if kind == "mask":
            header = meaning["header"]
            labels = ",".join(str(label) for row in meaning["labels"] for label in row)
            size, fallback = f"{header['width']}x{header['height']}", str(header["fallback"]).lower()
            says = f"{header['sequence']} {size} {fallback} {header['backend']} {labels}"
        found.append((path.stem, "".join(path.with_suffix(".hex").read_text("ascii").split()), says))
    return found


def test_it_agrees_with_every_golden_message(folder: Path) -> None:
    vectors = golden()
    assert sum(says != "none" for _, _, says in vectors) > 10
    text = "\n".join(message for _, message, _ in vectors) + "\n"
    done = subprocess.run(
        [built("vectors", folder)], input=text, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    said = dict(zip([name for name, _, _ in vectors], done.stdout.splitlines(), strict=True))
    assert said == {name: says for name, _, says in vectors}


def test_damaged_messages_hurt_nothing(folder: Path) -> None:
    random, program = np.random.default_rng(1), built("vectors", folder)
    lines = []
    for _, message, _ in golden():
        for _ in range(40):
            damaged = bytearray(bytes.fromhex(message))
            for place in random.integers(0, max(1, len(damaged)), 3):
                if damaged:
                    damaged[place] = random.integers(256)
            lines.append(
                bytes(
                    damaged[: random.integers(len(damaged) + 1)] if random.random() < 0.3 else damaged
                ).hex()
            )
    done = subprocess.run(
        [program], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(lines)


def test_a_robot_stops_for_a_person_and_for_silence_and_goes_when_the_way_is_clear(
    folder: Path, ipc_endpoint: str
) -> None:
    clear = np.zeros((48, 64), np.uint8)
    daemon = FakeDaemon(ipc_endpoint, labels=clear)
    robot: Any = subprocess.Popen(
        [built("stop_zone", folder), ipc_endpoint, "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = threading.Timer(LIMIT_S, robot.kill)
    limit.start()
    try:
        assert robot.stdout.readline() == "STOP: no daemon has answered yet\n"
        daemon.start()
        assert robot.stdout.readline() == "GO: the way is clear\n"
        daemon._labels = person(64, 48)
        assert robot.stdout.readline() == "STOP: somebody is in the way\n"
        daemon._labels = clear
        assert robot.stdout.readline() == "GO: the way is clear\n"
        daemon._status.update(state="no-camera", reason="it was pulled")
        assert robot.stdout.readline() == "STOP: it was pulled\n"
        daemon._status.clear()
        assert robot.stdout.readline() == "GO: the way is clear\n"
        daemon.stop()
        assert robot.stdout.readline().startswith("STOP: the newest mask's picture is")
    finally:
        limit.cancel()
        robot.kill()
        _, errors = robot.communicate()
    assert errors == "", "the sanitizers say nothing"


def test_it_is_found_by_cmake_where_it_is_installed(tmp_path: Path) -> None:
    def cmake(*words: Any) -> None:
        done = subprocess.run(["cmake", *words], capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    cmake("-S", CPP, "-B", tmp_path / "build", "-DGNETSEG_EXAMPLES=OFF")
    cmake("--install", tmp_path / "build", "--prefix", tmp_path / "usr")
    user = tmp_path / "user"
    user.mkdir()
    (user / "CMakeLists.txt").write_text(PROJECT)
    (user / "user.cpp").write_text(PROGRAM)
    cmake("-S", user, "-B", user / "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'usr'}")
    cmake("--build", user / "build")
    assert subprocess.run([user / "build" / "user"], timeout=LIMIT_S, check=False).returncode == 0

"""A recorder beside a daemon of 190 masks a second with frames: what it loses, what a kill costs.

A real daemon (pattern camera, test network) is recorded for ``--seconds``; then recorders are killed
(``kill -9``) at ``--kills`` random moments; then the first recording is replayed.

``lost``: masks that were sent while it recorded, and are not in the file; ``growth_mb``: of the recorder
after its first seconds; ``seconds_lost_max``: from the last message that a killed recorder left to the kill;
``opened``: killed files that ``replay`` reads as they are, and the ordinary reader of the mcap library after
``recover``, with the same bytes; ``replay_bytes_equal``: every mask and header, but for session and times;
``spacing_ms_p99``: of the replayed masks' sending times against the recorded ones', by the middle shift
between them; ``valid_always``: what the client says of each replayed mask.

    .venv/bin/python tools/bench/record.py --json
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from harness import daemon, finish, percentile

from gnetsegd.client import MaskSubscriber
from gnetsegd.message import HEADER, MaskHeader, parse_header
from gnetsegd.recordings.reading import Recorded, Recording

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "tests" / "data" / "models" / "threshold-224"
FPS = 190
SETTLE_S = 5.0
START_S = 20.0
SHIFTED = ("session", "sensor_timestamp_ns", "publish_timestamp_ns")
LOST_MAX_S, GROWTH_MAX_MB, SPACING_MAX_MS = 1.1, 10.0, 2.0


def recorder(path: Path, endpoint: str, *more: str) -> subprocess.Popen[str]:
    """Returns once it has begun."""
    command = [
        sys.executable,
        "-m",
        "gnetsegd.ctl",
        "record",
        str(path),
        "--endpoint",
        endpoint,
        "--frames",
        *more,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    if not line.startswith("recording"):
        raise RuntimeError(line + process.stderr.read())
    return process


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def recorded(path: Path, endpoint: str, seconds: float) -> dict[str, Any]:
    """The whole recording: nothing lost, nothing grown."""
    process = recorder(path, endpoint)
    time.sleep(min(SETTLE_S, seconds / 2))
    before = resident_mb(process.pid)
    time.sleep(max(0.0, seconds - SETTLE_S))
    grown = resident_mb(process.pid) - before
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=START_S)
    headers = [parse_header(message.data) for message in Recording(path) if message.kind == "mask"]
    frames = {
        int(HEADER.unpack_from(message.data)[12]) for message in Recording(path) if message.kind == "frame"
    }
    first, last = headers[0], headers[-1]
    dropped = sum(getattr(last, name) - getattr(first, name) for name in ("dropped_camera", "dropped_daemon"))
    lost = last.sequence - first.sequence + 1 - dropped - len(headers)
    # At either end one of a pair may have been beyond it.
    lost += len({header.sequence for header in headers[2:-2]} - frames)
    if f"{len(headers)} masks" not in said:
        raise RuntimeError(said)
    return {"lost": lost, "masks": len(headers), "growth_mb": round(grown, 1)}


def killed(folder: Path, endpoint: str, times: int) -> dict[str, Any]:
    """At a random moment each, some seconds into the file."""
    lost_s, opened = [], 0
    for number in range(times):
        path = folder / f"killed-{number}.mcap"
        process = recorder(path, endpoint)
        time.sleep(random.uniform(1.5, 3.5))
        at_ns = time.time_ns()
        process.kill()
        process.communicate()
        there = list(Recording(path))
        lost_s.append((at_ns - max(message.publish_ns for message in there)) / 1e9)
        opened += replays(path) and opens_after_recover(path, there)
        path.unlink()
    return {"seconds_lost_max": round(max(lost_s), 2), "opened": opened, "killed": times}


def replays(path: Path) -> bool:
    """Whether ``replay`` reads it as it is."""
    command = [sys.executable, "-m", "gnetsegd.ctl", "replay", str(path), "--now", "--rate", "100"]
    endpoint = f"ipc://{path}.sock"
    done = subprocess.run(
        [*command, "--endpoint", endpoint], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode == 0 and "messages sent" in done.stderr and "has no end" in done.stderr


def opens_after_recover(path: Path, there: list[Recorded]) -> bool:
    from mcap.reader import make_reader

    command = [sys.executable, "-m", "gnetsegd.ctl", "recover", str(path)]
    if subprocess.run(command, capture_output=True, check=False, timeout=60).returncode:
        return False
    with path.open("rb") as file:
        found = make_reader(file, validate_crcs=True).iter_messages(log_time_order=False)
        return [item.data for _, _, item in found] == [message.data for message in there]


def told(message: Recorded) -> tuple[int, tuple[MaskHeader, int]]:
    """Its number, its header, and a checksum of its labels, which are bytes."""
    header = parse_header(message.data)
    return header.sequence, (header, zlib.crc32(message.data[header.payload_offset :]))


def replayed(path: Path, folder: Path) -> dict[str, Any]:
    """By a reader of every mask."""
    endpoint = f"ipc://{folder}/replay.sock"
    command = [sys.executable, "-m", "gnetsegd.ctl", "replay", str(path), "--endpoint", endpoint]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    original = dict(told(message) for message in Recording(path) if message.kind == "mask")
    equal, valid, shifts_ns = True, True, []
    ended = threading.Event()
    try:
        with MaskSubscriber(endpoint, newest_only=False) as masks:
            threading.Thread(target=lambda: (process.wait(), ended.set()), daemon=True).start()
            count = 0
            while count < len(original) and not (ended.is_set() and (mask := masks.receive(0.5)) is None):
                mask = masks.receive(0.5)
                if mask is None:
                    continue
                count += 1
                header, checksum = original[mask.sequence]
                equal &= zlib.crc32(mask.labels.tobytes()) == checksum
                equal &= mask.header.latency_ns == header.latency_ns
                equal &= replace(mask.header, **{name: getattr(header, name) for name in SHIFTED}) == header
                shifts_ns.append(mask.publish_timestamp_ns - header.publish_timestamp_ns)
                # The first status comes within a second.
                if count > FPS:
                    valid &= masks.valid
    finally:
        process.terminate()
        process.communicate()
    # Against one shift of all: a mask that is late, and one that has drifted away, both show.
    middle_ns = statistics.median(shifts_ns)
    apart_ms = [abs(shift_ns - middle_ns) / 1e6 for shift_ns in shifts_ns]
    return {
        "replayed": count,
        "replay_bytes_equal": equal and count == len(original),
        "spacing_ms_p99": round(percentile(apart_ms, 0.99), 2),
        "valid_always": valid,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the recording")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--fps", type=float, default=FPS)
    given = parser.parse_args()
    settings = (
        "camera.driver=pattern",
        f"camera.fps={given.fps}",
        "accelerator.driver=standin",
        f"model.bundle={BUNDLE}",
        "publish.frames=true",
        "publish.send_hwm_messages=1000",
    )
    result: dict[str, Any] = {"bench": "record"}
    with tempfile.TemporaryDirectory(prefix="gnetseg-record-") as name:
        folder = Path(name)
        with daemon(*settings) as running:
            result |= recorded(folder / "whole.mcap", running.endpoint, given.seconds)
            result |= killed(folder, running.endpoint, given.kills)
        result |= replayed(folder / "whole.mcap", folder)
    result["holds"] = (
        result["lost"] == 0
        and result["growth_mb"] <= GROWTH_MAX_MB
        and result["seconds_lost_max"] <= LOST_MAX_S
        and result["opened"] == result["killed"]
        and result["replay_bytes_equal"]
        and result["valid_always"]
        and result["spacing_ms_p99"] <= SPACING_MAX_MS
    )
    finish(result, given.json)
    return 0 if result["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())

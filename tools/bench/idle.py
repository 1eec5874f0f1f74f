"""What a daemon costs while nobody listens: awake against watched, and asleep.

The shipped network on the stand-in, pattern camera at 30 frames a second. ``unwatched_ratio``: CPU time
awake with nobody subscribed, over that with one reader, in alternating windows of the same run (median,
pair by pair). ``asleep_core`` and ``asleep_wakeups_s``: CPU seconds and voluntary context switches of all
threads, each a second, after the camera has gone to sleep. That it was awake and asleep is checked by the
camera's frames in ``status``, asked for before and after the windows.

    .venv/bin/python tools/bench/idle.py --json
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

sys.path.insert(0, str(Path(__file__).parent))
from harness import Daemon, daemon, finish, spread

from gnetsegd.message import parse_json

FPS = 30
#: After each change the daemon gets so long to follow, in s.
SETTLE_S = 2.0
#: A long pause for the awake part; a short one, so that the asleep part need not wait for it.
AWAKE_LINGER_S, ASLEEP_LINGER_S = 3600, 1


def processes(pid: int) -> list[int]:
    """``pid`` and its children's, and theirs."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += processes(int(child))
    return found


def cpu_s(pid: int) -> float:
    """CPU time so far of all threads, in s, to the nanosecond; of children as well."""
    # clock_getcpuclockid(3), as Linux makes it of a process's number: CPUCLOCK_SCHED is 2.
    return sum(time.clock_gettime(~process << 3 | 2) for process in processes(pid))


def wakeups(pid: int) -> int:
    """Voluntary context switches so far of all threads that live."""
    return sum(
        int(line.split()[1])
        for process in processes(pid)
        for task in Path(f"/proc/{process}/task").iterdir()
        for line in (task / "status").read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches:")
    )


def status(running: Daemon, timeout_s: float = 10.0) -> dict[str, Any]:
    """The next ``status``; asking for it must wake nothing."""
    with zmq.Context() as context, context.socket(zmq.SUB) as reader:
        reader.setsockopt(zmq.LINGER, 0)
        reader.setsockopt(zmq.SUBSCRIBE, b"status/")
        reader.connect(running.endpoint)
        if not reader.poll(timeout_s * 1000):
            running.check()
            raise RuntimeError(f"no status came within {timeout_s:g} s")
        return parse_json(reader.recv())[2]


def camera_fps(running: Daemon, seconds: float) -> float:
    """Frames a second that the camera gives, from two statuses."""
    first = status(running)
    time.sleep(seconds)
    second = status(running)
    elapsed_s = (second["timestamp_ns"] - first["timestamp_ns"]) / 1e9
    return float((second["counters"]["frames"] - first["counters"]["frames"]) / elapsed_s)


@contextlib.contextmanager
def reader_of_masks(endpoint: str) -> Iterator[None]:
    """Reads every mask while it lasts; ``RuntimeError`` at its end if too few came."""
    stop, masks = threading.Event(), [0]
    began = time.monotonic()

    def read() -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as reader:
            reader.setsockopt(zmq.SUBSCRIBE, b"mask/")
            reader.connect(endpoint)
            while not stop.is_set():
                if reader.poll(50):
                    reader.recv()
                    masks[0] += 1

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    fps = masks[0] / (time.monotonic() - began)
    if fps < FPS / 3:
        raise RuntimeError(f"only {fps:.1f} masks came a second while it was watched")


def core(running: Daemon, seconds: float) -> float:
    """Cores that it takes, over so long."""
    time.sleep(SETTLE_S)
    pid = running.process.pid
    began, before = time.monotonic(), cpu_s(pid)
    time.sleep(seconds)
    return (cpu_s(pid) - before) / (time.monotonic() - began)


def settings(linger_s: float) -> list[str]:
    return [
        "camera.driver=pattern", f"camera.fps={FPS}", "accelerator.driver=standin",
        "idle.rest=true", "idle.sleep=true", f"idle.linger_s={linger_s}",
    ]  # fmt: skip


def wait_until_ready(running: Daemon) -> None:
    """Until it is idle or runs: its start is not measured."""
    deadline = time.monotonic() + 30
    while status(running)["state"] not in ("running", "idle"):
        if time.monotonic() > deadline:
            raise RuntimeError("the daemon neither runs nor idles after 30 s")
        time.sleep(0.2)


def awake(pairs: int, seconds: float, say: bool) -> tuple[list[float], list[float]]:
    """(cores while watched, cores while awake and unwatched), window by window."""
    watched, unwatched = [], []
    with daemon(*settings(AWAKE_LINGER_S)) as running:
        wait_until_ready(running)
        for number in range(pairs):
            with reader_of_masks(running.endpoint):
                watched.append(core(running, seconds))
            unwatched.append(core(running, seconds))
            if say:
                words = f"watched {watched[-1]:.4f} cores, unwatched {unwatched[-1]:.4f}"
                print(f"pair {number + 1}: {words}", flush=True)
        fps = camera_fps(running, 2.0)
        if fps < FPS / 2:
            raise RuntimeError(f"the camera gave {fps:.1f} frames a second: it was not awake")
    return watched, unwatched


def asleep(seconds: float) -> tuple[float, float]:
    """(cores, wake-ups a second) of a daemon whose camera sleeps."""
    with daemon(*settings(ASLEEP_LINGER_S)) as running:
        wait_until_ready(running)
        time.sleep(ASLEEP_LINGER_S + 2 * SETTLE_S)
        pid = running.process.pid
        before, cores_before, began = wakeups(pid), cpu_s(pid), time.monotonic()
        time.sleep(seconds)
        elapsed_s = time.monotonic() - began
        woken, cores = (wakeups(pid) - before) / elapsed_s, (cpu_s(pid) - cores_before) / elapsed_s
        state, fps = status(running)["state"], camera_fps(running, 2.0)
        if state != "idle" or fps > 1:
            raise RuntimeError(f"state {state}, {fps:.1f} camera frames a second: it was not asleep")
    return cores, woken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each window")
    parser.add_argument("--asleep-seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    watched, unwatched = awake(options.pairs, options.seconds, not options.json)
    cores, woken = asleep(options.asleep_seconds)
    ratios = [idle / busy for idle, busy in zip(unwatched, watched, strict=True)]
    finish(
        {
            "bench": "idle",
            "watched_core": spread(watched),
            "unwatched_core": spread(unwatched),
            "unwatched_ratio_spread": spread(ratios),
            "unwatched_ratio": round(statistics.median(ratios), 4),
            "asleep_wakeups_s": round(woken, 2),
            "asleep_core": round(cores, 5),
        },
        options.json,
    )


if __name__ == "__main__":
    main()

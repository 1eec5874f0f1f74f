"""What one router carries: masks of many machines that one process plays, at rising rates. Needs root.

Each machine is a Zenoh session of its own with a token and a publisher of masks (224x224, 1 bit). Router and
listener are in one network namespace, the machines in another. For each rate: ``sent``; ``received_ratio``;
``wrong`` (not believed, or out of order); ``router_core``, ``listener_core``: of one core; ``router_mb``.
``ready_s``: until all machines' tokens had come.

    sudo .venv/bin/python tools/bench/fleet_carry.py --machines 200 --json
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from fleet import cpu_s
from fleet_network import HUB, HUB_ADDRESS, Network, end, spawn
from harness import finish

RATES_HZ = (250, 1000, 2000, 4000, 8000)
READY_S, SETTLE_S = 120.0, 2.0


def crowd(machines: int, rate_hz: int) -> None:
    """Open, tell, and send until SIGTERM; then tell how many masks were sent."""
    import zenoh

    from gnetsegd.frame import MaskFormat
    from gnetsegd.message import HEADER_SIZE, MaskHeader, pack_header
    from gnetsegd.services.fleet import link
    from gnetsegd.services.fleet.config import LinkConfig

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    form = MaskFormat(224, 224, 1, 2)
    payload = bytes(form.size_bytes)
    kept, publishers = [], []
    for number in range(machines):
        session = link.open_session(LinkConfig(connect=[f"tcp/{HUB_ADDRESS}:7447"]))
        kept += [session, session.liveliness().declare_token(f"gnetseg/r{number}/cam0")]
        publishers.append(session.declare_publisher(
            f"gnetseg/r{number}/cam0/mask", congestion_control=zenoh.CongestionControl.DROP,
            priority=zenoh.Priority.DATA_LOW,
        ))  # fmt: skip
    print("ready", flush=True)
    begun, sent = time.monotonic(), 0
    # One at a time, as from machines that know nothing of each other.
    while not stop.wait(1 / rate_hz):
        due = int((time.monotonic() - begun) * rate_hz)
        while sent < due:
            now = time.monotonic_ns()
            header = MaskHeader(
                "cam0", form, sent // machines, 7, now, now, 0, 0, "standin", bytes(16), False,
                HEADER_SIZE, form.size_bytes,
            )  # fmt: skip
            publishers[sent % machines].put(pack_header(header) + payload)
            sent += 1
    time.sleep(1.0)  # what is on its way
    print(json.dumps({"sent": sent}), flush=True)
    del kept


def listener(machines: int) -> None:
    """Hear all machines; then until SIGTERM, and tell what came."""
    from gnetsegd.services.fleet import link
    from gnetsegd.services.fleet.config import LinkConfig
    from gnetsegd.services.fleet.fleet import Fleet

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    session = link.open_session(LinkConfig(connect=[f"tcp/{HUB_ADDRESS}:7447"]))
    fleet = Fleet(session)
    print("ready", flush=True)
    while sum(one.alive for one in fleet.cameras()) < machines and not stop.wait(0.05):
        pass
    print("all", flush=True)
    stop.wait()
    seen = fleet.cameras()
    wrong = sum(one.wrong for one in seen) + fleet.nonsense
    print(json.dumps({"masks": sum(one.masks for one in seen), "wrong": wrong}), flush=True)
    fleet.close()
    session.close()


def _role(namespace: str, *arguments: str) -> subprocess.Popen[bytes]:
    return spawn(namespace, *arguments, stdout=subprocess.PIPE)


def _line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _memory_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()
    return round(int(fields[0]) / 1e3, 1)


def measure(machines: int, rate_hz: int, seconds: float, hub: subprocess.Popen[bytes], field: str) -> Any:
    here = str(Path(__file__))
    options = ("--machines", str(machines), "--rate", str(rate_hz))
    hears = _role(HUB, here, "--role", "listener", *options)
    sends: subprocess.Popen[bytes] | None = None
    guard = threading.Timer(READY_S, hears.kill)
    guard.start()
    try:
        _line(hears)
        begun = time.monotonic()
        sends = _role(field, here, "--role", "crowd", *options)
        if _line(sends) != b"ready" or _line(hears) != b"all":
            raise RuntimeError(f"{machines} machines did not come within {READY_S:g} s")
        ready_s = time.monotonic() - begun
        guard.cancel()
        time.sleep(SETTLE_S)
        before, begun = [cpu_s(process.pid) for process in (hub, hears)], time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - begun
        cores = [
            (cpu_s(process.pid) - was) / took_s for process, was in zip((hub, hears), before, strict=True)
        ]
        memory_mb = _memory_mb(hub.pid)
        sends.terminate()
        sent = json.loads(_line(sends))["sent"]
        hears.terminate()
        heard = json.loads(_line(hears))
    finally:
        guard.cancel()
        end([process for process in (sends, hears) if process is not None and process.poll() is None])
    return {
        "rate_hz": rate_hz,
        "sent": sent,
        "received_ratio": round(heard["masks"] / max(1, sent), 4),
        "wrong": heard["wrong"],
        "router_core": round(cores[0], 3),
        "listener_core": round(cores[1], 3),
        "router_mb": memory_mb,
        "ready_s": round(ready_s, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each rate")
    parser.add_argument("--role", choices=("crowd", "listener"), help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "crowd":
        crowd(given.machines, given.rate)
        return 0
    if given.role == "listener":
        listener(given.machines)
        return 0
    if os.geteuid():
        sys.exit("network namespaces need root: sudo .venv/bin/python tools/bench/fleet_carry.py")
    rates = []
    with Network(1, 0) as network:
        script = str(Path(__file__).with_name("fleet.py"))
        hub = _role(HUB, script, "--role", "router", "--address", HUB_ADDRESS)
        try:
            _line(hub)
            for rate_hz in RATES_HZ:
                rates.append(measure(given.machines, rate_hz, given.seconds, hub, network.names[0]))
        finally:
            end([hub])
    result = {"bench": "fleet carry", "machines": given.machines, "rates": rates}
    result["holds"] = all(not one["wrong"] for one in rates)
    finish(result, given.json)
    return 0 if result["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())

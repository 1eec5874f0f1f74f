"""A fleet on one router: daemons in network namespaces, lossy, one link slow, one cut, one daemon killed.

Every machine is a network namespace with a daemon (pattern camera, 5 masks a second, test network) and
``gnetsegctl zenoh``; another one has the router and the collector, which records. 5 % of the packets of
every machine are lost (nftables), one link has 1 Mbit/s (tbf), one is cut for 10 s, and one daemon is
killed. Needs root.

``received_ratio``: of the masks that were made; ``age_p99_ms``: at the collector, since the exposure;
``wrong``: masks twice, out of order or not believed; ``uncounted_gaps``: masks missing that no counter tells
of; ``killed_told_s``, ``cut_told_s``, ``healed_s``: until the collector was told; ``router_core``,
``collector_core``: of one core; ``mcap_channels``: of the recording, which the mcap library opens.

    sudo .venv/bin/python tools/bench/fleet.py --cameras 50 --json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from harness import finish, percentile

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "tests" / "data" / "models" / "threshold-224"
FPS, LOSS_PERCENT, SLOW, CUT_S = 5, 5, "1mbit", 10.0
HUB = "gnetseg-hub"
ROUTER = "tcp/10.77.0.1:7447"
START_S, SETTLE_S, TOLD_S = 240.0, 10.0, 20.0


def run(*commands: str, check: bool = True) -> None:
    for command in commands:
        subprocess.run(command.split(), check=check, capture_output=True)


class Network:
    """A bridge in a namespace of its own, and a namespace for each machine on it."""

    def __init__(self, count: int) -> None:
        self.names = [f"gnetseg-{number}" for number in range(count)]

    def __enter__(self) -> Network:
        self.__exit__()
        hub = f"ip -n {HUB}"
        run(
            f"ip netns add {HUB}", f"{hub} link set lo up", f"{hub} link add br0 type bridge",
            f"{hub} addr add 10.77.0.1/16 dev br0", f"{hub} link set br0 up",
        )  # fmt: skip
        for number, name in enumerate(self.names):
            here, there = f"ip -n {name}", f"v{number}"
            run(
                f"ip netns add {name}",
                f"ip link add {there} netns {HUB} type veth peer name eth0 netns {name}",
                f"{hub} link set {there} master br0 up",
                f"{here} link set lo up",
                f"{here} addr add 10.77.{1 + number // 200}.{1 + number % 200}/16 dev eth0",
                f"{here} link set eth0 up",
                f"ip netns exec {name} nft add table inet b",
            )
            chain = f"ip netns exec {name} nft add chain inet b o".split()
            subprocess.run([*chain, "{ type filter hook output priority 0; }"], check=True)
            run(f"ip netns exec {name} nft add rule inet b o numgen random mod 100 < {LOSS_PERCENT} drop")
        return self

    def slow(self, name: str) -> None:
        run(f"ip netns exec {name} tc qdisc add dev eth0 root tbf rate {SLOW} burst 32kbit latency 400ms")

    def cut(self, name: str, cut: bool) -> None:
        run(f"ip -n {name} link set eth0 {'down' if cut else 'up'}")

    def __exit__(self, *_: object) -> None:
        for name in (*self.names, HUB):
            run(f"ip netns del {name}", check=False)


def spawn(namespace: str, *command: str, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, *command], stdin=subprocess.DEVNULL, **more
    )


def end(processes: list[subprocess.Popen[bytes]], number: int = signal.SIGTERM) -> None:
    for process in processes:
        process.send_signal(number)
    deadline = time.monotonic() + 20
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def router() -> None:
    """The role of the router: Zenoh's own, in a Python process."""
    import zenoh

    config = zenoh.Config()
    for key, value in {
        "mode": "router", "listen/endpoints": [ROUTER], "scouting/multicast/enabled": False,
        "transport/link/tx/lease": 2500, "transport/link/tx/keep_alive": 4,
    }.items():  # fmt: skip
        config.insert_json5(key, json.dumps(value))
    session = zenoh.open(config)
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
    session.close()


def collector(path: Path) -> None:
    """Its role: tell events as they come, and at the end what was seen."""
    from gnetsegd.recordings.writing import RecordingWriter
    from gnetsegd.services.fleet import link
    from gnetsegd.services.fleet.config import LinkConfig
    from gnetsegd.services.fleet.fleet import Fleet
    from gnetsegd.services.fleet.run import FleetWriter

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ages_ms: list[float] = []
    firsts: dict[str, Any] = {}
    session = link.open_session(LinkConfig(connect=[ROUTER]))
    writer = FleetWriter(RecordingWriter(path))

    def take(host: str, kind: str, camera: str, data: bytes) -> None:
        if kind == "mask":
            from gnetsegd.message import parse_header

            header = parse_header(data)
            firsts.setdefault(host, header)
            # One clock for all of this machine's namespaces.
            ages_ms.append((time.monotonic_ns() - header.sensor_timestamp_ns) / 1e6)
        writer.take(host, kind, camera, data)

    fleet = Fleet(session, take)
    thread = threading.Thread(target=writer.write, args=(stop, None))
    thread.start()
    while not stop.is_set():
        for event in fleet.events():
            print(json.dumps({"what": event.what, "host": event.host, "at": event.at}), flush=True)
        stop.wait(0.02)
    thread.join()
    seen = fleet.cameras()
    uncounted = 0
    for one in seen:
        first, last = firsts.get(one.host), one.header
        if first is None or last is None or first.session != last.session:
            continue
        dropped = sum(
            getattr(last, key) - getattr(first, key) for key in ("dropped_camera", "dropped_daemon")
        )
        uncounted += abs(last.sequence - first.sequence + 1 - one.masks - dropped - one.lost)
    print(json.dumps({
        "masks": {one.host: one.masks for one in seen}, "lost": {one.host: one.lost for one in seen},
        "wrong": sum(one.wrong for one in seen) + fleet.nonsense, "uncounted_gaps": uncounted,
        "ages_ms": ages_ms, "unwritten": writer.lost,
    }), flush=True)  # fmt: skip
    fleet.close()
    session.close()


class Told:
    """What the collector says, as it says it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.events: list[dict[str, Any]] = []
        self.result: dict[str, Any] = {}
        self._stdout = process.stdout
        self._came = threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self._stdout is not None
        for line in self._stdout:
            with self._came:
                body = json.loads(line)
                if "what" in body:
                    self.events.append(body)
                else:
                    self.result = body
                self._came.notify_all()

    def wait_for(self, what: str, host: str, since: float, limit_s: float = TOLD_S) -> float:
        """Seconds from ``since`` until that was told."""

        def found() -> float | None:
            return next(
                (e["at"] for e in self.events if (e["what"], e["host"]) == (what, host) and e["at"] >= since),
                None,
            )

        with self._came:
            if not self._came.wait_for(lambda: found() is not None, limit_s):
                raise RuntimeError(f"{host} {what} was not told within {limit_s:g} s")
            at = found()
        assert at is not None
        return round(at - since, 3)

    def wait_for_all(self, count: int, limit_s: float) -> None:
        with self._came:
            if not self._came.wait_for(lambda: len({e["host"] for e in self.events}) >= count, limit_s):
                raise RuntimeError(f"{len({e['host'] for e in self.events})} of {count} cameras came")


def measure(count: int, seconds: float, folder: Path) -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
    quiet = {"stdout": subprocess.DEVNULL, "env": environment}
    daemons: list[subprocess.Popen[bytes]] = []
    bridges: list[subprocess.Popen[bytes]] = []
    with Network(count) as network, contextlib.ExitStack() as stack:
        hub = spawn(HUB, __file__, "--role", "router", stdout=subprocess.PIPE, env=environment)
        stack.callback(lambda: end([hub]))
        assert hub.stdout is not None
        if hub.stdout.readline() != b"ready\n":
            raise RuntimeError("the router does not start; pip install 'gnetsegd[zenoh]'")
        path = folder / "fleet.mcap"
        listener = spawn(HUB, __file__, "--role", "collector", "--file", str(path), stdout=subprocess.PIPE,
                         env=environment)  # fmt: skip
        stack.callback(lambda: end([listener]))
        told = Told(listener)
        stack.callback(lambda: end(bridges))
        stack.callback(lambda: end(daemons))
        network.slow(network.names[-3])
        for number, name in enumerate(network.names):
            endpoint = f"ipc://{folder}/{number}.sock"
            log = stack.enter_context((folder / f"{number}.log").open("wb"))
            settings = (
                f'publish.endpoints=["{endpoint}"]', "camera.driver=pattern", f"camera.fps={FPS}",
                "accelerator.driver=standin", "accelerator.standin.threads=1", f"model.bundle={BUNDLE}",
            )  # fmt: skip
            options = [word for setting in settings for word in ("--set", setting)]
            daemons.append(spawn(name, "-m", "gnetsegd", "run", *options, stderr=log, **quiet))
            settings = (
                f'zenoh.connect=["{ROUTER}"]', f'zenoh.host="{name}"', f'send.endpoints=["{endpoint}"]',
                "send.mask_hz=1000", "send.presence_hz=0",
            )  # fmt: skip
            options = [word for setting in settings for word in ("--set", setting)]
            bridges.append(spawn(name, "-m", "gnetsegd.ctl", "zenoh", *options, stderr=log, **quiet))
            if number % 5 == 4:
                time.sleep(2.0)  # not all at once: two cores start them
        told.wait_for_all(count, START_S)
        time.sleep(SETTLE_S)
        before = [cpu_s(process.pid) for process in (hub, listener)]
        begun = time.monotonic()
        time.sleep(seconds)
        spent = [cpu_s(process.pid) - was for process, was in zip((hub, listener), before, strict=True)]
        took_s = time.monotonic() - begun
        killed, cut = network.names[-1], network.names[-2]
        since = time.monotonic()
        daemons[-1].kill()
        result = {"killed_told_s": told.wait_for("lost", killed, since)}
        since = time.monotonic()
        network.cut(cut, True)
        result["cut_told_s"] = told.wait_for("lost", cut, since)
        time.sleep(max(0.0, since + CUT_S - time.monotonic()))
        since = time.monotonic()
        network.cut(cut, False)
        result["healed_s"] = told.wait_for("here", cut, since)
        time.sleep(3.0)
        end([listener])
        told.thread.join(10)
    found = told.result
    steady = [name for name in network.names if name not in (killed, cut)]
    received, lost = (sum(found[key].get(name, 0) for name in steady) for key in ("masks", "lost"))
    return {
        "cameras": len(found["masks"]),
        "masks": received,
        "received_ratio": round(received / max(1, received + lost), 4),
        "age_p99_ms": round(percentile(found["ages_ms"], 0.99), 1),
        "wrong": found["wrong"] + found["unwritten"],
        "uncounted_gaps": found["uncounted_gaps"],
        **result,
        "router_core": round(spent[0] / took_s, 3),
        "collector_core": round(spent[1] / took_s, 3),
        "mcap_channels": channels(path),
        "mcap_mb": round(path.stat().st_size / 1e6, 1),
    }


def channels(path: Path) -> int:
    """As the ordinary reader of the mcap library has them."""
    from mcap.reader import make_reader

    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    return len(summary.channels) if summary is not None else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument("--cameras", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the steady part")
    parser.add_argument("--role", choices=("router", "collector"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "router":
        router()
        return 0
    if given.role == "collector":
        collector(given.file)
        return 0
    if os.geteuid():
        sys.exit("network namespaces need root: sudo .venv/bin/python tools/bench/fleet.py")
    if given.cameras < 4:
        sys.exit("--cameras: one is killed, one is cut, one is slow; take 4 or more")
    with tempfile.TemporaryDirectory(prefix="gnetseg-fleet-") as name:
        result = {"bench": "fleet", **measure(given.cameras, given.seconds, Path(name))}
    result["holds"] = (
        result["cameras"] == given.cameras
        and not result["wrong"]
        and not result["uncounted_gaps"]
        and result["killed_told_s"] <= 2
        and result["cut_told_s"] <= 5
        and result["healed_s"] <= 5
        and result["mcap_channels"] == 3 * given.cameras
    )
    finish(result, given.json)
    return 0 if result["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())

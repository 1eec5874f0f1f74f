"""A fleet on one router: daemons in network namespaces, lossy, one link slow, one cut, one daemon killed.

Every machine is a network namespace with a daemon (pattern camera, 5 masks a second, test network) and
``gnetsegctl zenoh``; another one has the router and the collector, which records. 5 % of the packets that
arrive anywhere are lost (nftables), one link has 1 Mbit/s (tbf), one is cut for 10 s, and one daemon is
killed. A reader of the daemons' own sockets knows what was made. Needs root.

``received_ratio``: of the masks that were made; ``age_p99_ms``: at the collector, since the exposure;
``wrong``: masks twice, out of order, not believed, never made, or with other pixels than the daemon's;
``uncounted_gaps``: masks that are missing and not counted, or the reverse; ``judged``: masks of the recording
that were compared; ``killed_told_s``, ``cut_told_s``, ``healed_s``: until the collector was told;
``router_core``, ``collector_core``: of one core; ``sent_bytes_per_s``: by each machine, on its wire;
``mcap_channels``: of the recording, which the mcap library opens.

    sudo .venv/bin/python tools/bench/fleet.py --cameras 50 --json

``--modes`` measures instead what one camera sends in each mode, without losses, how old its masks are where
the link is full (99 of 100), and what a hop more adds:

    sudo .venv/bin/python tools/bench/fleet.py --modes --json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import fleet_roles
from fleet_judge import judge, recorded
from fleet_network import HUB, HUB_ADDRESS, SITE, SITE_ADDRESS, Network, end, spawn
from harness import finish, percentile

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "tests" / "data" / "models" / "threshold-224"
FPS, LOSS_PERCENT, CUT_S = 5, 5, 10.0
START_S, SETTLE_S, TOLD_S = 240.0, 10.0, 20.0
#: What a camera sends: name, its frames a second, settings of ``gnetsegctl zenoh``.
MODES: dict[str, tuple[int, tuple[str, ...]]] = {
    "status_and_info": (5, ("send.presence_hz=0",)),
    "presence_2hz": (5, ("send.presence_hz=2",)),
    "masks_1_bit_5hz": (5, ("send.presence_hz=0", "send.mask_hz=1000", "send.mask_bits=1")),
    "masks_1_bit_30hz": (30, ("send.presence_hz=0", "send.mask_hz=1000", "send.mask_bits=1")),
    "masks_8_bits_5hz": (5, ("send.presence_hz=0", "send.mask_hz=1000", "send.mask_bits=8")),
    "masks_8_bits_30hz": (30, ("send.presence_hz=0", "send.mask_hz=1000", "send.mask_bits=8")),
    # More than its link of 1 Mbit/s carries.
    "full_link": (30, ("send.presence_hz=2", "send.mask_hz=1000", "send.mask_bits=8")),
}
#: By then a mask is no longer taken for one of now (docs/messages.md).
FULL_LINK_AGE_MS = 3000


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Told:
    """What the collector says, as it says it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.events: list[dict[str, Any]] = []
        self.result: dict[str, Any] = {}
        self._process = process
        self._came = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
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

    def end(self) -> dict[str, Any]:
        """End it, and have what it has seen."""
        end([self._process])
        self._thread.join(20)
        return self.result


class Machines:
    """The processes, in their namespaces. All are ended with the block, the last first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[subprocess.Popen[bytes]] = []
        self._started: list[subprocess.Popen[bytes]] = []
        self._stack = contextlib.ExitStack()
        self._environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}

    def __enter__(self) -> Machines:
        return self

    def __exit__(self, *_: object) -> None:
        end([process for process in reversed(self._started) if process.poll() is None])
        self._stack.close()

    def role(self, namespace: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A process of ``fleet_roles``; routers and the truth are waited for."""
        process = spawn(
            namespace, __file__, "--role", *arguments, stdout=subprocess.PIPE, env=self._environment
        )
        self._started.append(process)
        assert process.stdout is not None
        if arguments[0] != "collector" and process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the {arguments[0]} does not start; pip install 'gnetsegd[zenoh]'")
        return process

    def machine(self, number: int, name: str, router: str, fps: int, settings: tuple[str, ...]) -> None:
        """A daemon and its bridge."""
        endpoint = f"ipc://{self.folder}/{number}.sock"
        log = self._stack.enter_context((self.folder / f"{number}.log").open("wb"))
        daemon = (
            f'publish.endpoints=["{endpoint}"]', "camera.driver=pattern", f"camera.fps={fps}",
            "accelerator.driver=standin", "accelerator.standin.threads=1", f"model.bundle={BUNDLE}",
        )  # fmt: skip
        bridge = (
            f'zenoh.connect=["tcp/{router}:7447"]', f'zenoh.host="{name}"', f'send.endpoints=["{endpoint}"]',
            *settings,
        )  # fmt: skip
        for command, given in (("gnetsegd", "run"), daemon), (("gnetsegd.ctl", "zenoh"), bridge):
            options = [word for setting in given for word in ("--set", setting)]
            process = spawn(
                name, "-m", *command, *options, stdout=subprocess.DEVNULL, stderr=log, env=self._environment
            )
            self._started.append(process)
            if command[0] == "gnetsegd":
                self.daemons.append(process)


def measure(count: int, seconds: float, folder: Path) -> dict[str, Any]:
    path = folder / "fleet.mcap"
    with Network(count, LOSS_PERCENT) as network, Machines(folder) as machines:
        truth = machines.role(HUB, "truth", "--folder", str(folder), "--cameras", str(count))
        hub = machines.role(HUB, "router", "--address", HUB_ADDRESS)
        listener = machines.role(HUB, "collector", "--address", HUB_ADDRESS, "--file", str(path))
        told = Told(listener)
        *usual, slow, cut, killed = network.names
        network.slow(slow)
        for number, name in enumerate(network.names):
            machines.machine(number, name, HUB_ADDRESS, FPS, ("send.mask_hz=1000", "send.presence_hz=0"))
            if number % 5 == 4:
                time.sleep(2.0)  # not all at once: two cores start them
        told.wait_for_all(count, START_S)
        time.sleep(SETTLE_S)
        before = [cpu_s(process.pid) for process in (hub, listener)]
        sent = sum(map(network.sent_bytes, usual))
        begun = time.monotonic()
        time.sleep(seconds)
        spent = [cpu_s(process.pid) - was for process, was in zip((hub, listener), before, strict=True)]
        sent = sum(map(network.sent_bytes, usual)) - sent
        took_s = time.monotonic() - begun
        since = time.monotonic()
        machines.daemons[-1].kill()
        result = {"killed_told_s": told.wait_for("lost", killed, since)}
        since = time.monotonic()
        network.cut(cut, True)
        result["cut_told_s"] = told.wait_for("lost", cut, since)
        time.sleep(max(0.0, since + CUT_S - time.monotonic()))
        since = time.monotonic()
        network.cut(cut, False)
        result["healed_s"] = told.wait_for("here", cut, since)
        time.sleep(3.0)
        found = told.end()
        truth.terminate()
        assert truth.stdout is not None
        made = {host: {tuple(key): labels for key, labels in masks}
                for host, masks in json.loads(truth.stdout.readline()).items()}  # fmt: skip
    received, channels = recorded(path)
    verdict = judge(made, received, found["lost"])
    steady = (*usual, slow)
    came, lost = (sum(found[key].get(name, 0) for name in steady) for key in ("masks", "lost"))
    return {
        "cameras": len(found["masks"]),
        "masks": came,
        "received_ratio": round(came / max(1, came + lost), 4),
        "age_p99_ms": round(percentile([age for _, _, age in found["ages"]], 0.99), 1),
        "wrong": found["wrong"] + found["unwritten"] + verdict.wrong,
        "uncounted_gaps": verdict.uncounted_gaps,
        "judged": verdict.judged,
        "different_masks": len({labels for masks in made.values() for labels in masks.values()}),
        **result,
        "router_core": round(spent[0] / took_s, 3),
        "collector_core": round(spent[1] / took_s, 3),
        "sent_bytes_per_s": round(sent / took_s / len(usual)),
        "mcap_channels": channels,
        "mcap_mb": round(path.stat().st_size / 1e6, 1),
    }


def measure_modes(seconds: float, folder: Path) -> dict[str, Any]:
    """Bytes a second of a machine in each mode, on its wire; what a hop more adds to a mask's age."""
    with Network(len(MODES), 0, site=True) as network, Machines(folder) as machines:
        machines.role(HUB, "router", "--address", HUB_ADDRESS)
        machines.role(SITE, "router", "--address", SITE_ADDRESS, "--above", HUB_ADDRESS)
        far = Told(machines.role(HUB, "collector", "--address", HUB_ADDRESS, "--file", f"{folder}/far.mcap"))
        near = Told(
            machines.role(SITE, "collector", "--address", SITE_ADDRESS, "--file", f"{folder}/near.mcap")
        )
        full = network.names[-1]
        network.slow(full)
        for number, (name, (fps, settings)) in enumerate(zip(network.names, MODES.values(), strict=True)):
            machines.machine(number, name, SITE_ADDRESS, fps, settings)
        for told in (far, near):
            told.wait_for_all(len(MODES), START_S)
        time.sleep(SETTLE_S)
        sent = [network.sent_bytes(name) for name in network.names]
        begun = time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - begun
        rates = [
            (network.sent_bytes(name) - was) / took_s for name, was in zip(network.names, sent, strict=True)
        ]
        ages = [{(host, sequence): age for host, sequence, age in told.end()["ages"]} for told in (far, near)]
    # The first ones come while the link is not yet full.
    waited = [age for (host, _), age in ages[0].items() if host == full][10:]
    hops = [age - ages[1][key] for key, age in ages[0].items() if key in ages[1]]
    return {
        "bytes_per_s": {mode: round(rate) for mode, rate in zip(MODES, rates, strict=True)},
        "full_link_age_ms_p50": round(percentile(waited, 0.5), 1),
        "full_link_age_ms_p99": round(percentile(waited, 0.99), 1),
        "hop_ms_p50": round(percentile(hops, 0.5), 2),
        "hop_ms_p99": round(percentile(hops, 0.99), 2),
        "hops": len(hops),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument("--cameras", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the steady part")
    parser.add_argument("--modes", action="store_true", help="what a camera sends, by mode")
    parser.add_argument("--role", choices=("router", "collector", "truth"), help=argparse.SUPPRESS)
    for name in ("--address", "--above", "--file", "--folder"):
        parser.add_argument(name, default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "router":
        fleet_roles.router(given.address, given.above)
        return 0
    if given.role == "collector":
        fleet_roles.collector(given.address, Path(given.file))
        return 0
    if given.role == "truth":
        fleet_roles.truth(Path(given.folder), [f"gnetseg-{number}" for number in range(given.cameras)])
        return 0
    if os.geteuid():
        sys.exit("network namespaces need root: sudo .venv/bin/python tools/bench/fleet.py")
    if given.cameras < 4:
        sys.exit("--cameras: one is killed, one is cut, one is slow; take 4 or more")
    with tempfile.TemporaryDirectory(prefix="gnetseg-fleet-") as name:
        if given.modes:
            result = {"bench": "fleet modes", **measure_modes(given.seconds, Path(name))}
            result["holds"] = result["full_link_age_ms_p99"] <= FULL_LINK_AGE_MS
            finish(result, given.json)
            return 0 if result["holds"] else 1
        result = {"bench": "fleet", **measure(given.cameras, given.seconds, Path(name))}
    result["holds"] = (
        result["cameras"] == given.cameras
        and not result["wrong"]
        and not result["uncounted_gaps"]
        and result["judged"] > 0
        and result["killed_told_s"] <= 2
        and result["cut_told_s"] <= 5
        and result["healed_s"] <= 5
        and result["mcap_channels"] == 3 * given.cameras
    )
    finish(result, given.json)
    return 0 if result["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())

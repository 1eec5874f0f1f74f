"""Machines of a fleet as network namespaces on one bridge: lossy, slow or cut as asked. Needs root."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import Any

HUB, SITE = "gnetseg-hub", "gnetseg-site"
HUB_ADDRESS, SITE_ADDRESS = "10.77.0.1", "10.77.0.2"
SLOW = "1mbit"


def run(*commands: str, check: bool = True) -> None:
    for command in commands:
        subprocess.run(command.split(), check=check, capture_output=True)


class Network:
    """A bridge in a namespace of its own (``HUB``), and a namespace for each machine on it.

    Of what arrives, at the hub and at each machine, ``loss_percent`` is dropped before TCP sees it. (Dropped
    where it is sent, the kernel would know, and send it again at once.) ``site``: one machine more, ``SITE``.
    """

    def __init__(self, count: int, loss_percent: int, site: bool = False) -> None:
        self.names = [f"gnetseg-{number}" for number in range(count)]
        self._loss_percent = loss_percent
        self._site = site

    def __enter__(self) -> Network:
        self.__exit__()
        hub = f"ip -n {HUB}"
        run(
            f"ip netns add {HUB}", f"{hub} link set lo up", f"{hub} link add br0 type bridge",
            f"{hub} addr add {HUB_ADDRESS}/16 dev br0", f"{hub} link set br0 up",
        )  # fmt: skip
        self._lose(HUB, "br0")
        for number, name in enumerate(self.names):
            self._add(name, f"v{number}", f"10.77.{1 + number // 200}.{1 + number % 200}")
        if self._site:
            self._add(SITE, "vs", SITE_ADDRESS)
        return self

    def _add(self, name: str, there: str, address: str) -> None:
        run(
            f"ip netns add {name}",
            f"ip link add {there} netns {HUB} type veth peer name eth0 netns {name}",
            f"ip -n {HUB} link set {there} master br0 up",
            f"ip -n {name} link set lo up",
            f"ip -n {name} addr add {address}/16 dev eth0",
            f"ip -n {name} link set eth0 up",
        )
        self._lose(name, "eth0")

    def _lose(self, name: str, interface: str) -> None:
        if not self._loss_percent:
            return
        nft = f"ip netns exec {name} nft add"
        run(f"{nft} table inet b")
        chain = f"{nft} chain inet b i".split()
        subprocess.run([*chain, "{ type filter hook input priority 0; }"], check=True)
        run(f"{nft} rule inet b i iif {interface} numgen random mod 100 < {self._loss_percent} drop")

    def slow(self, name: str) -> None:
        run(f"ip netns exec {name} tc qdisc add dev eth0 root tbf rate {SLOW} burst 32kbit latency 400ms")

    def cut(self, name: str, cut: bool) -> None:
        run(f"ip -n {name} link set eth0 {'down' if cut else 'up'}")

    def sent_bytes(self, name: str) -> int:
        """What the machine has sent so far, Ethernet's own bytes included."""
        found = subprocess.check_output(["ip", "-n", name, "-s", "-j", "link", "show", "eth0"])
        return int(json.loads(found)[0]["stats64"]["tx"]["bytes"])

    def __exit__(self, *_: object) -> None:
        for name in (*self.names, HUB, SITE):
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

"""The processes of tools/bench/fleet.py beside daemons and ``gnetsegctl zenoh``; each is told by its name."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import zmq
from fleet_judge import digest

from gnetsegd.message import parse_header

#: More than a daemon makes while the reader of the truth waits for a core.
TRUTH_MESSAGES = 10_000


def _stop() -> threading.Event:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    return stop


def router(address: str, above: str) -> None:
    """Zenoh's own, in a Python process; ``above``: another router that it connects to, or empty."""
    import zenoh

    stop = _stop()
    config = zenoh.Config()
    for key, value in {
        "mode": "router", "listen/endpoints": [f"tcp/{address}:7447"], "scouting/multicast/enabled": False,
        # Namespaces of one machine share it: nothing would go over the network.
        "transport/shared_memory/enabled": False,
        "transport/link/tx/lease": 2500, "transport/link/tx/keep_alive": 4,
        "connect/endpoints": [f"tcp/{above}:7447"] if above else [],
    }.items():  # fmt: skip
        config.insert_json5(key, json.dumps(value))
    session = zenoh.open(config)
    print("ready", flush=True)
    stop.wait()
    session.close()


def collector(address: str, path: Path) -> None:
    """Records; tells events as they come, and at the end what it has seen."""
    from gnetsegd.recordings.writing import RecordingWriter
    from gnetsegd.services.fleet import link
    from gnetsegd.services.fleet.config import LinkConfig
    from gnetsegd.services.fleet.fleet import Fleet
    from gnetsegd.services.fleet.run import FleetWriter

    stop = _stop()
    ages: list[tuple[str, int, float]] = []
    session = link.open_session(LinkConfig(connect=[f"tcp/{address}:7447"]))
    writer = FleetWriter(RecordingWriter(path))

    def take(host: str, kind: str, camera: str, data: bytes) -> None:
        if kind == "mask":
            header = parse_header(data)
            # One clock for all of this machine's namespaces.
            age_ms = (time.monotonic_ns() - header.sensor_timestamp_ns) / 1e6
            ages.append((host, header.sequence, round(age_ms, 3)))
        writer.take(host, kind, camera, data)

    fleet = Fleet(session, take)

    def write() -> None:
        while not stop.is_set():
            writer.write()

    thread = threading.Thread(target=write)
    thread.start()
    while not stop.is_set():
        for event in fleet.events():
            print(json.dumps({"what": event.what, "host": event.host, "at": event.at}), flush=True)
        stop.wait(0.02)
    thread.join()
    fleet.close()
    writer.finish()
    seen = fleet.cameras()
    print(json.dumps({
        "masks": {one.host: one.masks for one in seen}, "lost": {one.host: one.lost for one in seen},
        "wrong": sum(one.wrong for one in seen) + fleet.nonsense, "ages": ages, "unwritten": writer.no_room,
    }), flush=True)  # fmt: skip
    session.close()


def truth(folder: Path, hosts: list[str]) -> None:
    """Every mask that the daemons send, read beside the bridges on the machine itself."""
    stop = _stop()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets, poller = dict[zmq.Socket[bytes], str](), zmq.Poller()
    made: dict[str, list[Any]] = {host: [] for host in hosts}
    for number, host in enumerate(hosts):
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, TRUTH_MESSAGES)
        socket.setsockopt(zmq.RECONNECT_IVL, 10)  # ms: before the first mask
        socket.setsockopt(zmq.SUBSCRIBE, b"mask/cam0".ljust(16, b"\0"))
        socket.connect(f"ipc://{folder}/{number}.sock")
        poller.register(socket, zmq.POLLIN)
        sockets[socket] = host
    print("ready", flush=True)
    while not stop.is_set():
        for socket, _ in poller.poll(200):
            made[sockets[socket]].append(digest(socket.recv()))
    context.destroy(linger=0)
    print(json.dumps(made), flush=True)

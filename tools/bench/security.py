"""Strangers on the network get no mask, those who are permitted lose none, who is revoked gets nothing more.

A daemon runs at 30 masks a second (pattern camera, a one-layer network) on ipc and on TCP with keys, which
``gnetsegctl keys`` makes. Two clients are permitted, and one reads on this machine. Strangers are processes
of their own, on the same cores. Then one client is revoked, and another one added, by the same commands.

masks_leaked        masks that any stranger got
permitted_ratio     masks a second of a permitted client while strangers try, by masks a second before; the
                    lowest of all strangers
growth_mb           the daemon's peak of resident memory while strangers try, less its memory before
masks_after_revoke  masks that the revoked client got after the command's answer
longest_gap_s       the longest time without a mask, for the client that stays, around the revocation
local_gap_s         the same for the reader on this machine
add_s               from the answer of the command that permits a client to its first mask
refusals_told       whether the journal tells why strangers were refused
lines               of the log, in all
tries               2 if the first measurement was not as promised; these are the second's

    .venv/bin/python tools/bench/security.py --json
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import zmq

from gnetsegd.client import client_config, subscribe

sys.path.insert(0, str(Path(__file__).parent))
from harness import Daemon, finish

MODEL = str(Path(__file__).parents[2] / "tests" / "data" / "models" / "threshold-224")
FPS = 30
WINDOW_S = 2.5
START_LIMIT_S = 40.0
COMMAND_LIMIT_S = 20.0
#: Of one attempt to make all connections of garbage.
CONNECTS = 10_000
CONNECTS_LIMIT_S = 30.0
HALVES = 50
#: The first 20 bytes of ZMTP 3.1 with the mechanism CURVE, of 64.
HALF_GREETING = b"\xff" + bytes(8) + b"\x7f\3\1" + b"CURVE\0\0\0"
CONNECT_TIMEOUT_S = 0.2


class Reader(threading.Thread):
    """Takes every mask in, and remembers when it came."""

    def __init__(self, **reach: Any) -> None:
        super().__init__(daemon=True)
        self.times_s: list[float] = []
        self.stop = False
        self._reach = reach
        self.start()

    def run(self) -> None:
        with zmq.Context() as context:
            made = subscribe(kind="mask", newest_only=False, context=context, **self._reach)
            while not self.stop:
                if made.poll(50):
                    made.recv()
                    self.times_s.append(time.monotonic())
            made.close(linger=0)

    def rate(self, begin: float, end: float) -> float:
        return sum(begin <= at < end for at in [*self.times_s]) / (end - begin)

    def gap_s(self, begin: float, end: float) -> float:
        marks = [begin, *(at for at in [*self.times_s] if begin < at < end), end]
        return max(b - a for a, b in pairwise(marks))

    def wait(self, running: Daemon) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not self.times_s:
            running.check()
            if time.monotonic() > deadline:
                raise RuntimeError("no mask came")
            time.sleep(0.02)


# -- strangers: each tries for a while, and gives the masks that it got ---------------------------------


def _listen(made: Any, endpoint: str, seconds: float) -> int:
    made.setsockopt(zmq.LINGER, 0)
    made.setsockopt(zmq.SUBSCRIBE, b"")
    made.connect(endpoint)
    end, got = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        if made.poll(left * 1000):
            made.recv()
            got += 1
    made.close()
    return got


def no_key(known: dict[str, Any], seconds: float) -> int:
    return _listen(zmq.Context.instance().socket(zmq.SUB), known["endpoint"], seconds)


def plain(known: dict[str, Any], seconds: float) -> int:
    made = zmq.Context.instance().socket(zmq.SUB)
    made.plain_username, made.plain_password = b"robot", b"robot"
    return _listen(made, known["endpoint"], seconds)


def own_key(known: dict[str, Any], seconds: float) -> int:
    made = zmq.Context.instance().socket(zmq.SUB)
    made.curve_publickey, made.curve_secretkey = zmq.curve_keypair()
    made.curve_serverkey = known["server_key"]
    return _listen(made, known["endpoint"], seconds)


def wrong_server_key(known: dict[str, Any], seconds: float) -> int:
    made = zmq.Context.instance().socket(zmq.SUB)
    made.curve_publickey, made.curve_secretkey = known["public_key"], known["secret_key"]
    made.curve_serverkey, _ = zmq.curve_keypair()
    return _listen(made, known["endpoint"], seconds)


def revoked_key(known: dict[str, Any], seconds: float) -> int:
    made = zmq.Context.instance().socket(zmq.SUB)
    made.curve_publickey, made.curve_secretkey = known["public_key"], known["secret_key"]
    made.curve_serverkey = known["server_key"]
    return _listen(made, known["endpoint"], seconds)


def _connect(known: dict[str, Any]) -> socket.socket:
    host, _, port = known["endpoint"].removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S)


def half_handshake(known: dict[str, Any], seconds: float) -> int:
    """Connections that never go on, and what comes back on them beyond a greeting of 64 bytes."""
    halves = []
    for _ in range(HALVES):
        with suppress(OSError):
            halves.append(_connect(known))
            halves[-1].sendall(HALF_GREETING)
    time.sleep(seconds)
    got = 0
    for half in halves:
        half.setblocking(False)
        with suppress(OSError):
            got += len(half.recv(1 << 16)) > 64
        half.close()
    return got


def garbage(known: dict[str, Any], _seconds: float) -> int:
    end, got = time.monotonic() + CONNECTS_LIMIT_S, 0
    for number in range(CONNECTS):
        if time.monotonic() > end:
            break
        with suppress(OSError), _connect(known) as made:
            made.sendall(bytes([number & 0xFF]) * 300)
            made.setblocking(False)
            with suppress(BlockingIOError):
                got += len(made.recv(1 << 16)) > 64
    return got


STRANGERS: dict[str, Callable[[dict[str, Any], float], int]] = {
    "no key": no_key,
    "PLAIN": plain,
    "own key": own_key,
    "wrong server key": wrong_server_key,
    "revoked key": revoked_key,
    "half handshake": half_handshake,
    "garbage": garbage,
}


def try_stranger(name: str, client_file: Path) -> tuple[float, float, int]:
    """(begin, end, masks) of a stranger in a process of its own."""
    command = [sys.executable, __file__, "--stranger", name, "--client", str(client_file)]
    begin = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=CONNECTS_LIMIT_S + START_LIMIT_S
    )
    return begin, time.monotonic(), int(done.stdout)


# -- the daemon and its keys ------------------------------------------------------------------------------


class Place:
    """A configuration, and ``gnetsegctl keys`` for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "gnetsegd.toml"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        keys = folder / "keys"
        self.endpoints = [f"ipc://{folder}/masks.sock", f"tcp://127.0.0.1:{port}"]
        self.settings = {
            "curve_secret_key_file": f"{keys}/daemon.key_secret",
            "curve_authorized_keys_dir": f"{keys}/clients",
        }
        given = "\n".join(f'{name} = "{value}"' for name, value in self.settings.items())
        self.config.write_text(f"[publish]\nendpoints = {self.endpoints}\n{given}\n".replace("'", '"'))

    def keys(self, *arguments: str) -> str:
        command = [
            sys.executable,
            "-m",
            "gnetsegd.ctl.main",
            "keys",
            *arguments,
            "--config",
            str(self.config),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_LIMIT_S)
        if done.returncode:
            raise RuntimeError(f"gnetsegctl keys {arguments}: {done.stderr}")
        return done.stdout

    def client(self, name: str) -> Path:
        file = self.folder / f"{name}.toml"
        file.write_text(self.keys("show-client-config", name, "--host", "127.0.0.1"))
        return file

    def start(self) -> Daemon:
        settings = [
            "camera.driver=pattern", f"camera.fps={FPS}", "accelerator.driver=standin",
            "accelerator.standin.threads=1", f"model.bundle={MODEL}",
            f"publish.endpoints={self.endpoints}".replace("'", '"'),
            *(f"publish.{name}={value}" for name, value in self.settings.items()),
        ]  # fmt: skip
        return Daemon(self.folder, settings)


def measure(place: Place) -> dict[str, Any]:
    place.keys("init")
    for name in ("robot", "arm", "gone"):
        place.keys("add", name)
    robot, arm, gone = (place.client(name) for name in ("robot", "arm", "gone"))
    place.keys("revoke", "gone")
    running = place.start()
    readers: list[Reader] = []
    try:
        readers += [Reader(**client_config(robot)), Reader(**client_config(arm))]
        readers.append(Reader(endpoint=place.endpoints[0]))
        for reader in readers:
            reader.wait(running)
        result = strangers(running, readers[1], gone)
        return {**result, **revocation(running, place, *readers), **told(running)}
    finally:
        for reader in readers:
            reader.stop = True
        running.stop()
        for reader in readers:
            reader.join()


def strangers(running: Daemon, permitted: Reader, client_file: Path) -> dict[str, Any]:
    start = time.monotonic()
    time.sleep(WINDOW_S)
    before = permitted.rate(start, start + WINDOW_S)
    memory_mb = running.memory_mb()
    Path(f"/proc/{running.process.pid}/clear_refs").write_text("5")  # VmHWM begins anew
    leaked, ratios = 0, {}
    for name in STRANGERS:
        begin, end, got = try_stranger(name, client_file)
        running.check()
        leaked += got
        ratios[name] = round(permitted.rate(begin, end) / before, 3)
    return {
        "masks_leaked": leaked,
        "permitted_ratio": min(ratios.values()),
        "permitted_ratios": ratios,
        "growth_mb": round(max(0.0, running.memory_mb("VmHWM") - memory_mb), 1),
    }


def revocation(running: Daemon, place: Place, robot: Reader, arm: Reader, local: Reader) -> dict[str, Any]:
    begin = time.monotonic()
    time.sleep(WINDOW_S)
    place.keys("revoke", "robot")
    answered = time.monotonic()
    time.sleep(WINDOW_S)
    end = time.monotonic()
    running.check()
    public, secret = zmq.curve_keypair()
    reach = client_config(place.folder / "arm.toml") | {"public_key": public, "secret_key": secret}
    place.keys("add", "late", "--public", public.decode())
    added = time.monotonic()
    late = Reader(**reach)
    late.wait(running)
    late.stop = True
    late.join()
    return {
        "masks_after_revoke": sum(at > answered for at in robot.times_s),
        "longest_gap_s": round(arm.gap_s(begin, end), 3),
        "local_gap_s": round(local.gap_s(begin, end), 3),
        "add_s": round(late.times_s[0] - added, 2),
    }


def told(running: Daemon) -> dict[str, Any]:
    lines = Path(running.log.name).read_text().splitlines()
    refusals = [line for line in lines if " was refused: " in line]
    return {"refusals_told": any("is not permitted" in line for line in refusals), "lines": len(lines)}


def holds(result: dict[str, Any]) -> bool:
    """Whether it is as promised."""
    return (
        result["masks_leaked"] == result["masks_after_revoke"] == 0
        and result["permitted_ratio"] >= 0.9
        and result["growth_mb"] <= 10
        and max(result["longest_gap_s"], result["local_gap_s"]) <= 0.5
        and bool(result["refusals_told"])
    )


def once() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="gs") as folder:
        return measure(Place(Path(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--stranger", choices=STRANGERS, help=argparse.SUPPRESS)
    parser.add_argument("--client", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stranger:
        print(STRANGERS[options.stranger](client_config(options.client), WINDOW_S))
        return
    result = {**once(), "tries": 1}
    if not holds(result):  # the machine may be shared
        result = {**once(), "tries": 2}
    finish({"bench": "security", **result, "holds": holds(result)}, options.json)


if __name__ == "__main__":
    main()

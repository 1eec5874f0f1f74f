"""``gnetsegctl bench``: what this machine makes of its network, in one line to paste into docs/boards.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..client import NoData
from ..errors import ConfigError, GnetsegError, PermanentError
from ..text import clean
from . import board
from .doctor.machine import Machine
from .session import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: A daemon of one's own has to load its network first.
START_S = 60.0
STOP_S = 5.0
#: Masks that come before are those of a camera that has just woken.
SETTLE_S = 1.0
WAIT_S = 0.2
COLUMNS = (
    "board", "kernel", "runtime", "network", "threads", "camera", "FPS", "p50 ms", "p99 ms", "W", "held back",
)  # fmt: skip


class Wish(NamedTuple):
    """``own``: a daemon of its own in any case; ``settings`` of that one, as for ``gnetsegd run``."""

    seconds: float
    own: bool
    settings: Sequence[str]


def bench(target: Target, wish: Wish, named: bool, as_json: bool) -> None:
    """Measure and print. ``named``: the person said which daemon, so no other one will do.

    ``ConfigError`` for a daemon over the network, ``PermanentError`` where no mask can be had.
    """
    if not target.endpoint.startswith("ipc://"):
        raise ConfigError(
            f"{clean(target.endpoint)} may be another machine's daemon, and the board is this one; "
            "run it there", os.EX_USAGE,
        )  # fmt: skip
    machine = Machine()
    if not wish.own and (named or _answers(target)):
        found = measure(target, wish.seconds, machine)
    else:
        with _own_daemon(wish.settings) as own:
            found = measure(own, wish.seconds, machine)
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo("| " + " | ".join(COLUMNS) + " |")
    click.echo("|" + "---|" * len(COLUMNS))
    click.echo(line(found))


def measure(target: Target, seconds: float, machine: Machine) -> dict[str, Any]:
    """Masks for ``seconds`` from a running daemon, and what they were made with.

    Latency is from the picture's exposure to the reader, in ms. ``PermanentError`` if no mask comes.
    """
    with target.subscribe(newest_only=False) as masks:
        target.first_status(masks)
        _wait_for_masks(target, masks)
        ages_s: list[float] = []
        begin = time.monotonic()
        while (left := begin + seconds - time.monotonic()) > 0:
            mask = masks.receive(min(left, WAIT_S))
            if mask is not None:
                ages_s.append(mask.age_s)
        took_s = time.monotonic() - begin
        status, info = masks.status(START_S), masks.info()
    if not ages_s or status is None or info is None:
        raise PermanentError(f"the masks stopped within {took_s:.0f} s; gnetsegctl status may say why")
    ages_s.sort()
    drawn = board.watts(machine)
    return {
        "board": board.name(machine),
        "kernel": board.kernel(),
        "version": clean(info["version"]),
        "runtime": clean(info.get("runtime", "")),
        "backend": clean(info["backend"]),
        "network": clean(info["model"]["id"]),
        "threads": _threads(status["accelerator"]) if info["backend"] == "standin" else None,
        "camera": clean(status["camera_device"]["driver"]),
        "camera_fps": info["fps_nominal"],
        "seconds": round(took_s, 1),
        "masks": len(ages_s),
        "fps": round(len(ages_s) / took_s, 2),
        "latency_p50_ms": round(ages_s[len(ages_s) // 2] * 1000, 1),
        "latency_p99_ms": round(ages_s[min(len(ages_s) - 1, int(0.99 * len(ages_s)))] * 1000, 1),
        "watts": None if drawn is None else round(drawn, 2),
        "held_back": board.held_back(machine),
    }


def line(found: dict[str, Any]) -> str:
    """A row of docs/boards.md."""
    # Where the camera gives what it can, the processor may have more in it.
    camera = f"{found['camera']}, {found['camera_fps']:g} FPS" if found["camera_fps"] else found["camera"]
    cells = (
        found["board"], found["kernel"], found["runtime"] or found["backend"], found["network"],
        found["threads"], camera, f"{found['fps']:.1f}", f"{found['latency_p50_ms']:.0f}",
        f"{found['latency_p99_ms']:.0f}", found["watts"], found["held_back"],
    )  # fmt: skip
    return "| " + " | ".join("" if cell is None else str(cell).replace("|", "/") for cell in cells) + " |"


def _threads(told: dict[str, Any]) -> Any:
    """Of the stand-in, which tells itself or is told of by the accelerator that it stands in for."""
    return told.get("fallback", told).get("threads")


def _answers(target: Target) -> bool:
    """Whether a daemon is there. One that may not be read is an error, not another daemon's turn."""
    try:
        with target.look() as subscriber:
            target.first_status(subscriber)
    except GnetsegError as error:
        if getattr(error, "exit_code", None) == os.EX_NOPERM:
            raise
        return False
    return True


def _wait_for_masks(target: Target, masks: Any) -> None:
    deadline = time.monotonic() + max(target.timeout_s, SETTLE_S)
    settled = None
    for mask in masks.follow():
        now = time.monotonic()
        if not isinstance(mask, NoData):
            settled = now + SETTLE_S if settled is None else settled
            if now >= settled:
                return
        elif now >= deadline:
            raise PermanentError(f"no mask came: {mask}; with --own it measures without a camera")


@contextmanager
def _own_daemon(settings: Sequence[str]) -> Iterator[Target]:
    """A daemon on the pattern camera as fast as it can, with the configuration that nobody has written."""
    with tempfile.TemporaryDirectory(prefix="gnetsegctl-") as name:
        folder = Path(name)
        (folder / "own.toml").touch()
        endpoint = f"ipc://{folder}/masks.sock"
        command = [sys.executable, "-m", "gnetsegd", "run", "--config", str(folder / "own.toml")]
        # The newest frame is taken: a camera somewhat faster than the network makes no queue.
        for setting in (
            "camera.driver=pattern", "camera.pattern.rate=max", *settings,
            f'publish.endpoints=["{endpoint}"]', "publish.send_hwm_messages=100",
        ):  # fmt: skip
            command += ["--set", setting]
        environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        try:
            _wait_for_socket(process, folder)
            yield Target(endpoint, "cam0", START_S)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_socket(process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while not (folder / "masks.sock").exists():
        if process.poll() is not None:
            lines = (folder / "log").read_text("utf-8", "replace").strip().splitlines()
            words = clean(lines[-1], 400) if lines else "it ended without a word"
            raise PermanentError(f"a daemon of its own did not start: {words}")
        if time.monotonic() > deadline:
            raise PermanentError(f"a daemon of its own was not there within {START_S:.0f} s")
        time.sleep(WAIT_S)

"""The show of ``make demo``: a daemon, a real clip, and a subscriber that says what it sees.

The last line of its output is one JSON object. Exit code: the daemon's where that does not start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq
from overlay_video import Pair, write_picture, write_video
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gnetsegd.client import MaskSubscriber, ReceivedMask, subscribe
from gnetsegd.errors import MessageError
from gnetsegd.message import parse_header, unpack_mask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
CLIP = Path(__file__).resolve().parent / "clip.mp4"

START_S = 60.0
STOP_S = 5.0
#: So many of the last pictures go into the film: memory stays small however long the show.
FILM_FRAMES = 300
#: The longest path of a socket, less a little.
SOCKET_PATH_BYTES = 100

CONFIG = """\
[camera]
driver = "video"
fps = 0

[camera.video]
path = {clip}
loop = true

[accelerator]
driver = "standin"

[accelerator.standin]
threads = 1

[publish]
endpoints = [{endpoint}]
frames = true
"""


class Failed(Exception):
    """The show cannot go on; ``code`` is what to exit with."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


class Daemon:
    """gnetsegd in a process of its own, writing what it says to ``folder/daemon.log``."""

    def __init__(self, folder: Path) -> None:
        socket = folder / "masks.sock"
        if len(os.fsencode(socket)) > SOCKET_PATH_BYTES:
            socket = Path(tempfile.mkdtemp(prefix="gnetsegd-demo-")) / "masks.sock"
        self.endpoint = f"ipc://{socket}"
        self.log = folder / "daemon.log"
        config = folder / "demo.toml"
        # JSON's texts are TOML's.
        config.write_text(
            CONFIG.format(clip=json.dumps(str(CLIP)), endpoint=json.dumps(self.endpoint)), "utf-8"
        )
        environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gnetsegd", "run", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=environment,
            )

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def check(self) -> None:
        """``Failed`` with the daemon's last sentence and code if it has ended."""
        code = self._process.poll()
        if code is not None:
            lines = self.log.read_text("utf-8", "replace").strip().splitlines()
            raise Failed(lines[-1] if lines else "gnetsegd ended without a word", code if code > 0 else 70)


class Show:
    """What has been seen so far."""

    def __init__(self) -> None:
        self.masks = 0
        self.ages_s: list[float] = []
        self.share = 0.0
        self.pairs: deque[Pair] = deque(maxlen=FILM_FRAMES)
        self.first: ReceivedMask | None = None
        self.last: ReceivedMask | None = None
        self._first_at = self._last_at = 0.0
        self._recent: deque[float] = deque(maxlen=60)
        self._waiting: dict[int, tuple[NDArray[np.uint8], str]] = {}

    def add_mask(self, mask: ReceivedMask) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first, self._first_at = mask, now
        self.last, self._last_at = mask, now
        self._recent.append(now)
        self.masks += 1
        self.ages_s.append(mask.age_s)
        person = mask.person.astype(np.uint8)
        self.share = float(person.mean())
        age_ms = f"{mask.age_s * 1000:.0f} ms"
        caption = f"gnetsegd · {mask.backend} · frame {mask.sequence} · {age_ms} · {self.share:.0%} person"
        self._waiting[mask.sequence] = person, caption
        if len(self._waiting) > 30:
            del self._waiting[min(self._waiting)]

    def add_picture(self, sequence: int, luminance: NDArray[np.uint8]) -> None:
        """The picture of a mask that came before it."""
        found = self._waiting.pop(sequence, None)
        if found is not None:
            self.pairs.append(Pair(luminance, *found))

    @property
    def fps_now(self) -> float:
        if len(self._recent) < 2:
            return 0.0
        return (len(self._recent) - 1) / (self._recent[-1] - self._recent[0])

    @property
    def fps(self) -> float:
        return (self.masks - 1) / (self._last_at - self._first_at) if self.masks > 1 else 0.0

    def latency_ms(self, percent: float) -> float:
        return float(np.percentile(self.ages_s, percent)) * 1000 if self.ages_s else 0.0

    def dropped(self, missed: int) -> int:
        """Frames without a mask since the first mask, and masks lost on the way."""
        if self.first is None or self.last is None:
            return 0
        first, last = self.first.header, self.last.header
        camera = (last.dropped_camera - first.dropped_camera) & 0xFFFFFFFF
        return camera + ((last.dropped_daemon - first.dropped_daemon) & 0xFFFFFFFF) + missed

    def words(self) -> str:
        return (
            f"{self.fps_now:5.1f} FPS   latency {self.latency_ms(50):4.0f} ms "
            f"(p99 {self.latency_ms(99):.0f})   person {self.share:4.0%}"
        )


def pictures(frames: zmq.Socket[bytes]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(sequence, luminance) of the frame messages that are there."""
    while frames.poll(0):
        data = frames.recv()
        try:
            header = parse_header(data)
        except MessageError:
            continue
        yield header.sequence, unpack_mask(data[header.payload_offset :], header.format)


class Bar:
    """A progress bar with words on a terminal; elsewhere a plain line a second."""

    def __init__(self, console: Console, title: str, total: float) -> None:
        self._console = console
        self._title = title
        self._said = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24, complete_style="cyan"),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=total, words="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, done: float, words: str) -> None:
        self._progress.update(self._task, completed=done, words=words)
        if not self._console.is_terminal and time.monotonic() - self._said >= 1:
            self._said = time.monotonic()
            print(f"{self._title}  {words}", flush=True)


def wait_for_first_mask(daemon: Daemon, subscriber: MaskSubscriber, show: Show) -> dict[str, Any]:
    """The daemon's ``info``, once the first mask is there."""
    deadline = time.monotonic() + START_S
    info = None
    while time.monotonic() < deadline:
        daemon.check()
        if info is None:
            info = subscriber.info(0.05)
            # What came meanwhile has been waiting here, and would count as slow.
            while subscriber.receive(0):
                pass
            continue
        mask = subscriber.receive(0.1)
        if mask is not None:
            show.add_mask(mask)
            return info
    status = subscriber.status()
    reason = f": {status['state']}, {status['reason']}" if status else f"; see {daemon.log}"
    raise Failed(f"no mask came within {START_S:.0f} s{reason}", os.EX_TEMPFAIL)


def watch(daemon: Daemon, seconds: float, console: Console) -> tuple[Show, dict[str, Any], int]:
    """Receive every mask for ``seconds``: (what was seen, info, masks lost on the way)."""
    show = Show()
    with (
        MaskSubscriber(daemon.endpoint, newest_only=False) as subscriber,
        subscribe(daemon.endpoint, "frame", newest_only=False) as frames,
    ):
        info = wait_for_first_mask(daemon, subscriber, show)
        console.print(
            f"[bold]{info['model']['id']}[/] on {CLIP.name}, masks at {daemon.endpoint}", highlight=False
        )
        begun = time.monotonic()
        with Bar(console, "watching", seconds) as bar:
            while (elapsed := time.monotonic() - begun) < seconds:
                mask = subscriber.receive(0.1)
                if mask is None:
                    daemon.check()
                else:
                    show.add_mask(mask)
                for sequence, luminance in pictures(frames):
                    show.add_picture(sequence, luminance)
                bar.update(elapsed, show.words())
            bar.update(seconds, show.words())
        return show, info, subscriber.missed


def write_overlays(show: Show, folder: Path, console: Console) -> None:
    """overlay.mp4 and overlay.png from the pictures that were seen."""
    pairs = list(show.pairs)
    if not pairs:
        raise Failed("masks came, but none of their pictures", os.EX_SOFTWARE)
    # Where a person is about as large as on average, there is something to see.
    shares = np.array([pair.person.mean() for pair in pairs])
    best = int(np.argmin(np.abs(shares - shares.mean())))
    write_picture(folder / "overlay.png", pairs[best])
    with Bar(console, "writing ", len(pairs)) as bar:
        for number in write_video(folder / "overlay.mp4", pairs, show.fps):
            bar.update(number + 1, f"{folder.name}/overlay.mp4, {number + 1} of {len(pairs)} pictures")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run gnetsegd on a clip and show the masks.")
    parser.add_argument("--seconds", type=float, default=os.environ.get("DEMO_SECONDS", "10"))
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "demo")
    arguments = parser.parse_args()
    folder: Path = arguments.output.resolve()
    console = Console()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Daemon(folder) as daemon:
            show, info, missed = watch(daemon, arguments.seconds, console)
        write_overlays(show, folder, console)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return failure.code
    except OSError as error:
        print(
            f"demo: {error.filename or folder}: {error.strerror}; let this user write there", file=sys.stderr
        )
        return os.EX_CANTCREAT
    except KeyboardInterrupt:
        return 130
    print(f"See {folder}/overlay.mp4 and {folder}/overlay.png", flush=True)
    assert show.last is not None
    result = {
        "masks": show.masks,
        "fps": round(show.fps, 2),
        "latency_ms_p50": round(show.latency_ms(50), 2),
        "latency_ms_p99": round(show.latency_ms(99), 2),
        "dropped": show.dropped(missed),
        "backend": show.last.backend,
        "model": info["model"]["id"],
    }
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

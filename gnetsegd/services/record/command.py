"""The commands record, recover and replay: what they say to a person."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ...recordings import RecordingError
from ...recordings.finishing import finish
from ...recordings.naming import free_name
from ...recordings.reading import Recording
from ..saying import say
from ..signals import end_on_signals, stop_on_signals
from . import converting, recorder
from . import replay as replaying
from .recorder import Wish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

__all__ = ["Wish", "convert", "record", "recover", "replay"]


def record(target: Any, file: Path, wish: Wish) -> None:
    """Until Ctrl-C. ``PermanentError`` where no daemon answers, or the file cannot be written."""
    with target.look() as subscriber:
        target.first_status(subscriber)
    path = free_name(file, say)
    stop = stop_on_signals()
    say(f"recording camera {target.camera} into {path}; Ctrl-C ends it")
    keys = {name: getattr(target, name) for name in ("server_key", "public_key", "secret_key")}
    done = recorder.record(path, target.endpoint, target.camera, wish, stop, say, **keys)
    if done.error is None:
        say(
            f"{done.path}: {done.masks} masks, {done.messages} messages, {done.size_bytes / 1e6:.1f} MB in "
            f"{done.seconds:.0f} s, {done.lost} masks lost on the way"
        )
    else:
        say(
            f"{done.path}: {done.masks} masks came in {done.seconds:.0f} s, {done.lost} were lost on the "
            f"way; the file has up to {done.messages} messages, {done.size_bytes / 1e6:.1f} MB"
        )
    if done.lost_frames:
        say(f"{done.lost_frames} frames were lost on the way")
    for wanted, kind, key in ((wish.frames, "frame", "frames"), (wish.pictures, "image", "images")):
        if wanted and kind not in done.kinds:
            say(f"no {kind} came: the daemon sends them with publish.{key} = true")
    if done.no_room:
        say(f"{done.no_room} messages found no room in memory while the disk was waited for")
    if done.nonsense:
        say(f"{done.nonsense} messages were none of gnetsegd's, and are not recorded")
    if done.error is not None:
        raise done.error


def recover(files: Sequence[Path]) -> None:
    """Each of them; exits with the code of the first that is none."""
    code = 0
    for file in files:
        try:
            found = finish(file)
        except RecordingError as error:
            say(str(error))
            code = code or error.exit_code
            continue
        what = "was whole"
        if not found.was_whole:
            what = f"is whole again, without {found.left_out_bytes} bytes at its end"
        if found.damaged:
            what += f" and what is damaged at {found.damaged} places"
        say(f"{file}: {what}; {found.messages} messages")
    sys.exit(code)


def convert(source: Path, target: Path) -> None:
    """``RecordingError`` for a source that is none, and a target that is there or cannot be written."""
    end_on_signals()
    recording = Recording(source)
    done = converting.convert(recording, target)
    say(
        f"{target}: {done.shown} pictures and masks for Foxglove and rerun, {done.painted} of them pictures "
        "with their masks over them, beside the messages as they were"
    )
    if done.unclear:
        say(f"{done.unclear} messages are damaged or of a later version: they are kept, and not shown")
    for words in recording.left_out():
        say(words)
    if done.without:
        say(done.without)


def replay(
    file: Path, rate: float, loop: bool, endpoint: str | None, wait: bool, host: str | None = None
) -> None:
    """Until its end, or Ctrl-C. ``RecordingError`` for a file that is none, and an endpoint that is taken."""
    recording = Recording(file)  # before signals only stop it: its first message may be 100 GB away
    stop = stop_on_signals()
    made = replaying.Replay(recording, replaying.default_endpoint() if endpoint is None else endpoint)
    try:
        say(f"replaying {file} at {made.endpoint}" + ("; it begins with the first reader" if wait else ""))
        if made.is_exposed:
            say("the whole network can read this; tcp://127.0.0.1:PORT is for this machine alone")
        if wait:
            made.wait_for_reader(stop)
        made.play(replaying.Wish(rate, loop, host), stop, say)
        say(f"{made.sent} messages sent")
    finally:
        made.close()

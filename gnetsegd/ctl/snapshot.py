"""``gnetsegctl snapshot``: one mask as a PNG, over its own picture where the daemon sends that."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import zmq

from ..client import ReceivedMask, subscribe
from ..errors import MessageError, PermanentError
from ..files import check_replaceable, write_whole
from ..message import TEXT_CHARACTERS, parse_header, unpack_mask
from ..text import clean
from . import stdout
from .overlay import overlay, palette
from .png import encode_png
from .watch import person_share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..client import MaskSubscriber
    from .session import Target

#: How long to wait for a picture once masks come: the daemon does not say whether it sends them.
PICTURE_WAIT_S = 1.0


def take(target: Target, file: Path) -> None:
    """Write ``file``, or to stdout for ``-``.

    ``PermanentError`` when no mask came in time or it cannot be written.
    """
    _check_output(file)
    with target.subscribe(newest_only=False) as subscriber:
        mask, picture = receive(target, subscriber)
        subscriber.info(min(target.timeout_s, 0.2))
        share = person_share(mask)
    labels = mask.labels
    if picture is not None:
        data, what = encode_png(overlay(picture, labels)), "mask over its picture"
    else:
        # With a palette the pixels of the file are the labels themselves.
        data, what = encode_png(labels, palette(max(2, int(labels.max()) + 1))), "mask"
    said = f"{what}, frame {mask.sequence}, {share} person, by {clean(mask.backend)}"
    if file == stdout.STDOUT:
        stdout.write(data)
        click.echo(said, err=True)
        return
    try:
        write_whole(file, data)
    except OSError as error:
        raise PermanentError(
            f"{_shown(file)}: cannot be written: {error.strerror}; "
            "name a file in a folder that you may write to",
            os.EX_CANTCREAT,
        ) from None
    except ValueError as error:
        raise _no_place(file, error) from None
    click.echo(f"{_shown(file)}: {said}")


def _check_output(file: Path) -> None:
    """``PermanentError`` for what will not be written to, before anything is waited for."""
    if file == stdout.STDOUT:
        stdout.refuse_terminal()
        return
    try:
        check_replaceable(file)
    except OSError:
        return  # what is wrong is said when it is written
    except ValueError as error:
        raise _no_place(file, error) from None


def _no_place(file: Path, error: ValueError) -> PermanentError:
    return PermanentError(
        f"{_shown(file)}: {error}, and will not be replaced; name a file, or - for the output",
        os.EX_CANTCREAT,
    )


def _shown(file: Path) -> str:
    return clean(str(file))


def receive(target: Target, subscriber: MaskSubscriber) -> tuple[ReceivedMask, NDArray[np.uint8] | None]:
    """A mask and its own picture, or the newest mask alone if no picture comes."""
    pictures: dict[int, NDArray[np.uint8]] = {}
    masks: dict[int, ReceivedMask] = {}
    newest: ReceivedMask | None = None
    deadline = time.monotonic() + target.timeout_s
    with subscribe(
        target.endpoint, "frame", target.camera, newest_only=False,
        server_key=target.server_key, public_key=target.public_key, secret_key=target.secret_key,
    ) as frames:  # fmt: skip
        while time.monotonic() < deadline:
            mask = subscriber.receive(0.02)
            if mask is not None:
                if newest is None:
                    deadline = min(deadline, time.monotonic() + PICTURE_WAIT_S)
                newest = masks[mask.sequence] = mask
            while frames.poll(0):
                data = frames.recv(zmq.NOBLOCK)
                try:
                    header = parse_header(data)
                except MessageError:
                    continue
                pictures[header.sequence] = unpack_mask(data[header.payload_offset :], header.format)
            both = masks.keys() & pictures.keys()
            if both:
                return masks[max(both)], pictures[max(both)]
    if newest is not None:
        return newest, None
    status = subscriber.status()
    if status is None:
        raise target.silent()
    raise PermanentError(
        f"no mask came within {target.timeout_s:g} s, the daemon is {clean(status['state'])}: "
        f"{clean(status['reason'], TEXT_CHARACTERS) or 'wait longer with --timeout'}",
        os.EX_TEMPFAIL,
    )

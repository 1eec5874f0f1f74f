"""``gnetsegctl snapshot``: one mask as a PNG, over its own picture where the daemon sends that."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click
import numpy as np
import zmq

from ..client import ReceivedMask, subscribe
from ..errors import MessageError, PermanentError
from ..message import parse_header, unpack_mask
from .overlay import overlay, palette, person_label
from .png import encode_png, write_whole
from .session import plain

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ..client import MaskSubscriber
    from .session import Target

#: How long to wait for a picture once masks come: the daemon does not say whether it sends them.
PICTURE_WAIT_S = 1.0


def take(target: Target, file: Path) -> None:
    """Write ``file``; ``PermanentError`` when no mask came in time or it cannot be written."""
    with target.subscribe(newest_only=False) as subscriber:
        mask, picture = receive(target, subscriber)
        info = subscriber.info(min(target.timeout_s, 0.2))
    labels = mask.labels
    if picture is not None:
        data, what = encode_png(overlay(picture, labels)), "mask over its picture"
    else:
        # With a palette the pixels of the file are the labels themselves.
        data, what = encode_png(labels, palette(int(labels.max()) + 2)), "mask"
    try:
        write_whole(file, data)
    except OSError as error:
        raise PermanentError(
            f"{file}: cannot be written: {error.strerror}; name a file in a folder that you may write to",
            os.EX_CANTCREAT,
        ) from None
    share = float(np.mean(labels == person_label(info["labels"] if info else [])))
    click.echo(f"{file}: {what}, frame {mask.sequence}, {share:.0%} person, by {plain(mask.backend)}")


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
        f"no mask came within {target.timeout_s:g} s, the daemon is {plain(status['state'])}: "
        f"{plain(status['reason']) or 'wait longer with --timeout'}",
        os.EX_TEMPFAIL,
    )

"""Giving a device its model: bounded in each step and as a whole, resumed where it was cut off.

docs/protocol.md says what each message is. Used by ``usb_session.py`` while no frame is in flight.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from ..link.constants import FLAG_CRC, Code, Feature, Type
from ..link.header import pack_message
from ..link.model_upload import OFFSET_SIZE, RECORD_SIZE, pack_chunk, parse_progress, parse_record
from .usb_port import UsbFault

if TYPE_CHECKING:
    from ..link.requests import Capabilities
    from ..model import ModelBundle
    from .usb_session import Session

log = logging.getLogger(__name__)

#: Model bytes in one MODEL_CHUNK at most: short enough for frames to pass in between.
CHUNK_MAX_BYTES = 1 << 16
#: One step of an upload; a lost answer must not keep the device away for long.
STEP_TIMEOUT_S = 1.0
#: At its end the model is written to the device's storage, and loaded.
COMMIT_TIMEOUT_S = 5.0
#: The whole of it, in one opening. What has arrived is not sent again at the next one.
UPLOAD_LIMIT_S = 120.0


def upload(session: Session, bundle: ModelBundle) -> None:
    """Make ``bundle`` the device's active model, after ``check``. ``UsbFault`` if it cannot be."""
    log.info("usb: uploading model %s (%d bytes) to %s", bundle.id, len(bundle.content), session.port.serial)
    wanted = _ask_progress(session, bundle, Type.MODEL_BEGIN, session.record.pack())
    content, end = bundle.content, time.monotonic() + UPLOAD_LIMIT_S
    chunk = min(
        session.capabilities.max_chunk, session.capabilities.max_payload - OFFSET_SIZE, CHUNK_MAX_BYTES
    )
    while wanted < len(content):
        if time.monotonic() > end:
            raise UsbFault(
                "upload",
                f"after {UPLOAD_LIMIT_S:g} s the device has {wanted} of the {len(content)} bytes of model "
                f"{bundle.id}; it is given the rest at the next attempt, else choose a smaller model",
            )
        before = wanted
        data = pack_chunk(wanted, content[wanted : wanted + chunk])
        wanted = _ask_progress(session, bundle, Type.MODEL_CHUNK, data)
        if wanted <= before:
            raise UsbFault("model", f"the device does not get on with model {bundle.id} at byte {wanted}")
    ready = parse_record(_ask(session, bundle, Type.MODEL_COMMIT, bundle.sha256, Type.MODEL_READY))
    if ready != session.record:
        raise UsbFault(
            "refused", f"the device made another model active than {bundle.id}; update its firmware"
        )


def check(offered: Capabilities, bundle: ModelBundle) -> None:
    """Whether the device can be given this model, before anything is sent. ``UsbFault`` if not."""
    name, size = bundle.id, len(bundle.content)
    if not offered.features & Feature.MODEL_UPLOAD:
        raise UsbFault(
            "refused", f"the device has another model than {name} and takes none; configure its own model"
        )
    if size > offered.max_model:
        raise UsbFault(
            "refused",
            f"model {name} has {size} bytes, the device holds at most {offered.max_model}; "
            "choose a smaller model",
        )
    if offered.max_chunk == 0 or offered.max_payload < RECORD_SIZE:
        raise UsbFault(
            "refused",
            f"the device takes models in pieces of at most {offered.max_chunk} bytes and messages of at "
            f"most {offered.max_payload}, so it cannot be given one; update its firmware",
        )


def _ask_progress(session: Session, bundle: ModelBundle, kind: int, payload: bytes) -> int:
    """One MODEL_BEGIN or MODEL_CHUNK; the offset that the device wants next."""
    wanted, size = parse_progress(_ask(session, bundle, kind, payload, Type.MODEL_PROGRESS))
    if size != len(bundle.content):
        raise UsbFault(
            "model", f"the device takes model {bundle.id} for one of {size} bytes, not {len(bundle.content)}"
        )
    return wanted


def _ask(session: Session, bundle: ModelBundle, kind: int, payload: bytes, wanted: int) -> bytes:
    """One MODEL_* request; the payload of its answer."""
    session.beat()
    sequence = session.take_sequence()
    session.send(
        pack_message(kind, session.epoch, sequence, payload, flags=FLAG_CRC), int(STEP_TIMEOUT_S * 1000)
    )
    header, view = session.receive_short(COMMIT_TIMEOUT_S if kind == Type.MODEL_COMMIT else STEP_TIMEOUT_S)
    if header.type == wanted and header.sequence == sequence:
        return bytes(session.short_payload(header, view))
    fault = session.error(header, view)
    if fault.kind != "error":
        raise fault
    refused = header.code in (Code.MODEL_TOO_LARGE, Code.MODEL_REFUSED)
    raise UsbFault(
        "refused" if refused else "model",
        f"model {bundle.id}: {fault}" + ("; choose another model" if refused else ""),
    )

"""Why nobody answers, for a person who may give other options."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..client.probe import Finding, Probe
from ..text import clean

if TYPE_CHECKING:
    from .session import Target


def why_silent(target: Target) -> tuple[str, int] | None:
    """A sentence and an exit code where a handshake says more than that nobody answers."""
    with Probe(
        target.endpoint, target.camera, target.server_key, target.public_key, target.secret_key
    ) as probe:
        return told(target, probe.wait())


def told(target: Target, found: Finding) -> tuple[str, int] | None:
    """``found`` in words."""
    where = clean(target.endpoint)
    match found.why:
        case "wrong-camera":
            there = f"; it has {', '.join(found.cameras)}" if found.cameras else ""
            words = f"the daemon at {where} says nothing of camera {target.camera}{there}"
            return f"{words}; name another with --camera", os.EX_UNAVAILABLE
        case "not-permitted":
            words = "the daemon does not permit this key; there: sudo gnetsegctl keys add NAME"
            return f"{words} --public {(target.public_key or b'').decode()}", os.EX_NOPERM
        case "no-own-key":
            return "the daemon permits only keys that it knows; give yours with --key", os.EX_NOPERM
        case "no-keys":
            return "the daemon wants CURVE there; give its public key with --server-key", os.EX_NOPERM
        case "not-curve":
            return "the daemon has no CURVE there; leave out --server-key and --key", os.EX_NOPERM
        case "wrong-server-key":
            return "--server-key is not the key of this daemon; give the .key file of its own", os.EX_NOPERM
        case "foreign":
            return f"what listens at {where} is no gnetsegd; name another --endpoint", os.EX_PROTOCOL
    return None

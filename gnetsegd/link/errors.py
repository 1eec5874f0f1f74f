"""What is raised for bytes of the link that break docs/protocol.md."""

from __future__ import annotations

from ..errors import PermanentError, TransientError


class LinkError(TransientError):
    """Bytes that are no message of the link, or one that contradicts itself or what was agreed."""


class IncompatibleDevice(PermanentError):
    """A device that is not ours, is of another major version, or offers what cannot be used."""

"""The two kinds of error, and the exit code that each one means.

``TransientError``
    A cable, a camera or a peer that may come back: whoever catches it backs off, counts it and
    tries again. It never ends the process once the daemon is ready.
``PermanentError``
    Trying again cannot help until a person does something. Before the daemon is ready it ends the
    process with ``exit_code`` (see sysexits.h and docs/configuration.md); afterwards it is shown in
    status and retried at the slowest rate.

Every message is one sentence that names the thing and, after it, the remedy.
"""

from __future__ import annotations

import os


class GnetsegError(Exception):
    """Base of every error that is raised on purpose. ``exit_code`` is one of sysexits.h."""

    exit_code: int = os.EX_SOFTWARE

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code


class TransientError(GnetsegError):
    """It may come back by itself: back off and try again."""

    exit_code = os.EX_TEMPFAIL


class AbsentError(TransientError):
    """There is none of it here: nothing was lost, it may be plugged in at any time."""


class PermanentError(GnetsegError):
    """A person has to act: say what to do, and stop trying in haste."""

    exit_code = os.EX_UNAVAILABLE


class ConfigError(PermanentError):
    """The configuration is wrong: names the file, the key, what was given and what is allowed."""

    exit_code = os.EX_CONFIG


class ModelError(PermanentError):
    """A model bundle is missing, damaged or not what it claims to be."""

    exit_code = os.EX_DATAERR


class CameraStalled(TransientError):
    """No frame came within the camera's time limit."""


class HungError(TransientError):
    """A call that cannot be interrupted does not return: the process ends, systemd brings a clean one."""


class EndOfVideo(PermanentError):
    """A video source that does not loop has given its last frame: the daemon ends cleanly."""

    exit_code = os.EX_OK


def as_fatal(error: Exception, what: str) -> GnetsegError:
    """The error that ends the process before it is ready: an unforeseen one becomes a sentence, too."""
    if isinstance(error, GnetsegError):
        return error
    return GnetsegError(
        f"{what}: {type(error).__name__}: {error}; this is an error of gnetsegd or of a package that "
        "it uses, please report it"
    )


class MessageError(GnetsegError):
    """Bytes that are not a message of this project, or of a version that cannot be read."""

    exit_code = os.EX_PROTOCOL

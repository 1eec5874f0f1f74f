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

import errno
import os

from .text import clean


class GnetsegError(Exception):
    """Base of every error that is raised on purpose. ``exit_code`` is one of sysexits.h."""

    exit_code: int = os.EX_SOFTWARE
    #: The shortest pause before it is tried again, in s.
    retry_after_s: float = 0.0

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


class AccessRefused(TransientError):
    """A camera does not take this user or password: tried rarely, for some then lock everybody out."""

    exit_code = os.EX_NOPERM
    retry_after_s = 60.0


class CameraStalled(TransientError):
    """No frame came within the camera's time limit."""


class NotYet(TransientError):
    """No frame of a source that keeps its own time is due yet: nothing is wrong, ask again."""


class HungError(TransientError):
    """A call that cannot be interrupted does not return: the process ends, systemd brings a clean one."""


class EndOfVideo(PermanentError):
    """A video source that does not loop has given its last frame: the daemon ends cleanly."""

    exit_code = os.EX_OK


#: What the surroundings may refuse at any place: the words and remedy, and the code of sysexits.h.
_REFUSALS = {
    errno.ENOSPC: ("no space is left where it writes; make room there, or write elsewhere", os.EX_IOERR),
    errno.EDQUOT: ("this user's share of the disk is used up; make room there", os.EX_IOERR),
    errno.EFBIG: ("a file grew beyond what is allowed; raise the limit (ulimit -f)", os.EX_IOERR),
    errno.EROFS: ("the file system is read-only; write elsewhere", os.EX_IOERR),
    errno.EIO: ("a device or terminal failed while it was read or written", os.EX_IOERR),
    errno.EPIPE: ("the reader of its output has gone", os.EX_IOERR),
    errno.ENAMETOOLONG: ("a name is longer than files may have; give a shorter one", os.EX_NOINPUT),
    errno.ELOOP: ("a symbolic link leads back to itself; mend it", os.EX_NOINPUT),
    errno.EMFILE: ("it may not open more files; raise its limit (ulimit -n, LimitNOFILE=)", os.EX_OSERR),
    errno.ENFILE: ("no program on this machine may open more files; raise fs.file-max", os.EX_OSERR),
    errno.ENOMEM: ("memory ran out; free some, or give it more", os.EX_OSERR),
}


def _refusal(error: BaseException) -> tuple[str, int] | None:
    """Words and exit code where ``error`` says what the surroundings refused, not what is wrong here."""
    if isinstance(error, MemoryError):
        return _REFUSALS[errno.ENOMEM]
    if isinstance(error, RecursionError):
        return "something that it read is nested too deep; give it a simpler file", os.EX_DATAERR
    # ZeroMQ's errors have a number, too.
    number = getattr(error, "errno", None)
    if number is None and isinstance(error, ImportError):
        # Where a library cannot be opened for want of descriptors, the number is only in the text.
        for missing in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            if os.strerror(missing) in str(error):
                number = missing
    return _REFUSALS.get(number) if isinstance(number, int) else None


def as_fatal(error: Exception, what: str) -> GnetsegError:
    """The error that ends the process before it is ready: an unforeseen one becomes a sentence, too.

    What the surroundings refuse (space, descriptors, memory) is told as that, with its remedy.
    """
    if isinstance(error, GnetsegError):
        return error
    refusal = _refusal(error)
    if refusal is not None:
        words, code = refusal
        name = getattr(error, "filename", None)
        where = f"{what}: {clean(str(name), 80)}" if isinstance(name, str | os.PathLike) else what
        return GnetsegError(f"{where}: {words}", code)
    return GnetsegError(
        f"{what}: {type(error).__name__}: {clean(str(error))}; this is an error of gnetsegd or of a package "
        "that it uses, please report it"
    )


class MessageError(GnetsegError):
    """Bytes that are not a message of this project, or of a version that cannot be read."""

    exit_code = os.EX_PROTOCOL

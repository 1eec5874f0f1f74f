"""How ``gnetsegd`` and ``gnetsegctl`` end: with a sentence on stderr and a code of sysexits.h."""

from __future__ import annotations

import io
import math
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from .errors import HungError, as_fatal

if TYPE_CHECKING:
    from typing import Any, NoReturn, TextIO


class _OutputGoneError(Exception):
    """The reader of a pipe has gone: no reason for words, he has seen what he wanted, as ``head`` does."""


class Commands(click.Group):
    """A group of commands whose broken pipes reach ``run``; click would end with a code of its own."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                # Now, and not while the interpreter ends: there it would be a traceback.
                sys.stdout.flush()
        except BrokenPipeError:
            raise _OutputGoneError from None
        return result


def _finite(kind: Any, number: Any, param: Any, ctx: click.Context | None) -> Any:
    if not math.isfinite(number):
        kind.fail(f"{number} is no number that can be meant", param, ctx)
    return number


class Finite(click.types.FloatParamType):
    """click's takes ``nan`` and ``inf``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return _finite(self, super().convert(value, param, ctx), param, ctx)


class FiniteRange(click.FloatRange):
    """click's takes ``nan``, which is in every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return _finite(self, super().convert(value, param, ctx), param, ctx)


def run(command: Commands, name: str) -> NoReturn:
    """Run ``command``, which is called ``name``, with the arguments of the process, and end the process."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A terminal that is not UTF-8 shows ? for a character that it has not; no command ends for that.
        sys.stdout.reconfigure(errors="replace")
    code = _run(command, name)
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    sys.exit(code)


def _run(command: Commands, name: str) -> int:
    try:
        command.main(standalone_mode=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else os.EX_OK if end.code is None else os.EX_SOFTWARE
    except _OutputGoneError:
        return os.EX_IOERR
    except click.ClickException as error:
        if not isinstance(error, click.UsageError):
            return say(f"{name}: {error.format_message()}", os.EX_SOFTWARE)
        with suppress(OSError, AttributeError):  # without a stderr, or with a full one
            error.show()
        return os.EX_USAGE
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        fatal = as_fatal(error, name)
        code = say(str(fatal) if fatal is not error else f"{name}: {error}", fatal.exit_code)
        if isinstance(error, HungError):
            os._exit(code)  # what hangs would keep the interpreter from ending in good order
        return code
    return os.EX_OK


def say(sentence: str, code: int) -> int:
    """Write ``sentence`` to stderr, if there is one, and give ``code`` back."""
    # print() takes None, a stderr that is closed, for stdout.
    if sys.stderr is not None:
        with suppress(OSError):
            print(sentence, file=sys.stderr, flush=True)
    return code


def tell(text: str, name: str) -> None:
    """``text`` on stdout, for commands without ``run``; one sentence and the end where that is full."""
    try:
        click.echo(text)
    except BrokenPipeError:
        raise  # which click ends without a word
    except OSError as error:
        fatal = as_fatal(error, name)
        _let_go(sys.stdout)
        sys.exit(say(str(fatal), fatal.exit_code))


def _let_go(stream: TextIO | None) -> None:
    """Throw away what ``stream`` could not write: the interpreter would try again, and complain."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        with suppress(OSError):  # a stream without a descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

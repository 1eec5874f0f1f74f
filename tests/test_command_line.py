"""Whatever ends a command, a person reads one sentence and a script a code of sysexits.h."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
import zmq

from gnetsegd import command_line
from gnetsegd.errors import GnetsegError, PermanentError, as_fatal

if TYPE_CHECKING:
    from pathlib import Path

REFUSALS: list[tuple[Exception, int, str]] = [
    (OSError(errno.ENOSPC, "No space left on device"), 74, "no space is left"),
    (OSError(errno.EFBIG, "File too large"), 74, "a file grew beyond"),
    (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000), 66, "a name is longer than files may"),
    (OSError(errno.EMFILE, "Too many open files"), 71, "it may not open more files"),
    (zmq.ZMQError(errno.EMFILE), 71, "it may not open more files"),
    (ImportError("libx.so: cannot open shared object file: Too many open files"), 71, "may not open more"),
    (OSError(errno.ENFILE, "Too many open files in system"), 71, "no program on this machine"),
    (MemoryError(), 71, "memory ran out"),
    (RecursionError("maximum recursion depth exceeded"), 65, "nested too deep"),
]


@pytest.mark.parametrize(("error", "code", "words"), REFUSALS)
def test_what_the_surroundings_refuse_is_told_with_its_remedy(
    error: Exception, code: int, words: str
) -> None:
    fatal = as_fatal(error, "gnetsegd")
    assert fatal.exit_code == code
    assert str(fatal).startswith("gnetsegd: ")
    assert words in str(fatal)
    assert len(str(fatal)) < 300
    assert "report" not in str(fatal)


def test_what_nobody_foresaw_asks_for_a_report_on_one_line() -> None:
    fatal = as_fatal(KeyError("a\x1b[2J\n" + "b" * 1000), "gnetsegd")
    assert fatal.exit_code == os.EX_SOFTWARE
    assert "please report it" in str(fatal)
    assert str(fatal).isprintable()
    assert len(str(fatal)) < 400


def test_an_error_that_was_raised_on_purpose_stays_as_it_is() -> None:
    error = PermanentError("the lens cap is on", os.EX_NOINPUT)
    assert as_fatal(error, "gnetsegd") is error


def end_of(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> object:
    """The exit code of a command that raises ``error``."""

    @click.group(cls=command_line.Commands)
    def cli() -> None:
        pass

    @cli.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["prog", "fail"])
    with pytest.raises(SystemExit) as end:
        command_line.run(cli, "prog")
    return end.value.code


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (GnetsegError("the cup is empty", 75), 75, "prog: the cup is empty\n"),
        (MemoryError(), 71, "prog: memory ran out; free some, or give it more\n"),
        (click.ClickException("it is late"), 70, "prog: it is late\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 74, ""),
        (SystemExit(3), 3, ""),
    ],
)
def test_each_end_has_its_sentence_and_code(
    error: BaseException,
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert end_of(error, monkeypatch) == code
    assert capsys.readouterr().err == sentence


def test_without_a_stderr_only_the_code_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert end_of(GnetsegError("nobody reads this", 75), monkeypatch) == 75
    assert capsys.readouterr().out == ""


#: A command whose words stay in the buffer until it ends, which is where they meet a full disk.
PROGRAM = """
import click, sys
from gnetsegd import command_line

@click.group(cls=command_line.Commands)
def cli(): pass

@cli.command()
def talk():
    sys.stdout.write("word " * 100)

command_line.run(cli, "prog")
"""
#: With it Python passes over what a full file did not take.
BUFFERED = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}


def test_an_output_that_is_full_is_one_sentence(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    with (tmp_path / "out").open("wb") as out:
        end = subprocess.run(
            [sys.executable, "-c", PROGRAM, "talk"],
            stdout=out, stderr=subprocess.PIPE, env=BUFFERED, preexec_fn=limit, text=True, timeout=20,
            check=False,
        )  # fmt: skip
    assert end.stderr == "prog: a file grew beyond what is allowed; raise the limit (ulimit -f)\n"
    assert end.returncode == 74


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_character_that_the_terminal_has_not_ends_no_command(encoding: str) -> None:
    program = PROGRAM.replace('"word " * 100', '"80 \N{FULL BLOCK} %"')
    end = subprocess.run(
        [sys.executable, "-c", program, "talk"],
        env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip
    assert (end.returncode, end.stdout, end.stderr) == (0, "80 ? %", "")


@pytest.mark.parametrize("number", ["nan", "inf", "-1"])
def test_numbers_that_nobody_can_mean_are_refused(number: str) -> None:
    with pytest.raises(click.BadParameter):
        command_line.FiniteRange(0.1).convert(number, None, None)
    if number != "-1":
        with pytest.raises(click.BadParameter):
            command_line.Finite().convert(number, None, None)


def test_a_reader_that_has_gone_is_no_reason_for_words() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    end = subprocess.run(
        [sys.executable, "-c", PROGRAM, "talk"],
        stdout=writer, stderr=subprocess.PIPE, env=BUFFERED, text=True, timeout=20, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (end.returncode, end.stderr) == (74, "")


def test_what_hangs_does_not_keep_the_process_from_ending() -> None:
    program = """
import threading
from gnetsegd.errors import HungError
threading.Thread(target=threading.Event().wait).start()
""" + PROGRAM.replace('sys.stdout.write("word " * 100)', 'raise HungError("the lens is stuck")')
    end = subprocess.run(
        [sys.executable, "-c", program, "talk"], capture_output=True, text=True, timeout=20, check=False
    )
    assert (end.returncode, end.stderr) == (75, "prog: the lens is stuck\n")


@pytest.mark.parametrize("module", ["gnetsegd", "gnetsegd.ctl.main"])
def test_both_commands_end_so(module: str, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    with (tmp_path / "out").open("wb") as out:
        end = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            stdout=out, stderr=subprocess.PIPE, env=BUFFERED, preexec_fn=limit, text=True, timeout=20,
            check=False,
        )  # fmt: skip
    assert end.returncode == 74
    assert end.stderr.endswith(": a file grew beyond what is allowed; raise the limit (ulimit -f)\n")
    assert end.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "extra"),
    [("gnetsegd.ctl.__main__", "gnetsegd[tools]"), ("gnetsegd.__main__", "gnetsegd[daemon]")],
)
def test_where_the_client_was_installed_alone_a_sentence_says_what_brings_the_rest(
    module: str, extra: str
) -> None:
    code = f"import sys; sys.modules['click'] = None; from {module} import main; main()"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.returncode == 69
    assert f"click is missing; pip install '{extra}' brings it" in out.stderr
    assert out.stderr.count("\n") == 1


#: A SIGINT in the midst of the first import.
INTERRUPTED_EARLY = """
import os, signal, sys
import gnetsegd.ctl.__main__ as entry

class Interrupting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "gnetsegd.ctl.main":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting)
entry.main()
"""


def test_an_interrupt_while_it_is_read_in_makes_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_EARLY], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")

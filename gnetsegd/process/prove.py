"""Try what may crash the process in a child of it first.

A TFLite runtime reads a network's file unverified: a damaged one can end the process with SIGSEGV. In a
child that is a sentence. At the start the child is forked while there is one thread only, after the imports,
so that these are not paid for twice.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from ..config import AcceleratorConfig
from ..errors import GnetsegError, ModelError, TransientError, as_fatal
from ..model import ModelBundle
from ..plugins import find

#: Loading a network and running it may take so long, in s: one of 10 s a picture passes.
PROVE_LIMIT_S = 120.0
#: The process that checks a configuration has a little more, so that it ends its own child first, in s.
CHECK_EXTRA_S = 10.0
#: How often the parent looks whether it is to stop, in s.
LOOK_S = 0.25
#: The child may take so much more memory than this process has, in bytes: a network that does not fit a small
#: machine is to fail there.
MEMORY_BYTES = 2 << 30
#: Longest sentence that is read from a child, in bytes.
SENTENCE_BYTES = 1 << 16


def prove(bundle: ModelBundle, section: AcceleratorConfig, still_here: Callable[[], None]) -> None:
    """Have a forked child load and run ``bundle`` as the accelerator of ``section`` would on this machine.

    Raises what the child raised, or ``ModelError`` where it crashed or took too long. ``still_here`` is
    called a few times a second meanwhile, and may raise to give up.
    """
    kind = find("gnetsegd.accelerators", section.driver)
    kind.prepare(bundle, section.driver, section.options)
    in_child(lambda: kind.prove(bundle, section.driver, section.options), f"model {bundle.id}", still_here)


def in_child(work: Callable[[], Any], what: str, still_here: Callable[[], None] = lambda: None) -> Any:
    """Do ``work`` in a forked child, and give what it gave, as JSON keeps it.

    Raises what the child raised, or ``ModelError`` that begins with ``what`` where it crashed or took too
    long.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _run_child(writing, work)
    os.close(writing)
    try:
        told_bytes = _read(reading, still_here, what)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(reading)
    _, status = os.waitpid(child, 0)
    still_here()  # who stops this process may have stopped the child, too
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        raise ModelError(
            f"{what}: its file crashes the runtime or needs too much memory ({name}, in a trial "
            "that harmed nothing); export it again"
        )
    told = json.loads(told_bytes) if told_bytes else {}
    if "sentence" in told:
        raise (TransientError if told["transient"] else ModelError)(told["sentence"], told["code"])
    if status:
        raise ModelError(
            f"{what}: its trial ended with {os.WEXITSTATUS(status)} and without a word; export it again"
        )
    return told.get("result")


def _run_child(writing: int, work: Callable[[], Any]) -> None:
    """Never returns."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        _limit_memory()
        # A runtime's own words about a file that it is about to refuse are no sentence.
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 2)
        try:
            told: dict[str, Any] = {"result": work()}
        except Exception as error:
            fatal = as_fatal(error, "the trial of the network")
            told = {
                "sentence": str(fatal),
                "code": fatal.exit_code,
                "transient": isinstance(error, GnetsegError) and isinstance(error, TransientError),
            }
        os.write(writing, json.dumps(told).encode()[:SENTENCE_BYTES])
        code = 0
    finally:
        os._exit(code)


def _limit_memory() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - the child wants no imports
        pages = int(file.read().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = pages * resource.getpagesize() + MEMORY_BYTES
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read(reading: int, still_here: Callable[[], None], what: str) -> bytes:
    deadline = time.monotonic() + PROVE_LIMIT_S
    said = b""
    while True:
        if select.select([reading], [], [], LOOK_S)[0]:
            piece = os.read(reading, SENTENCE_BYTES)
            if not piece:
                return said
            said += piece
        still_here()
        if time.monotonic() > deadline:
            raise ModelError(
                f"{what}: it was not loaded and run within {PROVE_LIMIT_S:g} s; choose a smaller one"
            )


def check_in_child(path: str | None, settings: tuple[str, ...]) -> None:
    """Have a fresh process check a configuration as ``gnetsegd check-config`` does, for a reload.

    Raises ``GnetsegError`` with its sentence. The file may be a pipe that nobody writes to, lie in a dead
    network folder or crash a parser: nothing of that touches this process.
    """
    command = ["gnetsegd", "check-config", *([path] if path else []), "--running"]
    for setting in settings:
        command += ["--set", setting]
    _in_fresh_process(command, b"", f"{path} could not be read and checked", f"checking {path}")


def prove_in_fresh_process(bundle: ModelBundle, section: AcceleratorConfig) -> None:
    """As ``prove``, from a process that has threads, where a fork is no trial.

    Raises ``GnetsegError`` with the sentence.
    """
    what = f"model {bundle.id}"
    given = pickle.dumps((bundle, section))  # for this module's own main, and from nobody else
    _in_fresh_process([__name__], given, f"{what}: it could not be tried", f"{what}: its trial")


def _in_fresh_process(module: list[str], given: bytes, not_done: str, what: str) -> None:
    """Run ``python -m`` with ``module`` and its arguments, ``given`` on its standard input.

    Raises ``GnetsegError`` with the last line that it said where it fails; ``not_done`` begins the sentence
    where it takes too long, ``what`` the one where it ends without a word.
    """
    import subprocess

    environment = {
        name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "JOURNAL_STREAM")
    }
    limit_s = PROVE_LIMIT_S + CHECK_EXTRA_S
    try:
        done = subprocess.run(
            [sys.executable, "-m", *module],
            input=given,
            capture_output=True,
            env=environment,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GnetsegError(f"{not_done} within {limit_s:g} s") from None
    if done.returncode == 0:
        return
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    sentence = lines[-1].removeprefix("gnetsegd: ") if lines else ""
    if done.returncode < 0:
        sentence = f"{what} ended with {signal.Signals(-done.returncode).name}"
    raise GnetsegError(sentence or f"{what} ended with {done.returncode}", abs(done.returncode))


#: Whoever wants to know, as the parent of this process.
_ASKED_BY = os.getppid()


def stay_while_asked() -> None:
    """Raises in a process whose parent has ended: that leaves nobody who wants to know."""
    if os.getppid() != _ASKED_BY:
        raise GnetsegError("whoever asked for the check has ended")


def _main() -> int:
    bundle, section = pickle.load(sys.stdin.buffer)
    try:
        prove(bundle, section, stay_while_asked)
    except GnetsegError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main())

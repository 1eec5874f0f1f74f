"""What may crash the process is tried in a child of it, and comes back as one sentence."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from gnetsegd.accelerators import Accelerator
from gnetsegd.config import AcceleratorConfig
from gnetsegd.errors import GnetsegError, ModelError, PermanentError, TransientError
from gnetsegd.model import load_bundle
from gnetsegd.process import prove as module
from gnetsegd.process.prove import check_in_child, prove, prove_in_fresh_process

from .conftest import MODELS

BUNDLE = load_bundle(str(MODELS / "threshold-32"))
Try = Callable[[Callable[[], None]], None]


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> Try:
    """Prove with an accelerator whose trial does what the test says."""

    def make(work: Callable[[], None], still_here: Callable[[], None] = lambda: None) -> None:
        class Tried(Accelerator):
            @classmethod
            def prove(cls, *_: Any) -> None:
                work()

        monkeypatch.setattr(module, "find", lambda *_: Tried)
        prove(BUNDLE, AcceleratorConfig(), still_here)

    return make


def no_child_is_left() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return True


def test_a_network_that_works_is_no_news(attempt: Try) -> None:
    attempt(lambda: None)
    assert no_child_is_left()


def crash() -> None:
    faulthandler.disable()  # pytest's, which would print what is wanted here
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_crash_in_the_runtime_is_a_sentence(attempt: Try) -> None:
    with pytest.raises(ModelError, match=r"model threshold-32: its file crashes .*SIGSEGV.*export it again"):
        attempt(crash)
    with pytest.raises(ModelError, match="SIGABRT"):
        attempt(os.abort)
    assert no_child_is_left()


@pytest.mark.parametrize("error", [PermanentError("no such delegate", 78), TransientError("busy", 75)])
def test_an_error_comes_back_with_its_words_its_kind_and_its_code(attempt: Try, error: Any) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error) if isinstance(error, TransientError) else PermanentError) as raised:
        attempt(fail)
    assert str(raised.value) == str(error)
    assert raised.value.exit_code == error.exit_code


def test_an_unforeseen_error_comes_back_too(attempt: Try) -> None:
    def fail() -> None:
        raise ZeroDivisionError("inside")

    with pytest.raises(PermanentError, match="ZeroDivisionError"):
        attempt(fail)


def test_a_network_that_never_ends_is_given_up_and_its_process_ended(
    attempt: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROVE_LIMIT_S", 0.3)
    with pytest.raises(ModelError, match=r"not loaded and run within 0.3 s; choose a smaller one"):
        attempt(lambda: time.sleep(1000))
    assert no_child_is_left()


def test_a_network_that_wants_more_memory_than_a_small_machine_has_fails_in_the_child(attempt: Try) -> None:
    def grab() -> None:
        bytearray(2 * module.MEMORY_BYTES)

    with pytest.raises(PermanentError, match=r"(?i)memory"):
        attempt(grab)


def test_a_stop_meanwhile_is_obeyed_and_the_child_ended(attempt: Any) -> None:
    class StopError(Exception):
        pass

    def stop() -> None:
        raise StopError

    with pytest.raises(StopError):
        attempt(lambda: time.sleep(1000), stop)
    assert no_child_is_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_that_reaches_the_child_first_is_a_stop_and_no_bad_network(attempt: Any, number: int) -> None:
    class StopError(Exception):
        pass

    def stop() -> None:
        # Both get a terminal's Ctrl-C; the child may be gone before the parent has taken it in.
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            raise StopError from None

    with pytest.raises(StopError):
        attempt(lambda: os.kill(os.getpid(), number), stop)
    assert no_child_is_left()


def test_a_runtime_that_ends_the_process_without_a_word_has_proven_nothing(attempt: Try) -> None:
    with pytest.raises(ModelError, match="its trial ended with 3 and without a word"):
        attempt(lambda: os._exit(3))
    with pytest.raises(ModelError, match="its trial ended with 1 and without a word"):
        attempt(lambda: sys.exit(0))
    assert no_child_is_left()


def test_the_stand_ins_own_trial_finds_what_the_real_network_would_say() -> None:
    config = AcceleratorConfig(driver="standin", options={"standin": _options("standin")})
    prove(BUNDLE, config, lambda: None)
    with pytest.raises(PermanentError, match="of its tensors are float"):
        prove(load_bundle(str(MODELS / "float")), config, lambda: None)


def test_a_trial_in_a_fresh_process_says_what_one_in_a_forked_child_says() -> None:
    config = AcceleratorConfig(driver="standin", options={"standin": _options("standin")})
    prove_in_fresh_process(BUNDLE, config)
    with pytest.raises(GnetsegError, match=r"^model float: \d+ of its tensors are float") as raised:
        prove_in_fresh_process(load_bundle(str(MODELS / "float")), config)
    assert raised.value.exit_code == 65


def _options(driver: str) -> Any:
    from gnetsegd.plugins import find

    return find("gnetsegd.accelerators", driver).Options()


def test_the_check_before_a_reload_says_its_one_sentence(tmp_path: Any) -> None:
    file = tmp_path / "g.toml"
    file.write_text("[camera]\nfsp = 3\n")
    with pytest.raises(PermanentError.__base__, match=r"g\.toml: unknown key camera\.fsp: did you mean"):
        check_in_child(str(file), ())
    file.write_text(f"[camera]\ndriver='pattern'\n[model]\nbundle='{MODELS / 'threshold-32'}'\n")
    check_in_child(str(file), ("accelerator.driver=standin",))

"""LiteRT before tflite-runtime, unless the bundle says otherwise; a broken one is passed over."""

from __future__ import annotations

import platform
import sys
from types import ModuleType
from typing import Any

import pytest

from gnetsegd.accelerators import runtimes
from gnetsegd.accelerators.runtimes import PACKAGES, find_runtime, order
from gnetsegd.errors import PermanentError
from gnetsegd.model import load_bundle


def refuse(**_: Any) -> None:
    """As a runtime that works says that a file is none of its own."""
    raise ValueError("Model provided is schema version 0 not equal to supported version 3.")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both runtimes, made up; ``installed(NAME, ERROR)`` makes one fail when it is imported.

    With ``interpreter``, what is called for one, in place of an error: it is imported and fails then.
    """
    faults: dict[str, Exception] = {}
    interpreters: dict[str, Any] = {}

    def bring(name: str) -> ModuleType:
        package = name.removesuffix(".interpreter")
        if package in faults:
            raise faults[package]
        module = ModuleType(name)
        module.Interpreter = interpreters.get(package, refuse)  # type: ignore[attr-defined]
        return module

    monkeypatch.setattr(runtimes, "import_module", bring)
    monkeypatch.setattr(runtimes.metadata, "version", lambda package: f"1.0-{package}")

    def fail(name: str, error: Exception | None = None, interpreter: Any = None) -> None:
        if error is not None:
            faults[PACKAGES[name]] = error
        else:
            interpreters[PACKAGES[name]] = interpreter

    return fail


def absent(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named '{PACKAGES[name]}'", name=PACKAGES[name])


@pytest.mark.usefixtures("installed")
def test_litert_is_taken_where_both_are_there() -> None:
    found = find_runtime()
    assert (found.name, found.words) == ("litert", "litert 1.0-ai_edge_litert")


@pytest.mark.usefixtures("installed")
def test_the_other_is_taken_where_the_bundle_says_that_it_is_cheaper_on_this_machine() -> None:
    here = platform.machine()
    assert find_runtime("auto", {here: "tflite-runtime"}).name == "tflite-runtime"
    assert find_runtime("auto", {"riscv64": "tflite-runtime"}).name == "litert"


@pytest.mark.usefixtures("installed")
def test_a_person_decides_before_the_bundle() -> None:
    assert find_runtime("litert", {platform.machine(): "tflite-runtime"}).name == "litert"
    assert order("tflite-runtime", {}) == ["tflite-runtime"], "and gets that or none"


@pytest.mark.parametrize(
    "error",
    [
        SystemError("initialization failed"),
        ImportError("numpy.core.multiarray failed to import"),
        ModuleNotFoundError("No module named 'ai_edge_litert'", name="ai_edge_litert"),
        ModuleNotFoundError("No module named 'flatbuffers'", name="flatbuffers"),
    ],
)
def test_one_that_cannot_be_imported_is_no_trap_where_the_other_can(installed: Any, error: Exception) -> None:
    installed("litert", error)
    assert find_runtime().name == "tflite-runtime"


def of_another_numpy(**_: Any) -> None:
    """As tflite-runtime 2.14 behaves beside numpy 2: its import passes, its first interpreter does not."""
    sys.stderr.write("A module that was compiled using NumPy 1.x cannot be run in NumPy 2\n")
    raise SystemError("returned a result with an exception set") from ImportError(
        "numpy.core.multiarray failed to import"
    )


def of_another_numpy_in_its_own_words(**_: Any) -> None:
    raise ValueError("Model provided is schema version 0") from ImportError(
        "numpy.core.multiarray failed to import"
    )


@pytest.mark.parametrize("interpreter", [of_another_numpy, of_another_numpy_in_its_own_words])
def test_one_that_is_imported_and_cannot_work_with_this_numpy_is_passed_over_without_a_word(
    installed: Any, interpreter: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    installed("tflite-runtime", interpreter=interpreter)
    assert find_runtime("auto", {platform.machine(): "tflite-runtime"}).name == "litert"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("interpreter", [of_another_numpy, of_another_numpy_in_its_own_words])
def test_where_it_is_the_only_one_that_is_one_sentence(
    installed: Any, interpreter: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    installed("litert", absent("litert"))
    installed("tflite-runtime", interpreter=interpreter)
    with pytest.raises(
        PermanentError, match=r"numpy\.core\.multiarray failed to import\); install"
    ) as raised:
        find_runtime()
    assert "tflite_runtime with numpy" in str(raised.value)
    assert raised.value.exit_code == 69
    assert capsys.readouterr().err == ""


def test_where_both_fail_each_is_named(installed: Any) -> None:
    installed("litert", ImportError("libstdc++ is too old"))
    installed("tflite-runtime", SystemError("made for another numpy"))
    with pytest.raises(PermanentError) as raised:
        find_runtime()
    words = str(raised.value)
    assert "libstdc++ is too old" in words
    assert "made for another numpy" in words
    assert len(words.splitlines()) == 1


def test_one_that_a_person_asked_for_and_that_is_not_there_is_named(installed: Any) -> None:
    installed("tflite-runtime", absent("tflite-runtime"))
    with pytest.raises(PermanentError, match=r"runtime is tflite-runtime, and tflite_runtime cannot be"):
        find_runtime("tflite-runtime")


def test_a_copy_without_metadata_has_no_version(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    del installed

    def none(package: str) -> str:
        raise runtimes.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(runtimes.metadata, "version", none)
    assert find_runtime().words == "litert"


def test_the_real_one_of_this_environment_is_found() -> None:
    found = find_runtime()
    assert found.module.Interpreter is not None
    assert found.version
    assert PACKAGES[found.name] in sys.modules


@pytest.mark.parametrize("name", PACKAGES)
def test_each_that_is_in_this_environment_refuses_the_file_that_it_is_tried_with(name: str) -> None:
    try:
        module = find_runtime(name).module
    except PermanentError:  # it is not here
        return
    with pytest.raises(ValueError, match="schema version 0"):
        module.Interpreter(model_content=runtimes._REFUSED)


@pytest.mark.parametrize("name", ["person", "person-gray", "person-fast"])
def test_depthwise_networks_want_litert_everywhere(name: str) -> None:
    assert set(load_bundle(name).cheaper_runtime.values()) == {"litert"}


def test_plain_convolutions_are_cheaper_under_the_other_on_a_pi_and_not_on_a_pc() -> None:
    cheaper = load_bundle("gnetseg-large-224y").cheaper_runtime
    assert cheaper == {"aarch64": "tflite-runtime", "x86_64": "litert"}

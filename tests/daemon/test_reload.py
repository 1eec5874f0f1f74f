"""A reload takes over what works, and whatever goes wrong leaves the running road as it is."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gnetsegd.config import Config
from gnetsegd.config import load as load_config
from gnetsegd.errors import GnetsegError, PermanentError, TransientError
from gnetsegd.model import load_bundle
from gnetsegd.process import reload as module
from gnetsegd.process.networks import Bundles
from gnetsegd.process.parts import Setup
from gnetsegd.process.reload import Reloader
from gnetsegd.road import road as road_module
from gnetsegd.road.road import Network, Road, Source

from ..road.fakes import MASK, SPEC, EchoAccelerator, Published, Script, wait_until
from .conftest import MODELS

Words = Callable[[], str]


def config(*settings: str) -> Config:
    defaults = (
        "camera.driver=pattern", "accelerator.driver=standin", f"model.bundle={MODELS / 'threshold-32'}",
        "camera.stall_timeout_s=0.5", "camera.backoff_max_s=0.2",
    )  # fmt: skip
    return load_config(None, (*defaults, *settings))


def camera() -> Script:
    return Script(list(range(100_000)), list(range(100_000)), period_s=0.001)


@pytest.fixture
def words(caplog: pytest.LogCaptureFixture) -> Words:
    caplog.set_level(logging.INFO, "gnetsegd")
    return lambda: caplog.text


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A road that runs, its reloader, and what the next reload will find."""
    found = SimpleNamespace(config=config(), camera=camera(), accelerator=EchoAccelerator(), checked=0)
    publisher: Any = Published()
    publisher.set_pictures = lambda publish: setattr(found, "frames", publish.frames)

    def check(*_: Any) -> None:
        found.checked += 1

    def source(config: Any) -> Source:
        script = found.camera
        return Source(config.camera, lambda: script(None))

    def network(*_: Any) -> Network:
        return Network(found.accelerator, SPEC, MASK.size_bytes, 0.2)

    monkeypatch.setattr(module, "check_in_child", check)
    monkeypatch.setattr(module, "load_config", lambda *_: found.config)
    monkeypatch.setattr(module, "make_source", source)
    monkeypatch.setattr(module, "make_network", network)
    bundle = load_bundle(found.config.model.bundle)
    road = Road(source(found.config), network(), publisher, lambda: False, lambda: None)
    found.road = road
    found.reloader = Reloader(Setup(found.config, Bundles(bundle, bundle)), None, (), road, lambda: None)
    road.start()
    masks(road)
    yield found
    for event in getattr(found, "events", ()):
        event.set()
    road.stop(2, 1, 5)


def masks(road: Road, count: int = 5) -> None:
    goal = road.publisher.masks + count
    wait_until(lambda: road.publisher.masks >= goal)


def reload(running: Any) -> None:
    running.reloader.request()
    wait_until(running.reloader.finished)


def test_what_changed_is_taken_over_and_the_rest_goes_on(running: Any, words: Words) -> None:
    running.camera, running.config = camera(), config("camera.fps=50", "publish.frames=true")
    accelerator = running.road.pipeline.accelerator
    reload(running)
    assert running.camera.opened == 1
    assert running.road.pipeline.accelerator is accelerator
    assert running.reloader.setup.config is running.config
    assert running.frames is True
    assert "reload: done" in words()
    masks(running.road)


def test_a_new_accelerator_is_told_of_the_one_whose_place_it_takes(
    running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, succeeded = running.road.pipeline.accelerator, []
    monkeypatch.setattr(EchoAccelerator, "succeed", lambda _self, former: succeeded.append(former))
    running.accelerator, running.config = EchoAccelerator(), config("accelerator.standin.threads=2")
    reload(running)
    assert succeeded == [former]


def test_who_named_a_network_and_then_leaves_the_choice_gets_no_pair_without_an_accelerator(
    running: Any,
) -> None:
    running.config = config("model.bundle=auto", "accelerator.driver=auto", "accelerator.usb.id=dead:beef")
    reload(running)
    assert running.reloader.setup.until_one_comes
    assert running.reloader.setup.bundles.main.id == "person"


def test_an_accelerator_that_was_there_once_is_not_forgotten_by_who_leaves_the_choice_later(
    running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EchoAccelerator, "was_there", True)
    running.config = config("model.bundle=auto", "accelerator.driver=auto", "accelerator.usb.id=dead:beef")
    reload(running)
    assert not running.reloader.setup.until_one_comes
    assert running.reloader.setup.bundles.main.id == "gnetseg-large-224y"


@pytest.fixture
def waiting(running: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """It runs without an accelerator; ``proven`` is what is tried for one that comes."""
    running.config = config("model.bundle=auto", "accelerator.driver=auto", "accelerator.usb.id=dead:beef")
    reload(running)
    running.checked, running.proven = 0, []
    monkeypatch.setattr(module, "prove_in_fresh_process", lambda bundle, _: running.proven.append(bundle.id))
    running.accelerator = EchoAccelerator()
    return running


def take(running: Any) -> None:
    running.reloader.take_accelerator()
    wait_until(running.reloader.finished)


def test_the_first_accelerator_that_comes_changes_the_networks_and_reads_no_file(waiting: Any) -> None:
    before, waiting.config = waiting.reloader.setup, config("camera.fps=50")
    take(waiting)
    setup = waiting.reloader.setup
    assert setup.config is before.config
    assert [bundle.id for bundle in setup.bundles] == ["gnetseg-large-224y", "person-gray"]
    assert not setup.until_one_comes
    assert waiting.road.pipeline.accelerator is waiting.accelerator
    assert (waiting.checked, waiting.proven) == (0, ["person-gray"])
    masks(waiting.road)


def test_a_network_that_does_not_pass_its_trial_is_not_taken_for_it(
    waiting: Any, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise PermanentError("model person-gray: it crashes; export it again")

    monkeypatch.setattr(module, "prove_in_fresh_process", fail)
    before, accelerator = waiting.reloader.setup, waiting.road.pipeline.accelerator
    take(waiting)
    assert waiting.reloader.setup is before
    assert waiting.road.pipeline.accelerator is accelerator
    assert "it crashes; export it again; the running configuration stays" in words()
    masks(waiting.road)


@pytest.mark.parametrize(
    ("line", "other", "network_is_made_anew"),
    [
        ('title = "', 'title = "Now ', False),
        ("[mask]", '[runtime]\nx86_64 = "tflite-runtime"\n[mask]', True),
        ('encoding = "u8"', 'encoding = "scores"\nthreshold = 0.25', True),
    ],
)
def test_whatever_of_a_bundle_changes_what_runs_is_taken_over(
    running: Any, tmp_path: Path, line: str, other: str, network_is_made_anew: bool
) -> None:
    shutil.copytree(MODELS / "threshold-32", tmp_path / "own")
    running.config = config(f"model.bundle={tmp_path / 'own'}")
    reload(running)
    before, running.accelerator = running.road.pipeline.accelerator, EchoAccelerator()
    manifest = tmp_path / "own" / "model.toml"
    text = manifest.read_text()
    assert text.count(line) == 1
    manifest.write_text(text.replace(line, other))
    reload(running)
    assert (running.road.pipeline.accelerator is not before) is network_is_made_anew
    masks(running.road)


def test_a_request_during_a_reload_makes_another_one_after_it_and_both_together_are_finished_once(
    running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, go = threading.Event(), threading.Event()
    seen = []

    def check(*_: Any) -> None:
        seen.append(running.config)
        held.set()
        assert go.wait(10)

    monkeypatch.setattr(module, "check_in_child", check)
    reloader = running.reloader
    reloader.request()
    assert held.wait(10)
    assert reloader.busy
    assert not reloader.finished()
    newest = config("camera.fps=50")
    running.config, running.camera = newest, camera()
    for _ in range(5):
        reloader.request()
    go.set()
    finished = []
    wait_until(lambda: finished.append(reloader.finished()) or finished[-1])
    assert len(seen) == 2
    assert reloader.setup.config is newest
    assert not reloader.busy
    assert not reloader.finished(), "it is said once"


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), RecursionError(), MemoryError(), PermanentError("no such key")]
)
def test_whatever_is_raised_before_the_change_keeps_the_setup(
    running: Any, words: Words, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    before, parts = running.reloader.setup, running.road.parts
    monkeypatch.setattr(module, "load_config", fail)
    reload(running)
    assert running.reloader.setup is before
    assert running.road.parts == parts
    assert running.reloader.fatal is None
    assert "the running configuration stays" in words()
    masks(running.road)


@pytest.mark.parametrize("setting", ["camera.name=other", 'publish.endpoints=["tcp://127.0.0.1:5999"]'])
def test_what_needs_a_restart_is_refused_before_anything_is_touched(
    running: Any, words: Words, setting: str
) -> None:
    running.config = config(setting, "camera.fps=50")
    running.camera = camera()
    reload(running)
    assert "only with a restart; the running configuration stays" in words()
    assert running.camera.opened == 0
    masks(running.road)


def test_a_camera_that_a_person_has_to_mend_brings_the_one_before_back(running: Any, words: Words) -> None:
    before, parts = running.reloader.setup, running.road.parts
    running.camera = Script(*(PermanentError("no such clip; mend camera.video.path") for _ in range(9)))
    running.config = config("camera.fps=50")
    reload(running)
    assert running.camera.opened == 1
    assert running.reloader.setup is before
    assert running.road.parts == parts
    assert "reload: no such clip; mend camera.video.path; the running configuration stays" in words()
    masks(running.road)


def test_a_network_that_a_person_has_to_mend_brings_the_one_before_back(running: Any, words: Words) -> None:
    class Broken(EchoAccelerator):
        def open(self) -> Any:
            raise PermanentError("the delegate is not here")

    before, parts = running.reloader.setup, running.road.parts
    running.accelerator = Broken()
    running.config = config("accelerator.standin.threads=1")
    reload(running)
    assert running.reloader.setup is before
    assert running.road.parts == parts
    assert "reload: the delegate is not here; the running configuration stays" in words()
    masks(running.road)


def test_a_camera_that_may_come_yet_is_taken_and_waited_for(running: Any, words: Words) -> None:
    running.camera = Script(TransientError("not plugged in yet"), list(range(100_000)), period_s=0.001)
    running.config = config("camera.fps=50")
    reload(running)
    assert "reload: done" in words()
    assert running.reloader.setup.config is running.config
    masks(running.road)


def test_a_part_that_does_not_let_go_leads_nowhere_but_to_a_new_process(
    running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(road_module, "CHANGE_LIMIT_S", 0.05)
    blocked = threading.Event()
    running.events = [blocked]
    running.camera.hang = ("close", blocked)
    running.camera = camera()
    running.config = config("camera.fps=50")
    reload(running)
    assert isinstance(running.reloader.fatal, TransientError)
    assert running.reloader.fatal.exit_code == 75
    assert running.camera.opened == 0


def test_what_goes_wrong_in_the_middle_of_a_change_leads_nowhere_but_to_a_new_process(
    running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(running.road, "_make_camera", no_memory)
    running.config = config("camera.fps=50")
    reload(running)
    assert isinstance(running.reloader.fatal, GnetsegError)
    assert "memory ran out" in str(running.reloader.fatal)

"""Which network runs is decided for the person: by whether there is an accelerator."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from gnetsegd.config import from_dict
from gnetsegd.errors import ConfigError
from gnetsegd.process.networks import Choice, choices, choose, load

from .conftest import MODELS


def config(driver: str = "auto", **model: str):  # type: ignore[no-untyped-def]
    return from_dict(
        {"camera": {"driver": "pattern"}, "accelerator": {"driver": driver}, "model": model}, "here"
    )


def test_a_machine_that_never_had_an_accelerator_gets_the_best_network_for_its_processor() -> None:
    assert choose(config(), accelerator_seen=False) == Choice("person", "person", until_one_comes=True)
    assert choose(config("standin"), accelerator_seen=True) == Choice("person", "person", False)


def test_one_that_has_one_gets_the_pair() -> None:
    assert choose(config(), accelerator_seen=True) == Choice("gnetseg-large-224y", "person-gray", False)
    assert choose(config("usb"), accelerator_seen=False)[:2] == ("gnetseg-large-224y",) * 2


def test_the_pair_takes_the_same_pictures_and_gives_the_same_masks() -> None:
    main, fallback = load(choose(config(), accelerator_seen=True))
    assert (main.id, fallback.id) == ("gnetseg-large-224y", "person-gray")
    assert (main.input, main.labels) == (fallback.input, fallback.labels)
    assert main.mask.size_bytes == fallback.mask.size_bytes


@pytest.mark.parametrize("seen", [False, True])
def test_who_names_a_network_has_decided(seen: bool) -> None:
    assert choose(config(bundle="gnetseg-tiny"), seen) == Choice("gnetseg-tiny", "gnetseg-tiny", False)
    named = config(bundle="gnetseg-tiny", fallback="person-gray")
    assert choose(named, seen) == Choice("gnetseg-tiny", "person-gray", False)


def test_all_that_may_come_of_a_configuration_is_checked() -> None:
    assert [choice.main for choice in choices(config())] == ["person", "gnetseg-large-224y"]
    assert len(choices(config("standin"))) == 1
    assert len(choices(config(bundle="person"))) == 1


def test_a_fallback_where_nothing_falls_back_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.fallback is for .*, and not for standin; leave it empty"):
        choose(config("standin", fallback="person"), accelerator_seen=False)


@pytest.mark.parametrize(
    ("fallback", "sentence"),
    [
        ("person", "their input are Y 224x224 and YUV444 256x256"),
        ("gnetseg-driving", "their input are Y 224x224 and Y 448x448"),
    ],
)
def test_a_pair_of_unlike_pictures_is_refused_with_both(fallback: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as raised:
        load(choose(config(bundle="gnetseg-large-224y", fallback=fallback), accelerator_seen=True))
    assert f"the models gnetseg-large-224y and {fallback} cannot take each other's place" in str(raised.value)
    assert raised.value.exit_code == os.EX_CONFIG


def test_a_pair_of_unlike_labels_is_refused(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "threshold-32", tmp_path / "other")
    manifest = tmp_path / "other" / "model.toml"
    manifest.write_text(manifest.read_text().replace('"person"', '"cat"'))
    first, second = str(MODELS / "threshold-32"), str(tmp_path / "other")
    with pytest.raises(ConfigError, match="their labels are background, person and background, cat"):
        load(Choice(first, second, False))


def test_what_makes_the_masks_just_now_is_found_by_its_digest() -> None:
    bundles = load(choose(config(), accelerator_seen=True))
    assert bundles.of(bundles.fallback.sha256) is bundles.fallback
    assert bundles.of(bundles.main.sha256) is bundles.main
    assert bundles.of(bytes(32)) is bundles.main

"""A configuration is used as written, or refused by key."""

from __future__ import annotations

from pathlib import Path

import pytest
from gnetseg_zoo.config import ConfigError, load_config
from gnetseg_zoo.describe import CONFIGS, shipped_names


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_configuration_can_be_read_and_built(name):
    config = load_config(CONFIGS / f"{name}.toml")
    assert config.name == name
    assert config.build_network().classes == len(config.network.classes)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("batch = 32", "bach = 32", "bach"),
        ("minutes = ", "minutes = -", "minutes"),
        ("until = 1.0", "until = 0.9", "must rise in 'until' from above 0 and end at 1.0"),
        ("until = 0.15", "until = 0.0", "must rise in 'until' from above 0"),
        ("until = 0.15", "until = 1.0", "must rise in 'until' from above 0"),
        ("size = 176", "size = 182", "the size 182 is not a multiple of 8"),
        ("seed = ", "seed = -", "seed"),
        ("[augmentation]", "[augmentation]\nflip = 1.5", r"augmentation\.flip is 1\.5"),
        ("[sources]", "[sources]\nother = -1.0", r"\[sources\] 'other' is -1"),
        ('name = "mine"', 'name = "yours"', "name is 'yours'; give it the name of the file, 'mine'"),
        ('variant = "reformat"', 'variant = "reformed"', "variant"),
        ("[network]", "[network", "cannot be read as TOML"),
    ],
)
def test_a_faulty_configuration_names_file_and_key(tmp_path: Path, old, new, sentence):
    text = (CONFIGS / "gnetseg-tiny.toml").read_text("utf-8")
    text = text.replace('name = "gnetseg-tiny"', 'name = "mine"')
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_config(path)
    assert "mine.toml" in str(caught.value)

"""Every network of the zoo can be described by its name, without a training package."""

from __future__ import annotations

import json
import tomllib

import pytest
from gnetseg_zoo import describe
from gnetseg_zoo.describe import CONFIGS, shipped_names
from gnetseg_zoo.selfie.plan import CONFIGS as SELFIE_CONFIGS

from gnetsegd.model import SHIPPED


def said(capsys, *arguments):
    assert describe.main(list(arguments)) == 0
    return capsys.readouterr().out


def test_the_list_names_every_configuration_and_every_bundle_of_the_paper(capsys):
    listed = said(capsys, "--list").split()
    assert listed == sorted(path.stem for path in CONFIGS.glob("*.toml"))
    begun_elsewhere = {path.stem for path in SELFIE_CONFIGS.glob("*.toml")}
    assert {path.parent.name for path in SHIPPED.glob("*/model.toml")} <= set(listed) | begun_elsewhere


@pytest.mark.parametrize("name", shipped_names())
def test_each_name_is_described_for_people_and_for_programs(name, capsys):
    config = tomllib.loads((CONFIGS / f"{name}.toml").read_text("utf-8"))
    assert config["name"] == name, "a configuration has the name of its file"
    text, plain = said(capsys, name), json.loads(said(capsys, name, "--json"))
    network = config["network"]
    title = f"{network['size']} {network['input_format']} {network['encoding']}"
    assert title in text.splitlines()[0]
    assert plain["architecture"] == network["architecture"]
    assert plain["macs"] == sum(layer["macs"] for layer in plain["layers"])
    assert len(plain["chip"]) == text.count("published: ") + text.count("inferred: ")


@pytest.mark.parametrize("name", shipped_names())
def test_a_configuration_for_the_accelerator_keeps_the_limits_of_the_chip(name, capsys):
    config = tomllib.loads((CONFIGS / f"{name}.toml").read_text("utf-8"))
    plain = json.loads(said(capsys, name, "--json"))
    if config.get("accelerator", False):
        assert plain["fits_chip"], [v["reason"] for v in plain["chip"] if not v["fits"]]
    else:
        assert plain["fits_chip"] == ("NOT " not in said(capsys, name))


@pytest.mark.parametrize(("encoding", "noted"), [("softmax", True), ("integer", False)])
def test_where_the_argmax_is_computed_is_said_of_softmax_only(encoding, noted, capsys):
    given = ("large", "--widths", "8,16,32,48", "--encoding", encoding)
    assert ("The chip computes them and no argmax" in said(capsys, *given)) is noted
    assert json.loads(said(capsys, *given, "--json"))["argmax_in_file"] is noted


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gnetseg-huge"], "no network is called 'gnetseg-huge'; there are "),
        (["large"], "large wants --widths"),
        (["gnetseg-tiny", "--widths", "8,16,24"], "--widths is for an architecture (large, medium, small)"),
        (["gnetseg-tiny", "--size", "0"], "--size is for an architecture (large, medium, small)"),
        (["large", "--widths", "8,16,24,32", "--size", "0"], "must be a multiple of 8; given 0"),
        (["gnetseg-huge", "--widths", "8"], "no network is called 'gnetseg-huge'; there are "),
        (["large", "--widths", "8,x"], "--widths takes numbers with commas between"),
        (["none.toml"], "no network is called 'none.toml'"),
    ],
)
def test_what_cannot_be_described_is_refused_with_the_remedy(arguments, sentence, capsys):
    assert describe.main(arguments) == 64
    assert sentence in capsys.readouterr().err

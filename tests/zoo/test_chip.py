"""The chip's limits say what fits, what does not, and why."""

from __future__ import annotations

import pytest
from gnetseg_zoo.chip import check, chip_layers
from gnetseg_zoo.describe import named
from gnetseg_zoo.networks import build


def refused(network):
    return {verdict.limit: verdict.reason for verdict in check(network) if not verdict.fits}


def test_a_wide_large_network_fits_the_chip():
    assert refused(build("large", widths=(32, 64, 128, 192), down="pool")) == {}


def test_a_change_of_channels_inside_a_major_layer_counts_as_another_one():
    network = build("large", widths=(8, 16, 32, 48), last_width=8)
    assert len(chip_layers(network)) == 8
    assert refused(network)["major layers"].startswith("8, at most 7")


def test_two_layers_of_one_width_and_size_are_one():
    assert len(chip_layers(build("medium", widths=(8, 16, 24, 24)))) == 5
    assert len(chip_layers(build("large", widths=(8, 16, 32, 32)))) == 6


@pytest.mark.parametrize(
    ("name", "layers"), [("gnetseg-large-224y", 7), ("gnetseg-medium", 6), ("gnetseg-small", 5)]
)
def test_the_chip_counts_the_accelerators_networks_as_the_paper_does(name, layers):
    counted = chip_layers(named(name))
    assert len(counted) == layers
    assert min(counted) >= 2
    assert counted[-1] == 2  # before the reformat (figure 2)


def test_where_a_stride_is_centred_is_named_as_inferred():
    (told,) = (v for v in check(named("gnetseg-large-224y")) if v.limit == "stride corner")
    assert "inferred" in told.reason


@pytest.mark.parametrize(
    ("arguments", "limit", "number"),
    [
        ({"size": 256}, "input size", "256"),
        ({"widths": (2, 4, 8, 8)}, "fewest channels", "2"),
        ({"widths": (8, 16, 32, 2048)}, "most channels", "2,048"),
        ({"sublayers": (1, 2, 2, 13, 2, 2, 2)}, "sublayers", "13"),
        ({"size": 448, "widths": (64, 128, 128, 128)}, "activation memory", ""),
        ({"widths": (8, 16, 32, 1024)}, "weight memory", ""),
    ],
)
def test_each_limit_that_is_broken_is_named_with_its_number(arguments, limit, number):
    reasons = refused(build("large", **{"widths": (8, 16, 32, 48), **arguments}))
    assert limit in reasons
    assert reasons[limit].startswith(number)
    assert "published" in reasons[limit] or "inferred" in reasons[limit]

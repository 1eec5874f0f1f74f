"""The architectures read as in the paper's section 2.2, and their sizes work out."""

from __future__ import annotations

import pytest
from gnetseg_zoo.costs import layer_costs, macs, parameters
from gnetseg_zoo.describe import named
from gnetseg_zoo.networks import ARCHITECTURES, INPUT_CHANNELS, NetworkError, build

WIDTHS = {"large": (8, 16, 32, 48), "medium": (8, 16, 32, 48), "small": (8, 16, 32, 48)}


@pytest.mark.parametrize(
    ("architecture", "variant", "pattern"),
    [
        ("large", "original", "DOWN-DOWN-DOWN-NONE-UP-UP-UP"),
        ("large", "reformat", "DOWN-DOWN-DOWN-NONE-UP-UP-(NONE+reformat)"),
        ("medium", "original", "DOWN-DOWN-NONE-NONE-UP-UP"),
        ("medium", "reformat", "DOWN-DOWN-NONE-NONE-UP-(NONE+reformat)"),
        ("small", "original", "DOWN-DOWN-NONE-NONE-NONE"),
    ],
)
def test_each_network_reads_as_in_the_paper(architecture, variant, pattern):
    assert build(architecture, widths=WIDTHS[architecture], variant=variant).pattern == pattern


def test_the_integer_mask_of_large_is_reformatted_from_4x112x112_to_1x224x224():
    network = build("large", widths=WIDTHS["large"])
    last = network.layers[-1]
    assert (last.sublayers[-1].out_channels, last.reformat) == (4, 2)
    assert layer_costs(network)[-1].in_size == 112
    assert (network.output_channels, network.output_size) == (1, 224)


def test_the_softmax_mask_of_two_classes_is_reformatted_from_8_channels():
    network = build("large", widths=WIDTHS["large"], encoding="softmax")
    assert network.layers[-1].sublayers[-1].out_channels == 8
    assert network.output_channels == 2


def test_without_reformat_the_last_layer_has_the_4_channels_that_the_chip_needs():
    network = build("large", widths=WIDTHS["large"], variant="original")
    assert network.layers[-1].sublayers[-1].out_channels == 4
    assert (network.output_channels, network.output_size) == (1, 224)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("variant", ["original", "reformat"])
@pytest.mark.parametrize("size", [224, 448])
@pytest.mark.parametrize("input_format", INPUT_CHANNELS)
@pytest.mark.parametrize(("encoding", "classes"), [("integer", 2), ("integer", 16), ("softmax", 16)])
def test_every_combination_of_the_paper_can_be_built(
    architecture, variant, size, input_format, encoding, classes
):
    network = build(
        architecture,
        widths=WIDTHS[architecture],
        variant=variant,
        size=size,
        input_format=input_format,
        encoding=encoding,
        classes=classes,
    )
    full = variant == "reformat" or architecture != "small"
    assert network.output_size == (size if full else size // 4)
    assert network.sublayers()[0].in_channels == INPUT_CHANNELS[input_format]
    assert macs(network) > 0


def test_one_convolution_costs_what_a_person_reckons():
    costs = layer_costs(build("large", widths=WIDTHS["large"], sublayers=(1, 2, 2, 3, 2, 2, 2)))[0]
    assert costs.macs == 9 * 1 * 8 * 112 * 112
    assert costs.parameters == 9 * 1 * 8 + 8
    assert costs.largest_values == 224 * 224 + 8 * 112 * 112


def test_the_default_stand_in_is_about_150_million_macs():
    network = named("gnetseg-large-cpu30")
    assert 145e6 <= macs(network) <= 155e6
    assert parameters(network) < 150_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"architecture": "huge"}, "no architecture is called 'huge'; there are large, medium, small"),
        ({"widths": (8,)}, "takes 4 widths"),
        ({"size": 220}, "must be a multiple of 8; given 220"),
        ({"classes": 1}, "2 to 256 classes"),
        ({"sublayers": (1, 2)}, "7 major layers"),
        ({"input_format": "NV12"}, "no input format is called 'NV12'"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_with_the_remedy(arguments, sentence):
    given = {"architecture": "large", "widths": WIDTHS["large"], **arguments}
    with pytest.raises(NetworkError, match=sentence):
        build(given.pop("architecture"), **given)

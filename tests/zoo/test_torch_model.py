"""The network in PyTorch is the one of the table, and folding changes nothing."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from gnetseg_zoo.networks import ARCHITECTURES, build  # noqa: E402
from gnetseg_zoo.training.losses import integer_loss, softmax_loss  # noqa: E402
from gnetseg_zoo.training.torch_model import GnetSeg, pad_for_stride  # noqa: E402

WIDTHS = {"large": (4, 4, 8, 8), "medium": (4, 4, 8, 8), "small": (4, 4, 8, 8)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("variant", ["original", "reformat"])
@pytest.mark.parametrize("down", ["stride", "pool"])
@pytest.mark.parametrize(("encoding", "channels"), [("integer", 1), ("softmax", 3)])
def test_every_architecture_gives_a_mask_of_the_promised_size(
    architecture, variant, down, encoding, channels
):
    network = build(
        architecture,
        widths=WIDTHS[architecture],
        variant=variant,
        down=down,
        size=32,
        encoding=encoding,
        classes=3,
    )
    out = GnetSeg(network)(torch.zeros(2, 1, 32, 32))
    assert out.shape == (2, channels, network.output_size, network.output_size)


def test_folded_normalisation_computes_the_same():
    torch.manual_seed(1)
    model = GnetSeg(build("large", widths=WIDTHS["large"], size=32)).eval()
    layer = model.convs[2]
    layer.norm.running_mean.uniform_(-1, 1)
    layer.norm.running_var.uniform_(0.5, 2)
    layer.norm.weight.data.uniform_(0.5, 2)
    layer.norm.bias.data.uniform_(-1, 1)
    x = torch.randn(1, layer.conv.in_channels, 8, 8)
    kernel, bias = layer.folded()
    stride = layer.conv.stride
    padded = pad_for_stride(x) if stride == (2, 2) else x
    ours = torch.nn.functional.conv2d(padded, kernel, bias, stride, layer.conv.padding)
    torch.testing.assert_close(ours, layer(x))


def test_the_integer_loss_is_the_squared_error_of_the_clamped_label():
    raw = torch.tensor([-1.0, 0.25, 2.0, -1.0]).reshape(4, 1, 1, 1).requires_grad_()
    label = torch.tensor([0.0, 1.0, 1.0, 1.0]).reshape(4, 1, 1, 1)
    loss = integer_loss(raw, label, classes=2)
    assert loss.tolist() == pytest.approx([0.0, 0.5625, 0.0, 1.0])
    loss.sum().backward()
    # A pixel that is wrong beyond the clamp still hears of it; one that is right does not.
    assert raw.grad.flatten().tolist() == pytest.approx([0.0, -1.5, 0.0, -2.0])


def test_the_softmax_loss_leaves_out_pixels_without_a_label():
    raw = torch.zeros(1, 2, 1, 2)
    some = softmax_loss(raw, torch.tensor([[[0, 255]]]))
    assert some.tolist() == pytest.approx([0.6931472])

# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""The two losses of the paper, section 2.4. Needs torch."""

from __future__ import annotations

import torch
from torch import Tensor


def integer_loss(raw: Tensor, label: Tensor, classes: int) -> Tensor:
    """Mean squared error of the regressed label, one value a picture, float32 [batch].

    ``raw``: [batch, 1, h, w] before the last ReLU; ``label``: the same shape, 0 to
    classes - 1 (fractions on soft edges). The deployed network clamps to that range
    (ReLU below, minimum above), so the error is taken after the clamp; its gradient
    passes the clamp straight through, or a pixel wrong beyond the clamp could never
    come back.
    """
    clamped = raw.detach().clamp(0.0, float(classes - 1))
    gap = clamped - label
    # Value: gap^2. Gradient with respect to raw: 2*gap.
    error = gap.square() + 2 * gap * (raw - raw.detach())
    return error.mean(dim=(1, 2, 3))


def softmax_loss(raw: Tensor, label: Tensor, ignore: int = 255) -> Tensor:
    """Cross entropy, one value a picture, float32 [batch].

    ``raw``: [batch, classes, h, w]; ``label``: int64 [batch, h, w], ``ignore`` where
    nothing is known.
    """
    error = torch.nn.functional.cross_entropy(raw, label, ignore_index=ignore, reduction="none")
    known = (label != ignore).sum(dim=(1, 2)).clamp(min=1)
    return error.sum(dim=(1, 2)) / known

# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""The two losses of the paper, section 2.4. Needs torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnetseg_zoo.datasets.labels import IGNORE


def integer_loss(raw: Tensor, label: Tensor, classes: int, known: Tensor | None = None) -> Tensor:
    """Mean squared error of the regressed label, one value a picture, float32 [batch].

    ``raw``: [batch, 1, h, w] before the last ReLU; ``label``: the same shape, 0 to
    classes - 1 (fractions on soft edges); ``known``: of that shape, how much a pixel counts (0..1),
    or bool, false where no label is known. The deployed network clamps to the range of labels (ReLU below,
    minimum above), so the error is taken after the clamp; its gradient passes the clamp
    straight through, or a pixel wrong beyond the clamp could never come back.
    """
    clamped = raw.detach().clamp(0.0, float(classes - 1))
    gap = clamped - label
    # Value: gap^2. Gradient with respect to raw: 2*gap.
    error = gap.square() + 2 * gap * (raw - raw.detach())
    return _mean(error, known)


def soft_person_loss(raw: Tensor, person: Tensor) -> Tensor:
    """Cross entropy with a probability for target, one value a picture, float32 [batch].

    ``raw``: [batch, 2, h, w], background first; ``person``: [batch, 1, h, w], 0 to 1.
    """
    logs = torch.log_softmax(raw, dim=1)
    error = -(1 - person) * logs[:, :1] - person * logs[:, 1:]
    return _mean(error, None)


def softmax_loss(raw: Tensor, label: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross entropy, one value a picture, float32 [batch].

    ``raw``: [batch, classes, h, w]; ``label``: int64 [batch, h, w], ``IGNORE`` where
    nothing is known; ``weights``: float32 [classes], how much a class counts.
    """
    known = label != IGNORE
    error = torch.nn.functional.cross_entropy(
        raw, label, weight=weights, ignore_index=IGNORE, reduction="none"
    )
    return _mean(error, known)


def _mean(error: Tensor, known: Tensor | None) -> Tensor:
    """Mean over the pixels of each picture by how much they count; 0 for a picture of which none does."""
    if known is None:
        return error.flatten(1).mean(dim=1)
    kept = error * known
    return kept.flatten(1).sum(dim=1) / known.flatten(1).sum(dim=1).clamp(min=1)


def balanced_weights(shares: Tensor) -> Tensor:
    """Weights of classes that cover ``shares`` (0..1) of the pixels: 1 / ln(1.02 + share).

    Rare classes then count up to thirty times as much (ENet, Paszke et al. 2016, section 5.2).
    """
    return 1 / torch.log(1.02 + shares)

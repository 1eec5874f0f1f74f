# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Batches made by processes beside the training. Needs torch and OpenCV."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import cv2
from torch.utils.data import DataLoader

from gnetseg_zoo.training.checkpoint import CheckpointError
from gnetseg_zoo.training.machine import Machine


class Batches(Protocol):
    """``batches[step]``: the arrays of one training step, always the same for the same step."""

    def __getitem__(self, step: int) -> Any: ...


def load(batches: Batches, first_step: int, machine: Machine, workers: int = 0) -> Iterator[Any]:
    """Batches as tensors from ``first_step`` on, by ``workers`` processes (0: as many as are of use).

    Raises :class:`CheckpointError` when one of them ends.
    """
    first = first_step * machine.ranks + machine.rank
    steps: Sequence[int] = range(first, first + 10**7 * machine.ranks, machine.ranks)
    on_gpu = machine.device.type == "cuda"
    # One keeps a processor's convolutions busy; a GPU wants many.
    useful = max(1, (os.cpu_count() or 2) // machine.ranks - 1) if on_gpu else 1
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=steps,
        num_workers=workers or useful,
        # A fork would inherit locks of this process's threads; but many share the photos in memory.
        multiprocessing_context="fork" if on_gpu else "spawn",
        prefetch_factor=6,
        worker_init_fn=_one_thread,
    )
    try:
        yield from loader
    except RuntimeError as error:
        raise CheckpointError(
            f"the process that makes the pictures ended ({error}); the last checkpoint is intact, "
            f"start the same command again"
        ) from error


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(1)  # the other threads are the convolutions'

# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""What a run computes on: the processor, one GPU, or one of several through torchrun. Needs torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gnetseg_zoo.config import ConfigError

T = TypeVar("T")
LONGEST_WAIT = timedelta(hours=2)
"""For the first process, which may have a whole data set to decode."""


@dataclass(frozen=True)
class Machine:
    """``rank`` of ``ranks`` processes that train together; ``bfloat16``: convolutions compute in it."""

    device: torch.device
    rank: int
    ranks: int
    bfloat16: bool

    @property
    def leads(self) -> bool:
        """Whether this process writes checkpoints, log and messages."""
        return self.rank == 0

    def autocast(self) -> torch.autocast:
        """Half precision for what is computed inside of it, where that was chosen."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def joined(self, model: nn.Module) -> Any:
        """``model`` whose gradients are the mean over all processes."""
        if self.ranks == 1:
            return model
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids)

    def agreed(self, seconds: float) -> float:
        """The first process's ``seconds``: all must leave a stage after the same step."""
        if self.ranks == 1:
            return seconds
        value = torch.tensor([seconds], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(value, src=0)
        return float(value.item())

    def in_turn(self, work: Callable[[], T]) -> T:
        """``work()``, the first process's before that of the others: it fills caches, they read them."""
        if self.leads:
            done = work()
            self.wait()
            return done
        self.wait()
        return work()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.ranks > 1:
            torch.distributed.barrier()

    def leave(self) -> None:
        """Part from the other processes."""
        if self.ranks > 1:
            torch.distributed.destroy_process_group()


def this_machine(device: str = "auto", *, bfloat16: bool = False) -> Machine:
    """``device``: "cpu", "cuda", or "auto", which takes a GPU where there is one.

    ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK`` are torchrun's. Raises :class:`ConfigError` for a
    device that is not here.
    """
    ranks, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    kind = device
    if device == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    known = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    if kind not in known:
        raise ConfigError(f"there is no device {device!r} here; give --device {' or '.join(known)}, or auto")
    if kind == "cuda":
        kind = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    chosen = torch.device(kind)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if ranks > 1:
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    return Machine(chosen, rank, ranks, bfloat16)

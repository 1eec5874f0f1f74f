# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Checkpoints that a full disk or a lost power line cannot take away. Needs torch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from gnetseg_zoo.errors import ZooError
from gnetseg_zoo.files import write_whole

FORMAT = 1
CHECKPOINT = "checkpoint.pt"
"""Its name in the folder of a run."""


class CheckpointError(ZooError, RuntimeError):
    """A checkpoint that cannot be written or used; the message names it and the remedy."""


def save_checkpoint(path: Path, state: dict[str, Any], network: str) -> None:
    """Write ``state`` (what ``torch.save`` takes) and the network's description.

    Raises :class:`CheckpointError` if the disk is full or the folder not writable.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "network": network, **state}, buffer)
    try:
        write_whole(path, buffer.getvalue())
    except OSError as error:
        raise CheckpointError(
            f"{path}: the checkpoint cannot be written ({error.strerror or error}); the one before it is "
            f"intact. Make room there and start the same command again"
        ) from error


def load_checkpoint(path: Path, network: str) -> dict[str, Any]:
    """The state saved at ``path``, on the processor.

    Raises :class:`CheckpointError` if it is missing, damaged, or of another network, and
    :class:`OSError` if it cannot be read, which says nothing of what is in it.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no checkpoint; train first") from error
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError or UnpicklingError
        raise CheckpointError(f"{path}: damaged or not a checkpoint; remove it to begin anew") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this program; remove it to begin anew")
    if state["network"] != network:
        raise CheckpointError(
            f"{path}: is of another network ({state['network']}), the configuration describes {network}; "
            f"name another --output or remove it"
        )
    return state


def fingerprint(network: object) -> str:
    """The description that a checkpoint is compared by: the network's own repr, shortened by nothing."""
    return repr(network)

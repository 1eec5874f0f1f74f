"""No checkpoint is lost, and none of another network is taken."""

from __future__ import annotations

import errno
import os

import pytest

pytest.importorskip("torch")

from gnetseg_zoo.networks import build
from gnetseg_zoo.training.checkpoint import CheckpointError, fingerprint, load_checkpoint, save_checkpoint

LARGE = fingerprint(build("large", widths=(8, 16, 32, 48)))
SMALL = fingerprint(build("small", widths=(8, 16, 32, 48)))


def test_a_disk_that_fills_up_leaves_the_former_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1}, LARGE)

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*the one before it is intact"):
        save_checkpoint(path, {"step": 2}, LARGE)
    assert load_checkpoint(path, LARGE)["step"] == 1


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1}, SMALL)
    with pytest.raises(CheckpointError, match=r"of another network.*small.*describes.*large"):
        load_checkpoint(path, LARGE)


@pytest.mark.parametrize(
    "fault", [PermissionError(errno.EACCES, "no"), OSError(errno.EIO, "no"), MemoryError()]
)
def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch, fault):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1}, LARGE)

    def unreadable(*_given, **_options):
        raise fault

    monkeypatch.setattr("torch.load", unreadable)
    with pytest.raises(type(fault)):
        load_checkpoint(path, LARGE)


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_missing_or_damaged_checkpoint_is_one_sentence(tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: "):
        load_checkpoint(path, LARGE)

"""A write that is interrupted leaves the former file intact."""

from __future__ import annotations

import errno
import os

import pytest
from gnetseg_zoo.files import write_whole


def test_a_full_disk_leaves_the_former_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    write_whole(path, b"former")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"newer")
    assert path.read_bytes() == b"former"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_whole_write_replaces_the_former_file(tmp_path):
    path = tmp_path / "checkpoint.pt"
    write_whole(path, b"former")
    write_whole(path, b"newer")
    assert path.read_bytes() == b"newer"

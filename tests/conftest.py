"""Fixtures that every room's tests may use."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

_numbers = itertools.count()


@pytest.fixture
def ipc_endpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fresh ipc endpoint with a path short enough for a Unix socket."""
    folder = tmp_path_factory.mktemp("s")
    return f"ipc://{folder}/{next(_numbers)}.sock"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The small files that the tests bring along."""
    return Path(__file__).parent / "data"

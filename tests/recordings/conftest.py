"""A daemon that sends what a test says (tests/client), recordings of it, and their messages."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))


@pytest.fixture
def room() -> Iterator[Callable[[int], None]]:
    """No file gets larger than so many bytes: the kernel writes a part and refuses, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)

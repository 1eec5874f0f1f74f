"""What the tests of subscribers share; fake_publisher.py lies beside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fake_publisher import FakePublisher


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/masks.sock"


@pytest.fixture
def publisher(endpoint: str) -> Iterator[FakePublisher]:
    from fake_publisher import FakePublisher

    with FakePublisher(endpoint) as fake:
        yield fake

"""What the tests of services share: a publisher without a daemon (tests/client), and the page served here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))
sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from served_page import Page


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Page]]:
    from served_page import Page

    made: list[Page] = []

    def make(*endpoints: str, **options: Any) -> Page:
        made.append(Page(endpoints, tmp_path / "state", **options))
        return made[-1]

    yield make
    for page in made:
        page.close()

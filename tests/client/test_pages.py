"""The Python on the pages runs as it stands there, against a daemon that sends what it says."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from fake_publisher import FakeDaemon

from gnetsegd import client
from gnetsegd.client import MaskSubscriber, NoData, Smoother, Zone

TOP = Path(__file__).parents[2]
SOCKET = "ipc:///run/gnetsegd/masks.sock"
#: A loop is left after so many masks.
MASKS = 3


class Enough(Exception):
    """The program has shown what it does."""


def programs(page: str) -> list[str]:
    """Fenced blocks of Python, and indented ones that import something."""
    text = (TOP / page).read_text("utf-8")
    fenced = re.findall(r"```python\n(.*?)```", text, re.S)
    indented = re.findall(r"(?:^ {4}[^\n]*\n|^\n(?= {4}))+", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return fenced + [textwrap.dedent(block) for block in indented if "import " in block]


def given(endpoint: str, masks: MaskSubscriber, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a page has told of before its block: an open subscriber, a mask, the robot's own calls."""
    mask = masks.latest()
    while mask is None:
        mask = masks.latest()
    calls: list[Any] = []

    def call(*given: Any, **_: Any) -> None:
        calls.append(given)
        if len(calls) >= MASKS:
            raise Enough

    monkeypatch.setattr(client, "client_config", lambda _: {"endpoint": endpoint, "camera": "cam0"})
    return {
        "masks": masks, "mask": mask, "MaskSubscriber": MaskSubscriber, "NoData": NoData,
        "Smoother": Smoother, "path": Zone((0.1, 0.1, 0.9, 0.9)), "stop": call, "drive": call, "print": call,
    }  # fmt: skip


BLOCKS = [
    pytest.param(block, id=f"{page}-{number}")
    for page in ("README.md", "docs/client.md", "docs/network.md")
    for number, block in enumerate(programs(page))
]


def test_the_pages_have_programs() -> None:
    assert len(BLOCKS) >= 6


@pytest.mark.parametrize("block", BLOCKS)
def test_each_program_runs(block: str, ipc_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = block.replace(SOCKET, ipc_endpoint).replace(
        "MaskSubscriber()", f'MaskSubscriber("{ipc_endpoint}")'
    )
    with FakeDaemon(ipc_endpoint) as daemon, MaskSubscriber(daemon.endpoint) as masks:
        names = given(daemon.endpoint, masks, monkeypatch)
        try:
            exec(compile(source, "the page", "exec"), names)
        except Enough:
            return
        assert names.keys() & {"speed", "steady"}, "a loop that ended, or a program that did nothing"

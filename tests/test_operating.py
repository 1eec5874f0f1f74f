"""What the pages show works: configurations load, commands are commands, and Python programs run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

from gnetsegd.cli import cli as daemon
from gnetsegd.config import from_dict
from gnetsegd.ctl.main import cli as tools

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (
    "operating.md", "network.md", "view.md", "presence.md", "boards.md", "faq.md", "own-network.md",
    "recording.md",
    "fleet.md",
    "../README.md",
)  # fmt: skip
COMMANDS = {"gnetsegd": daemon, "gnetsegctl": tools}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text("utf-8"), re.S)


def test_each_configuration_on_the_page_loads() -> None:
    found = [text for page in PAGES for text in blocks(page, "toml")]
    assert found
    for text in found:
        from_dict(tomllib.loads(text), "the page")


def commands() -> list[str]:
    """Every call of our programs on the pages, in blocks and in the running text."""
    found = []
    for page in PAGES:
        text = (DOCS / page).read_text("utf-8")
        for line in re.findall(r"(?:^|^ {4}|`|sudo )((?:gnetsegctl|gnetsegd) [a-z][^`\n#|>&]*)", text, re.M):
            if not line.startswith("gnetsegd is"):
                found.append(line.strip())
    return found


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_each_command_on_the_page_is_one(line: str) -> None:
    words = line.replace("NAME", "robot").replace("KEY", "x" * 40).split()
    command: click.Command = COMMANDS[words[0]]
    rest = words[1:]
    while isinstance(command, click.Group):
        assert rest, f"{line}: which command of {command.name}?"
        known = command.commands.get(rest[0])
        assert known is not None, f"{line}: there is no {rest[0]}"
        command, rest = known, rest[1:]
    # Parsed, not called: an option or argument that is none is an error.
    command.make_context(words[0], rest, resilient_parsing=not rest)


def test_the_pages_have_commands() -> None:
    assert len(set(commands())) > 8

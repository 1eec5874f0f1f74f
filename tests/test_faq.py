"""The sentences that the page of questions quotes are those that the programs print."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
PAGE = TOP / "docs" / "faq.md"
#: Shorter pieces are names and commands, not sentences.
SENTENCE_CHARACTERS = 24


def texts(file: Path) -> list[str]:
    """Every text of a program; where a value is put in, there is a NUL."""
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            found.append(
                "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


SAID = "\n".join(text for file in sorted((TOP / "gnetsegd").rglob("*.py")) for text in texts(file))
QUOTED = [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", PAGE.read_text("utf-8"))]
COMMANDS = ("sudo ", "systemctl ")
SENTENCES = [
    text
    for text in QUOTED
    if " " in text and len(text) >= SENTENCE_CHARACTERS and not text.startswith(COMMANDS)
]


def test_it_quotes_sentences() -> None:
    assert len(SENTENCES) >= 15


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_quoted_sentence_is_one_that_is_printed(sentence: str) -> None:
    pieces = [piece.strip(" :") for piece in sentence.split("...")]
    for piece in pieces:
        assert piece in SAID, f"{piece!r} is said nowhere"

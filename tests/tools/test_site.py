"""The site's links: one that leads nowhere is named, and nothing is loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path

import check_links
import gather
import pytest

TOP = Path(__file__).parents[2]


def test_all_that_the_readme_and_its_pages_link_to_is_in_the_checkout(tmp_path: Path) -> None:
    assert gather.gather(tmp_path) == []
    pages = {str(page.relative_to(tmp_path)) for page in tmp_path.rglob("*.md")}
    assert {str(page.relative_to(TOP)) for page in (TOP / "docs").glob("*.md")} <= pages, (
        "a page that nobody finds"
    )


def site(folder: Path, body: str) -> list[str]:
    (folder / "other.html").write_text('<h1 id="here">x</h1>')
    (folder / "a.png").write_bytes(b"")
    (folder / "index.html").write_text(body)
    return check_links.check(folder)[1]


def test_a_link_that_leads_somewhere_is_good(tmp_path: Path) -> None:
    body = '<a href="other.html#here">x</a> <a href="#me" id="me">x</a> <img src="a.png"> <a href="https://x.example">x</a>'
    assert site(tmp_path, body) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('<a href="nothing.html">x</a>', "is not there"),
        ('<img src="b.png">', "is not there"),
        ('<a href="other.html#there">x</a>', "no such place"),
        ('<a href="#there">x</a>', "no such place"),
        ('<script src="https://x.example/a.js"></script>', "loaded from elsewhere"),
        ('<link href="//x.example/a.css">', "loaded from elsewhere"),
    ],
)
def test_one_that_leads_nowhere_is_named(tmp_path: Path, body: str, words: str) -> None:
    (broken,) = site(tmp_path, body)
    assert words in broken
    assert "index.html" in broken

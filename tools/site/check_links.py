"""Look at every link and picture of a built site; exit code 1 if one is broken.

    python tools/site/check_links.py SITE

Files and anchors of the site itself; other sites are not asked. What a page loads by itself (pictures,
scripts, styles, fonts) must be of the site: it can be read without a network, and tells nobody who reads it.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: What a browser fetches without being asked.
LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """``ids`` of a page, and the (tag, address) pairs of what it links to and loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[str, str]] = []
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        key = "href" if tag == "a" else LOADED.get(tag)
        if key is not None and given.get(key):
            self.links.append((tag, given[key]))


def check(site: Path) -> tuple[int, list[str]]:
    """(links looked at, those that are broken, as words)."""
    pages = {file: Page(file) for file in sorted(site.rglob("*.html"))}
    broken, count = [], 0
    for file, page in pages.items():
        for tag, address in page.links:
            parts = urlsplit(address)
            where = f"{file.relative_to(site)}: {address}"
            if parts.scheme in ("data", "mailto"):
                continue
            if parts.netloc:
                if tag != "a":
                    broken.append(f"{where} is loaded from elsewhere")
                continue
            count += 1
            path = unquote(parts.path)
            # 404.html is shown under any address: its own begin at the top.
            base = site / path.lstrip("/") if path.startswith("/") else file.parent / path
            target = base.resolve() if path else file
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                broken.append(f"{where} is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                broken.append(f"{where}: no such place on that page")
    return count, broken


def main() -> None:
    count, broken = check(Path(sys.argv[1]).resolve())
    print("\n".join([*broken, f"{count} links, {len(broken)} broken"]))
    sys.exit(1 if broken or not count else 0)


if __name__ == "__main__":
    main()

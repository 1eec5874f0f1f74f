"""Gather the site's pages: the README, and whatever it and they link to, under the same paths.

python tools/site/gather.py OUT
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

TOP = Path(__file__).resolve().parents[2]
FIRST = ("README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md")
_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
_CODE = re.compile(r"^```.*?^```|^(?: {4}|\t)[^\n]*|`[^`\n]+`", re.M | re.S)


def links(page: Path) -> list[str]:
    """What a page links to, but for other sites and for what only looks like a link, in code."""
    text = _CODE.sub("", page.read_text("utf-8"))
    return [
        unquote(link) for link in _LINK.findall(text) if "://" not in link and not link.startswith("mailto:")
    ]


def gather(out: Path) -> list[str]:
    """Copy all that is linked; the links that lead nowhere, as words."""
    waiting, seen, broken = [TOP / name for name in FIRST], set[Path](), []
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        copy = out / file.relative_to(TOP)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        if file.suffix != ".md":
            continue
        for link in links(file):
            target = (file.parent / link).resolve()
            if target.is_file() and target.is_relative_to(TOP):
                waiting.append(target)
            else:
                broken.append(f"{file.relative_to(TOP)}: {link} is no file of the checkout")
    return broken


def main() -> None:
    out = Path(sys.argv[1])
    shutil.rmtree(out, ignore_errors=True)
    broken = gather(out)
    print("\n".join(broken), end="\n" * bool(broken))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

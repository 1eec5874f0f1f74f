"""The page of figures has what the commands printed, and each promise of the README its command."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "bench"))
import page  # noqa: E402 - of tools/bench


def test_every_promise_with_a_bench_is_on_the_page_with_what_it_printed() -> None:
    known = page.benches(page.README.read_text("utf-8"))
    assert len(known) > 12
    assert all((ROOT / bench.command.split()[0]).is_file() for bench in known)
    found = page.sections(page.PAGE.read_text("utf-8"))
    assert list(found) == [bench.name for bench in known]
    for name, text in found.items():
        printed = re.findall(r"```json\n(.*?)\n```", text, re.S)
        assert isinstance(json.loads(printed[0]), dict), name
        assert f"tools/bench/{name}.py --json" in text


def test_one_bench_leaves_the_others_sections_and_the_rest_of_the_page() -> None:
    first, second = (
        page.Bench("a", "tools/bench/a.py --json", "x"),
        page.Bench("b", "tools/bench/b.py --json", "y"),
    )
    text = f"before\n{page.BEGIN}\n{page.END}\nafter\n"
    for bench, value in ((second, 1), (first, 2), (second, 3)):
        made = page.section(bench, {"value": value, "long": list(range(500))}, "2026-01-01", "here")
        text = page.written(text, page.sections(text) | {bench.name: made}, ["a", "b"])
    assert text.startswith("before\n")
    assert text.endswith(f"{page.END}\nafter\n")
    printed = [json.loads(found) for found in re.findall(r"```json\n(.*?)\n```", text, re.S)]
    assert printed == [{"value": value, "long": "500 of them"} for value in (2, 3)]
    assert page.written(text, page.sections(text), ["a", "b"]) == text


def test_a_bench_that_fails_gives_nothing() -> None:
    def printed(program: str) -> object:
        return page.measure(page.Bench("a", f"-c {program}", "x"))

    assert printed("print('{\"value\":1}')") == {"value": 1}
    assert printed("print('{\"value\":1}');exit(1)") is None
    assert printed("print(1,2)") is None
    assert printed("pass") is None

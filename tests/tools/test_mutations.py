"""The mutations are real ones: each kind is found, each leaves a program, and none is made twice."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mutations import KINDS, Mutation, choose, mutations
from run import Results

ROOT = Path(__file__).parents[2]
SOURCE = b'''"""Not this: 3 < 4."""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import this
def f(a: int, b: int = 3) -> int:
    log.info("not this either: %d", 5)
    g(a, b)
    if a < b and not b:
        return a - b
    return h(1)
'''


def test_every_kind_is_found_and_each_leaves_another_program() -> None:
    found = mutations("f.py", SOURCE)
    assert {mutation.kind for mutation in found} == set(KINDS)
    changed = [mutation.apply(SOURCE) for mutation in found]
    before = ast.dump(ast.parse(SOURCE))
    assert all(ast.dump(ast.parse(source)) != before for source in changed)
    assert len(set(changed)) == len(found)


def test_what_no_test_could_see_is_left_alone() -> None:
    assert {mutation.line for mutation in mutations("f.py", SOURCE)} == {5, 7, 8, 9, 10}


@pytest.mark.parametrize(
    "path", ["gnetsegd/accelerators/usb.py", "gnetsegd/client/masks.py", "gnetsegd/message.py"]
)
def test_real_modules_stay_programs(path: str) -> None:
    source = (ROOT / path).read_bytes()
    for mutation in mutations(path, source):
        ast.parse(mutation.apply(source))


def test_the_same_seed_chooses_the_same_and_one_a_line() -> None:
    source = (ROOT / "gnetsegd/message.py").read_bytes()
    found = mutations("m.py", source)
    chosen = choose(found, 10, "1 m.py")
    assert chosen == choose(found, 10, "1 m.py")
    assert chosen != choose(found, 10, "2 m.py")
    assert len({mutation.line for mutation in chosen}) == 10


def test_another_version_of_the_file_is_refused() -> None:
    mutation = mutations("f.py", SOURCE)[0]
    with pytest.raises(ValueError, match="any more"):
        mutation.apply(SOURCE.replace(b"b: int = 3", b"b: int = 9"))


def test_results_outlive_the_run_and_not_the_version(tmp_path: Path) -> None:
    mutation = mutations("f.py", SOURCE)[0]
    Results(tmp_path / "r").add(mutation, "survived", "", 1.0)
    (tmp_path / "r").open("a").write('{"name": "half a li')
    known = Results(tmp_path / "r").of(mutation)
    assert known is not None
    assert known["outcome"] == "survived"
    other = Mutation(**{**mutation.__dict__, "digest": "0"})
    assert Results(tmp_path / "r").of(other) is None

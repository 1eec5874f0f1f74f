"""Single-line mutations of Python source, found by its syntax tree.

Each is a small mistake that a person could make: a condition negated, a call forgotten, two arguments
swapped, a bound off by one. What cannot matter to a test is left out: annotations, texts, what is logged,
and blocks for the type checker.
"""

from __future__ import annotations

import ast
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

KINDS = ("negate", "drop-not", "compare", "and-or", "drop-call", "swap", "operator", "constant", "return")

_COMPARE = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
_OPERATOR = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "//", ast.FloorDiv: "*", ast.Div: "*", ast.Mod: "//",
    ast.LShift: ">>", ast.RShift: "<<", ast.BitAnd: "|", ast.BitOr: "&",
}  # fmt: skip
#: Whole numbers up to this are made one more; larger ones, mostly limits, ten times as large.
_SMALL = 16
#: Calls that only say something: a mutation of their arguments changes words.
_SAYS = frozenset({"debug", "info", "warning", "error", "exception", "echo", "print", "option", "warn"})
#: Their arguments cannot be exchanged without an error that any test would see.
_TYPED = frozenset({"isinstance", "issubclass", "setattr", "getattr"})


@dataclass(frozen=True)
class Mutation:
    """One change of one line: ``before`` in columns ``begin`` to ``end`` (bytes) becomes ``after``."""

    path: str
    line: int
    begin: int
    end: int
    kind: str
    before: str
    after: str
    #: Of the whole file, so that a result is not taken for that of another version.
    digest: str

    @property
    def name(self) -> str:
        return f"{self.path}:{self.line}:{self.begin}:{self.kind}"

    def apply(self, source: bytes) -> bytes:
        """The mutated file; ``ValueError`` if ``source`` is another version."""
        lines = source.splitlines(keepends=True)
        line = lines[self.line - 1]
        if line[self.begin : self.end] != self.before.encode():
            raise ValueError(f"{self.name}: there is no {self.before!r} any more")
        lines[self.line - 1] = line[: self.begin] + self.after.encode() + line[self.end :]
        return b"".join(lines)


def mutations(path: str, source: bytes) -> list[Mutation]:
    """All of a file, in the order of their places."""
    digest = hashlib.sha256(source).hexdigest()[:16]
    lines = source.splitlines()
    found: dict[tuple[int, int, int, str], Mutation] = {}
    for begin, end, kind, after in _changes(ast.parse(source), lines):
        (line, column), stop = begin, end[1]
        if end[0] != line:
            continue
        before = lines[line - 1][column:stop].decode()
        if before != after:
            made = Mutation(path, line, column, stop, kind, before, after, digest)
            found[line, column, stop, kind] = made
    return [found[key] for key in sorted(found)]


def choose(found: list[Mutation], count: int, seed: str) -> list[Mutation]:
    """At most ``count`` of a file's mutations, kinds in turn, one a line; the same ones for the same seed."""
    order = random.Random(seed)
    by_kind: dict[str, list[Mutation]] = {}
    for mutation in found:
        by_kind.setdefault(mutation.kind, []).append(mutation)
    kinds = sorted(by_kind)
    order.shuffle(kinds)
    for kind in kinds:
        order.shuffle(by_kind[kind])
    chosen: dict[int, Mutation] = {}
    while len(chosen) < count and any(by_kind.values()):
        for kind in kinds:
            if by_kind[kind] and len(chosen) < count:
                mutation = by_kind[kind].pop()
                chosen.setdefault(mutation.line, mutation)
    return sorted(chosen.values(), key=lambda mutation: mutation.line)


Place = tuple[int, int]
Change = tuple[Place, Place, str, str]


def _changes(tree: ast.Module, lines: list[bytes]) -> Iterator[Change]:
    for node in _living(tree):
        yield from _of_conditions(node, lines)
        yield from _of_expressions(node, lines)
        if isinstance(node, ast.FunctionDef):
            yield from _of_statements(node)


def _living(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes but annotations, what is only said, and what only a type checker or a script reads."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases", "keywords") and (
                name != "keywords" or isinstance(node, ast.ClassDef)
            ):
                continue
            children = value if isinstance(value, list) else [value]
            waiting += [child for child in children if isinstance(child, ast.AST) and not _is_idle(child)]


def _is_idle(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        words = ast.unparse(node.test)
        return "TYPE_CHECKING" in words or "__name__" in words
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.AnnAssign):
        return node.value is None
    return isinstance(node, ast.Call) and _name(node.func) in _SAYS


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _begin(node: ast.expr | ast.stmt) -> Place:
    return node.lineno, node.col_offset


def _end(node: ast.expr | ast.stmt) -> Place:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset


def _text(node: ast.expr, lines: list[bytes]) -> str:
    """Its source, of one line."""
    return lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode()


def _one_line(node: ast.expr | ast.stmt) -> bool:
    return node.lineno == node.end_lineno


def _of_conditions(node: ast.AST, lines: list[bytes]) -> Iterator[Change]:
    tests: list[ast.expr] = []
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        tests = [node.test]
    elif isinstance(node, ast.comprehension):
        tests = node.ifs
    for test in tests:
        endless = isinstance(test, ast.Constant)
        if _one_line(test) and not endless and not isinstance(test, ast.UnaryOp):
            yield _begin(test), _end(test), "negate", f"not ({_text(test, lines)})"


def _of_expressions(node: ast.AST, lines: list[bytes]) -> Iterator[Change]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and _one_line(node):
        yield _begin(node), _end(node), "drop-not", f"({_text(node.operand, lines)})"
    elif isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        for (left, right), operator in zip(pairwise(sides), node.ops, strict=True):
            after = _COMPARE[type(operator)]
            yield from _between(left, right, "compare", after, lines)
    elif isinstance(node, ast.BoolOp):
        after = "or" if isinstance(node.op, ast.And) else "and"
        yield from _between(node.values[0], node.values[1], "and-or", after, lines)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATOR and not _is_text(node):
        yield from _between(node.left, node.right, "operator", _OPERATOR[type(node.op)], lines)
        if isinstance(node.op, ast.Sub | ast.Div | ast.FloorDiv) and _one_line(node):
            sides_text = lines[node.left.lineno - 1][_end(node.left)[1] : node.right.col_offset].decode()
            swapped = f"{_text(node.right, lines)}{sides_text}{_text(node.left, lines)}"
            if "(" not in sides_text and ")" not in sides_text:
                yield _begin(node), _end(node), "swap", swapped
    elif isinstance(node, ast.Call) and len(node.args) >= 2 and _name(node.func) not in _SAYS | _TYPED:
        first, second = node.args[:2]
        texts = [isinstance(a, ast.Constant) and isinstance(a.value, str | bytes) for a in (first, second)]
        if (
            texts[0] == texts[1]
            and first.lineno == second.end_lineno
            and not any(isinstance(a, ast.Starred) for a in (first, second))
        ):
            between = lines[first.lineno - 1][_end(first)[1] : second.col_offset].decode()
            swapped = f"{_text(second, lines)}{between}{_text(first, lines)}"
            yield _begin(first), _end(second), "swap", swapped
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        yield _begin(node), _end(node), "constant", _another(node.value)


def _another(value: float) -> str:
    if isinstance(value, bool):
        return str(not value)
    if isinstance(value, int) and abs(value) <= _SMALL:
        return str(value + 1)
    return repr(value * 10 if value else 1.0)


def _between(left: ast.expr, right: ast.expr, kind: str, after: str, lines: list[bytes]) -> Iterator[Change]:
    """Exchange the operator that stands between two expressions of one line."""
    if left.end_lineno != right.lineno or not _one_line(right):
        return
    begin, end = _end(left)[1], right.col_offset
    words = lines[right.lineno - 1][begin:end].decode()
    operator = words.strip(" ()")
    place = begin + words.index(operator)
    yield (right.lineno, place), (right.lineno, place + len(operator)), kind, after


def _is_text(node: ast.BinOp) -> bool:
    parts = (node.left, node.right)
    return any(
        isinstance(p, ast.JoinedStr) or (isinstance(p, ast.Constant) and isinstance(p.value, str))
        for p in parts
    )


def _of_statements(function: ast.FunctionDef) -> Iterator[Change]:
    """Calls forgotten, and returns that come too early: in place of a call or of a count."""
    generator = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(function))
    for node in ast.walk(function):
        if isinstance(node, ast.AugAssign) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        ):
            said = isinstance(node, ast.Expr) and _is_idle(node.value)
            if not said and _one_line(node):
                yield _begin(node), _end(node), "drop-call", "pass"
                if not generator:
                    yield _begin(node), _end(node), "return", "return"
        elif isinstance(node, ast.Return) and node.value is not None and _one_line(node):
            yield _begin(node), _end(node), "return", "return None"

"""A service knows the client: no other service, and nothing of the daemon (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gnetsegd"
SERVICES = sorted(path.name for path in (PACKAGE / "services").iterdir() if (path / "__init__.py").exists())
DAEMON = {"process", "road", "cameras", "accelerators", "ctl", "cli"}


def imported(file: Path) -> set[str]:
    """What of this package a file imports, as dotted names from the package on."""
    found = set()
    folder = file.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            up = folder[: len(folder) - node.level + 1] if node.level else ()
            module = (node.module or "").removeprefix("gnetsegd.")
            found |= {".".join(filter(None, (*up, module, alias.name))) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("gnetsegd.") for alias in node.names}
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_neither_another_one_nor_the_daemon(service: str) -> None:
    files = list((PACKAGE / "services" / service).glob("**/*.py"))
    forbidden = DAEMON | {f"services.{other}" for other in SERVICES if other != service}
    assert len(files) > 1
    assert any(name.startswith("services.") or "errors" in name for file in files for name in imported(file))
    for file in files:
        for name in imported(file):
            wrong = [one for one in forbidden if f"{name}.".startswith(f"{one}.")]
            assert not wrong, f"{file.relative_to(PACKAGE)} imports {name}"

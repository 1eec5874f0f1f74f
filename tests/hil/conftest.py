"""Checks for the guest of tools/hil/run.py: they own the machine, so nothing is collected elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

IN_GUEST = os.environ.get("GNETSEGD_HIL") == "1"
if IN_GUEST:
    sys.path.insert(0, str(Path(__file__).parent))
else:
    collect_ignore_glob = ["test_*.py"]

SUMMARY = Path("/host/summary")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not IN_GUEST:
        return
    count = {kind: len(terminalreporter.stats.get(kind, ())) for kind in ("passed", "failed", "error")}
    SUMMARY.write_text(f"{count['passed']} passed, {count['failed'] + count['error']} failed\n")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Leave the journal beside each failure, as far as it had come by then."""
    if IN_GUEST and report.failed:
        from guest import LOGS, call

        name = report.nodeid.rpartition("::")[2].replace("/", "_")
        journal = call("journalctl --no-pager -b -n 200 -o short-monotonic")
        (LOGS / f"{name}.failure").write_text(f"{report.longreprtext}\n\n{journal}")


@pytest.fixture
def daemon() -> Iterator[object]:
    """gnetsegd's unit with more time than it has, not started; stopped afterwards."""
    from guest import Unit

    unit = Unit(patient=True)
    yield unit
    unit.stop()

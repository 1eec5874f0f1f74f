"""Checks for the guest of tools/hil/run.py: they own the machine, so nothing is collected elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

IN_GUEST = os.environ.get("GNETSEGD_HIL") == "1"
if IN_GUEST:
    sys.path.insert(0, str(Path(__file__).parent))
else:
    collect_ignore_glob = ["test_*.py"]

SUMMARY = Path("/host/summary")
#: By check and phase (setup, call, teardown), in seconds.
took_s: dict[tuple[str, str | None], float] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not IN_GUEST:
        return
    count = {kind: len(terminalreporter.stats.get(kind, ())) for kind in ("passed", "failed", "error")}
    SUMMARY.write_text(f"{count['passed']} passed, {count['failed'] + count['error']} failed\n")


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Say beside each check how long it took, with what was set up for it."""
    if not IN_GUEST:
        return None
    took_s[report.nodeid, report.when] = report.duration
    if report.when == "call" and report.outcome in ("passed", "failed"):
        setup_s = took_s.get((report.nodeid, "setup"), 0.0)
        word = f"{report.outcome.upper()} in {setup_s + report.duration:.1f} s"
        return report.outcome, report.outcome[0], word
    return None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Leave the journal beside each failure, as far as it had come by then."""
    if IN_GUEST and report.failed:
        from guest import LOGS, call

        path, _, check = report.nodeid.partition("::")
        name = f"{Path(path).stem}-{check}-{report.when}".replace("/", "_")
        journal = call("journalctl --no-pager -b -n 200 -o short-monotonic")
        (LOGS / f"{name}.failure").write_text(f"{report.longreprtext}\n\n{journal}")


@pytest.fixture(scope="module")
def daemon() -> object:
    """gnetsegd's unit with more time than it has; ``apply`` brings a check's configuration into force.

    It runs on from check to check: a start takes the emulated processor many seconds.
    """
    from guest import Unit

    return Unit(patient=True)

"""Prints each check as it ends: a line with its name and its time, and what went wrong if it did.

The terminal's own plugin stays, for what it alone tells: time limits, interruptions, internal errors.
"""

from __future__ import annotations

from pathlib import Path

import pytest


class Report:
    """A pytest plugin that counts ``passed`` and ``failed`` checks; one that was skipped has failed."""

    def __init__(self, failures: Path) -> None:
        self.passed = 0
        self.failed = 0
        self._failures = failures
        self._seconds: dict[str, float] = {}

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str]:
        """Keep the terminal's plugin from a word of its own."""
        return report.outcome, "", ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds = self._seconds.get(report.nodeid, 0.0) + report.duration
        self._seconds[report.nodeid] = seconds
        name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
        if report.failed:
            self.failed += 1
            self._line("FAILED", name, seconds)
            print(report.longreprtext, flush=True)
            with self._failures.open("a") as log:
                log.write(f"{report.nodeid} ({report.when})\n{report.longreprtext}\n\n")
        elif report.skipped:
            self.failed += 1
            self._line("SKIPPED", name, seconds)
            print(report.longreprtext, flush=True)
        elif report.when == "call":
            self.passed += 1
            self._line("passed", name, seconds)
            for key, value in report.user_properties:
                print(f"                  {key}: {value}", flush=True)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed += 1
            print(f"FAILED  {report.nodeid}\n{report.longreprtext}", flush=True)

    def _line(self, word: str, name: str, seconds: float) -> None:
        print(f"{word}  {seconds:6.1f} s  {name}", flush=True)

"""A start of the daemon is one line: what a runtime remarks is not among them, and nothing else is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gnetsegd.accelerators.remarks import without_remarks

pytestmark = pytest.mark.runtime


def said(program: str, **more: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, check=True, timeout=120, **more
    )  # type: ignore[call-overload]
    return str(done.stderr)


def test_a_network_is_loaded_without_a_word() -> None:
    program = (
        "from gnetsegd.accelerators.tflite import TfliteNetwork\n"
        "from gnetsegd.model import load_bundle\n"
        "TfliteNetwork(load_bundle('person'), threads=1)\n"
    )
    assert said(program) == ""


def test_what_else_is_written_meanwhile_is_there_in_its_order() -> None:
    program = (
        "import os, sys\n"
        "from gnetsegd.accelerators.remarks import without_remarks\n"
        "for number in range(2):\n"
        "    with without_remarks():\n"
        "        os.write(2, b'one\\nINFO: Created a delegate\\ntwo INFO: no remark\\n')\n"
        "        with without_remarks():\n"
        "            print('three', file=sys.stderr)\n"
        "print('after', file=sys.stderr)\n"
    )
    lines = ["one", "two INFO: no remark", "three"]
    assert said(program).splitlines() == [*lines, *lines, "after"]


def test_an_error_comes_through_and_no_file_stays_open() -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    for _ in range(5):
        with pytest.raises(ValueError, match="no network"), without_remarks():
            raise ValueError("no network")
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_without_a_stderr_a_network_is_loaded_all_the_same(tmp_path: Path) -> None:
    program = (
        "import os\n"
        "from gnetsegd.accelerators.remarks import without_remarks\n"
        "os.close(2)\n"
        "with without_remarks():\n"
        f"    open({str(tmp_path / 'loaded')!r}, 'w').close()\n"
    )
    assert said(program) == ""
    assert (tmp_path / "loaded").exists()

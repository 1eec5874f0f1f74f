"""gnetseg-conform against gnetseg-gadget: a real kernel at both ends, and a device that cannot refuse."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from guest import LOGS, bundle_of, call
from transports import SERIAL, FunctionFs

#: Another one than the gadget begins with, so that all of it has to be uploaded.
OTHER = "tests/data/models/threshold-32"
#: The emulated processor is so many times slower than the page's time limits are made for.
PATIENCE = "10"
LIMIT_S = 1000


@pytest.fixture(scope="module")
def gadget() -> Iterator[FunctionFs]:
    call("systemctl stop gnetsegd.service", check=False)  # nobody else may have the device
    made = FunctionFs()
    made.plug()
    yield made
    made.close()


def conform(*arguments: str) -> dict[str, Any]:
    """The report; it is left in the logs as well."""
    command = ["gnetseg-conform", "--usb", "1209:0001", "--serial", SERIAL, "--patience", PATIENCE, "--json"]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=LIMIT_S)
    (LOGS / "conform").write_text(result.stdout + result.stderr)
    assert result.stdout, result.stderr
    return json.loads(result.stdout)  # type: ignore[no-any-return]


@pytest.mark.usefixtures("gadget")
def test_the_gadget_does_as_the_page_says() -> None:
    report = conform("--destructive", "--model", bundle_of(OTHER))
    failed = {case["name"]: case["words"] for case in report["cases"] if case["outcome"] == "failed"}
    assert failed == {}
    # To the gadget an answer that the kernel has taken is received.
    advised = {case["name"] for case in report["cases"] if case["outcome"] == "advised"}
    assert advised <= {"exact-credit", "one-upload-request"}
    assert report["usable"], report["left"]
    # What the gadget cannot be asked: it has a model, offers the upload, and takes luminance alone.
    skipped = {case["name"] for case in report["cases"] if case["outcome"] == "skipped"}
    assert skipped <= {
        "no-model", "upload-not-offered", "yuv420", "padding-is-zero", "encoding-too-small",
    }  # fmt: skip

"""The configuration, by opening what the daemon would open: network, runtime, delegate."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from ...text import clean
from . import Fault
from .machine import CHECK_LIMIT_S, Case

_SENTENCE_CHARACTERS = 500


def check(case: Case) -> Iterator[Fault]:
    """What ``gnetsegd check-config`` says, in a process of its own."""
    command = [sys.executable, "-m", "gnetsegd", "check-config", "--running"]
    if case.config_path:
        command.append(case.config_path)
    said = case.machine.run(command, CHECK_LIMIT_S)
    if said is None or said.code == 0:
        return
    lines = said.err.strip().splitlines()
    sentence = (
        clean(lines[-1].removeprefix("gnetsegd: "), _SENTENCE_CHARACTERS) if lines else "no reason given"
    )
    if said.code == os.EX_UNAVAILABLE:
        yield Fault(
            "runtime",
            sentence,
            "sudo apt install --reinstall gnetseg-runtime python3-numpy; remove what pip put beside them "
            "(pip list)",
        )
    elif said.code in (os.EX_DATAERR, os.EX_NOINPUT) and "model" in sentence:
        yield Fault("network", sentence, "mend [model], or leave it out: the shipped network is the default")
    else:
        file = case.config_path or "/etc/gnetsegd/gnetsegd.toml"
        yield Fault("configuration", sentence, f"mend {file}, and look with gnetsegd check-config {file}")

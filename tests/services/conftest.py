"""Checks against real servers, of Debian's packages: `make test-services` alone runs them."""

from __future__ import annotations

import os

if os.environ.get("GNETSEGD_SERVICES") != "1":
    collect_ignore_glob = ["test_*.py"]

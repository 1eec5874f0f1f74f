"""A daemon that sends what a test says (tests/client), recordings of it, and their messages."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))

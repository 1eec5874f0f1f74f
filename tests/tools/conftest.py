"""The benches and the mutation script are scripts: their folders go where Python looks for modules."""

from __future__ import annotations

import sys
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"
sys.path[:0] = [str(TOOLS / "bench"), str(TOOLS / "mutate"), str(TOOLS / "site")]

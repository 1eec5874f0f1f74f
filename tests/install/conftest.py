"""These checks own their machine: they are collected nowhere but in a booted root (tools/deb)."""

from __future__ import annotations

from pathlib import Path

if not Path("/host/run").exists():
    collect_ignore_glob = ["test_*.py"]

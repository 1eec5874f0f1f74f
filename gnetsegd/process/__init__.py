"""The process: its life, its report, reloads, and what it says to systemd."""

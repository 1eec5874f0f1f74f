"""Recording and replaying a daemon's messages (docs/recording.md)."""

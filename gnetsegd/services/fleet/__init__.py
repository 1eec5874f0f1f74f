"""Many machines: a daemon's messages over Zenoh, and who looks at all of them (docs/fleet.md)."""

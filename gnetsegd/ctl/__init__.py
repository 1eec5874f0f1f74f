"""``gnetsegctl``: what a person at a terminal asks a running daemon. A subscriber like any other."""

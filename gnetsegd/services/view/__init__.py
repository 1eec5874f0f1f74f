"""The page: see yourself, whether it is well, and draw zones. ``gnetsegctl view`` starts it."""

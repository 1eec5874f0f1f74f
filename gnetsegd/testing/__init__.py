"""Fakes of the hardware, at its boundary, for this project's tests and for yours.

Each can do what the real thing does wrong: stall, lose frames, pad its rows, fail, vanish.
"""

"""``gnetseg-conform``: holds a foreign device against docs/protocol.md, over any pyusb backend.

``wire`` moves bytes, ``bench`` is a session on them, ``cases_*`` are what the page demands, one function
each, ``play`` plays the scenarios of tests/vectors/link/transcripts, ``run`` goes through all of it
and ends with a device that works. Nothing here knows how a device is made; ``mock`` makes the one of
gnetseg_device, with its faults.
"""

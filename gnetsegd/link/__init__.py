"""The USB link's layout, as docs/protocol.md describes it: shared by the host driver and the device.

No I/O, no threads, no clock. ``constants`` names the numbers, ``header`` is the hot path (one header
packed and one read per frame), ``requests`` is endpoint 0, ``model_upload`` the payloads of MODEL_*.
"""

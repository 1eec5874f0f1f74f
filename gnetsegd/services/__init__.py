"""What people want besides masks: each a process of its own, a plain subscriber of ``gnetsegd.client``.

A service imports the client and what lies below it, and no other service; it can be killed without a mask
being late.
"""

"""gnetsegd: person masks from a camera, on ZeroMQ, in every frame.

docs/architecture.md is the tour of this package.
"""

__version__ = "0.1.0"

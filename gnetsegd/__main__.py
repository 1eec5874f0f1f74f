"""The command ``gnetsegd``."""

from __future__ import annotations

import signal


def main() -> None:
    """Entry point."""
    # Until the daemon listens to it a SIGINT ends the process there and then. As an exception it would be a
    # traceback from the midst of an import, and where Python cannot pass one on it would be swallowed.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from . import cli

    cli.main()


if __name__ == "__main__":
    main()

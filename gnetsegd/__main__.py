"""The command ``gnetsegd``."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Entry point."""
    # Until the daemon listens to it a SIGINT ends the process there and then. As an exception it would be a
    # traceback from the midst of an import, and where Python cannot pass one on it would be swallowed.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from . import cli
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("gnetsegd"):
            raise
        print(f"gnetsegd: {error.name} is missing; pip install 'gnetsegd[daemon]' brings it", file=sys.stderr)
        sys.exit(os.EX_UNAVAILABLE)
    cli.main()


if __name__ == "__main__":
    main()

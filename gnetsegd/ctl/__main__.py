"""The command ``gnetsegctl``."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Entry point: a sentence where the client was installed alone."""
    # A SIGINT while it is read in, seconds on a small board, ends it there and then, without a traceback.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from .main import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("gnetsegd"):
            raise
        print(
            f"gnetsegctl: {error.name} is missing; pip install 'gnetsegd[tools]' brings it", file=sys.stderr
        )
        sys.exit(os.EX_UNAVAILABLE)
    signal.signal(signal.SIGINT, before)
    run()


if __name__ == "__main__":
    main()

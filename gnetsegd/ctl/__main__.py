"""The command ``gnetsegctl``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point: a sentence where the client was installed alone."""
    try:
        from .main import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("gnetsegd"):
            raise
        print(
            f"gnetsegctl: {error.name} is missing; pip install 'gnetsegd[tools]' brings it", file=sys.stderr
        )
        sys.exit(os.EX_UNAVAILABLE)
    run()


if __name__ == "__main__":
    main()

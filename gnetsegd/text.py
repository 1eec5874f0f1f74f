"""Words from outside: cleaned once, where they enter.

A device, a driver, a file or a peer may say anything. What it says ends up in the journal, in ``status``,
in sd_notify(3) and on terminals, where a control character is a command.
"""

from __future__ import annotations

import re

#: What stands before the @ of an address: a user, and often a password; also where a path was made of it.
_USER_OF_ADDRESS = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*:/{1,2})[^/\s@]+@(?:[^/\s@]*@)*")

#: Longer words from outside are cut.
MAX_CHARACTERS = 200


def clean(words: str, max_characters: int = MAX_CHARACTERS) -> str:
    """``words`` on one line, cut if they are long; what cannot be printed becomes ``?``.

    Not printable are control characters, among them the escapes of terminals, and the marks that turn the
    direction of writing (Unicode categories Cc, Cf, Cs, Co, Cn, Zl and Zp). User and password of an address
    are left out.
    """
    one_line = " ".join(words[: 4 * max_characters].split())
    if "@" in one_line:
        one_line = _USER_OF_ADDRESS.sub(r"\1", one_line)
    printable = "".join(character if character.isprintable() else "?" for character in one_line)
    return printable if len(printable) <= max_characters else printable[: max_characters - 1] + "…"

"""A mask in a terminal: two pixels in each cell, by half blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .overlay import palette, resize_labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.text import Text


def draw(labels: NDArray[np.uint8], columns: int, rows: int) -> Text:
    """``labels`` of shape (height, width), as large as fits ``columns`` by ``rows`` cells."""
    from rich.text import Text

    height, width = labels.shape
    # A cell is two pixels high, and about twice as high as wide.
    scale = min(columns / width, 2 * rows / height)
    wide, high = max(1, int(width * scale)), max(1, int(height * scale / 2))
    small = resize_labels(labels, 2 * high, wide)
    colours = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in palette(256)]
    text = Text(no_wrap=True)
    for row in range(high):
        upper, lower = small[2 * row], small[2 * row + 1]
        start = 0
        for column in range(1, wide + 1):
            # One piece of text for each run of equal cells: a frame stays a few kilobytes.
            if column < wide and upper[column] == upper[start] and lower[column] == lower[start]:
                continue
            above, below = int(upper[start]), int(lower[start])
            # Shapes as well as colours, so that a terminal without colours shows something, too.
            if above == below:
                cell, style = " █"[above > 0], f"{colours[above]} on {colours[below]}"
            elif above == 0:
                cell, style = "▄", f"{colours[below]} on {colours[above]}"
            else:
                cell, style = "▀", f"{colours[above]} on {colours[below]}"
            text.append(cell * (column - start), style)
            start = column
        if row < high - 1:
            text.append("\n")
    return text

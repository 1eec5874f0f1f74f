"""Box, centre, edges and blobs of a region are what one counts by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnetsegd.client import Box
from gnetsegd.client.shapes import blobs, box, centroid, share, touches_edge

if TYPE_CHECKING:
    from gnetsegd.client.shapes import Region

pytestmark = pytest.mark.runtime


def drawn(*rows: str) -> Region:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


NOBODY = drawn("....", "....")


def test_a_box_holds_the_region_and_nothing_more() -> None:
    region = drawn(".....", "..#..", ".##..")
    found = box(region)
    assert found is not None
    assert found == Box(1, 1, 3, 3)
    assert (found.width, found.height) == (2, 2)
    assert region[found.top : found.bottom, found.left : found.right].sum() == region.sum()
    assert box(NOBODY) is None


def test_a_centroid_is_in_pixels_from_the_corner() -> None:
    assert centroid(drawn("...", "..#")) == (2.5, 1.5)
    assert centroid(drawn("##", "##")) == (1.0, 1.0)
    assert centroid(NOBODY) is None


def test_a_share_is_of_all_or_of_the_zone() -> None:
    region = drawn("##..", "....")
    assert share(region) == 0.25
    assert share(region, drawn("####", "....")) == 0.5
    with pytest.raises(ValueError, match="no pixel"):
        share(region, NOBODY)


@pytest.mark.parametrize(
    ("region", "edges"),
    [
        (drawn("...", ".#.", "..."), ()),
        (drawn("...", "#..", "..."), ("left",)),
        (drawn(".#.", "..#", "..."), ("top", "right")),
        (drawn("...", "...", ".#."), ("bottom",)),
    ],
)
def test_who_is_cut_off_at_an_edge_touches_it(region: Region, edges: tuple[str, ...]) -> None:
    assert touches_edge(region) == edges
    assert touches_edge(np.pad(region, 2), Box(2, 2, 5, 5)) == edges


def test_blobs_are_what_hangs_together_corners_included() -> None:
    region = drawn(
        "##....#",
        "..#...#",
        "......#",
        "###...#",
        "#.#....",
        "###...#",
    )
    found = blobs(region, 0.0)
    assert [round(blob.share * 42) for blob in found] == [8, 4, 3, 1]
    assert [blob.box for blob in found] == [
        Box(0, 3, 3, 6), Box(6, 0, 7, 4), Box(0, 0, 3, 2), Box(6, 5, 7, 6)
    ]  # fmt: skip
    assert found[0].centroid == (1.5, 4.5)
    assert found[1].centroid == (6.5, 2.0)
    assert len(blobs(region, 3 / 42)) == 3
    assert blobs(NOBODY, 0.0) == []


def test_a_snake_is_one_blob_and_a_chessboard_too() -> None:
    snake = np.zeros((61, 61), np.bool_)
    snake[::2] = True
    snake[1::4, -1] = snake[3::4, 0] = True
    assert len(blobs(snake, 0.0)) == 1
    assert len(blobs(np.indices((60, 60)).sum(0) % 2 == 0, 0.0)) == 1


def flooded(region: Region) -> list[int]:
    """The sizes of its blobs by the slow way."""
    left = {(int(y), int(x)) for y, x in zip(*region.nonzero(), strict=True)}
    sizes = []
    while left:
        queue = [left.pop()]
        for y, x in queue:
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            queue += near
        sizes.append(len(queue))
    return sorted(sizes, reverse=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(0, 9), st.integers(0, 2**32))
def test_blobs_agree_with_a_flood(width: int, height: int, tenths: int, seed: int) -> None:
    region = np.random.default_rng(seed).random((height, width)) < tenths / 10
    found = blobs(region, 0.0)
    assert [round(blob.share * region.size) for blob in found] == flooded(region)
    if found:
        whole = box(region)
        assert whole is not None
        assert whole.left == min(blob.box.left for blob in found)
        assert whole.bottom == max(blob.box.bottom for blob in found)

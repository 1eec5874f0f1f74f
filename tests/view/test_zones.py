"""Zones are kept whole, told apart by name, and refused with a sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gnetsegd.errors import ConfigError
from gnetsegd.services import zones

BOX = [[0.1, 0.1], [0.5, 0.1], [0.5, 0.9]]


def body(*rows: Any) -> dict[str, Any]:
    return {"version": 1, "zones": list(rows)}


def row(name: Any = "Sofa", kind: Any = "zone", points: Any = BOX) -> dict[str, Any]:
    return {"name": name, "kind": kind, "points": points}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    areas = zones.parse(body(row("Wohnzimmer-Sofa ♥"), row("TV", "ignored")))
    path = zones.path_of(tmp_path / "new" / "zones", "door-1")
    zones.write(path, areas)
    assert zones.read(path) == areas
    assert [name.name for name in path.parent.iterdir()] == ["door-1.json"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (None, "zones are an object"),
        ([], "zones are an object"),
        ({"version": 2, "zones": []}, "zones are an object"),
        ({"version": 1, "zones": {}}, "zones are an object"),
        (body("Sofa"), "zone 1: its name must be"),
        (body(row(name="")), "zone 1: its name must be"),
        (body(row(name="  ")), "zone 1: its name must be"),
        (body(row(name="x" * 41)), "zone 1: its name must be"),
        (body(row(name="a\x1b[2Jb")), "zone 1: its name must be"),
        (body(row(name=7)), "zone 1: its name must be"),
        (body(row(kind="door")), "zone Sofa: its kind must be one of zone, ignored"),
        (body(row(points=BOX[:2])), "zone Sofa: a zone has 3 to 256 corners, not 2"),
        (body(row(points=[[2, 2], [3, 2], [3, 3]])), "lies beside the sensor's picture"),
        (body(row(points=[[0.1, 0.1], [0.1, 0.5], [0.1, 0.9]])), "lie on a line"),
        (body(row(points=[[0, 0], [1, 0], [float("nan"), 1]])), "is not a number"),
        (body(row(points=[[0, 0], [1, 0], ["a", 1]])), "zone Sofa: a zone is"),
        (body(row(points=[[0, 0], [1, 0], [10**400, 1]])), "zone Sofa: a zone is"),
        (body(row(points="abc")), "its points must be a list"),
        (body(row(points=[[0, 0]] * 1000)), "not 1000"),
        (body(row(), row()), "zone 2: there is another one named Sofa"),
        (body(*[row(f"z{n}") for n in range(33)]), "there are 33 zones; 32 is the most"),
    ],
)
def test_what_is_no_zone_is_refused_with_a_sentence(bad: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        zones.parse(bad)


@pytest.mark.parametrize("name", ["../evil", "", "Door", "a" * 9, "a/b", "x\0"])
def test_a_name_that_is_no_cameras_leads_to_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no camera's name"):
        zones.path_of(tmp_path, name)


def test_a_file_is_followed_and_a_bad_one_leaves_what_was(tmp_path: Path) -> None:
    path = tmp_path / "cam0.json"
    followed = zones.Followed(path)
    assert not followed.look()
    assert (followed.areas, followed.trouble) == ((), "")
    zones.write(path, zones.parse(body(row())))
    assert followed.look()
    assert [area.name for area in followed.areas] == ["Sofa"]
    assert not followed.look(), "nothing new"
    for content in (b"{", b"[" * 100_000, b"\xff", b'{"version": 9}', b" " * (zones.MAX_FILE_BYTES + 1)):
        path.write_bytes(content)
        os.utime(path, ns=(len(content), len(content)))
        assert not followed.look()
        assert [area.name for area in followed.areas] == ["Sofa"]
        assert str(path) in followed.trouble
    path.write_text(json.dumps(body()))
    assert followed.look()
    assert (followed.areas, followed.trouble) == ((), "")
    zones.write(path, zones.parse(body(row())))
    followed.look()
    path.unlink()
    assert followed.look()
    assert followed.areas == ()

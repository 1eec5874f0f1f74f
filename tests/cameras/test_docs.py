from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from gnetsegd.plugins import find, own


@pytest.mark.parametrize("name", list(own("gnetsegd.cameras")))
def test_every_camera_and_each_of_its_options_is_documented(name):
    text = (Path(__file__).parents[2] / "docs" / "cameras.md").read_text("utf-8")
    section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
    for field in attrs.fields(find("gnetsegd.cameras", name).Options):
        assert f"{field.name} = " in section, field.name
        assert field.metadata["doc"]

"""The evaluation command ends in one JSON object, or in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gnetseg_zoo import contact_sheet, describe, evaluate
from gnetseg_zoo.datasets.samples import Sample
from PIL import Image


@pytest.fixture(autouse=True)
def _a_runtime():
    try:
        __import__("tflite_runtime.interpreter")
    except ImportError:
        pytest.importorskip("ai_edge_litert.interpreter")


def test_the_last_line_is_one_json_object_with_the_scores(index, capsys):
    arguments = ["--model", "gnetseg-large-cpu30", "--data", str(index), "--split", "train", "--json"]
    assert evaluate.main(arguments) == 0
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert scores["model"] == "gnetseg-large-cpu30"
    assert scores["portrait"]["photos"] == 3
    assert 0 <= scores["portrait"]["miou"] <= 1
    assert 0 <= scores["portrait"]["boundary_f"] <= 1
    assert scores["persons"]["boundary_f"] == scores["portrait"]["boundary_f"]
    assert scores["empty"]["photos"] == 1
    assert "boundary_f" not in scores["empty"]


@pytest.mark.parametrize(
    ("model", "split", "sentence"),
    [("no-such-model", "train", "no-such-model"), ("gnetseg-large-cpu30", "test", "no photo has split")],
)
def test_bad_arguments_give_a_sentence_and_no_traceback(index, capsys, model, split, sentence):
    assert evaluate.main(["--model", model, "--data", str(index), "--split", split]) != 0
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error
    assert "Traceback" not in error


def test_a_contact_sheet_shows_only_photos_that_may_be_passed_on(index, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    arguments = ["--model", "gnetseg-large-cpu30", "--data", str(index), "--output", str(out)]
    assert contact_sheet.main(arguments) == 65
    assert "has no photo of ccp_hand" in capsys.readouterr().err
    index.write_text(index.read_text().replace("made_up", "ccp_hand"))
    assert contact_sheet.main(arguments) == 0
    assert out.stat().st_size > 0


def test_a_colour_networks_photos_are_shown_in_their_colours():
    red = np.zeros((8, 8, 3), np.uint8)
    red[:, :, 0] = 255
    seen = np.asarray(Image.fromarray(red).convert("YCbCr"))
    nowhere = np.zeros((8, 8), bool)
    sample = Sample(Path("a"), None, "portrait", "made_up", "CC0", "hand", "g", "val")
    shown = contact_sheet.tile(evaluate.Result(sample, seen, nowhere, nowhere, 1.0), "YUV444")
    assert np.abs(np.subtract(shown.getpixel((5, 5)), (255, 0, 0))).max() <= 2


def test_a_sheet_without_columns_is_refused_in_a_sentence(index, capsys):
    with pytest.raises(SystemExit):
        contact_sheet.main(["--model", "m", "--data", str(index), "--output", "s.png", "--columns", "0"])
    assert "--columns takes a number from 1 on; given 0" in capsys.readouterr().err


def test_the_scores_of_one_drive_are_not_kept_as_those_of_the_split(index, capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--model", "m", "--data", str(index), "--write", "--sequence", "a"])
    assert "--write keeps the scores of a whole split" in capsys.readouterr().err


def test_describe_prints_a_network_of_the_paper_with_the_chips_verdict(capsys):
    assert describe.main(["large", "--widths", "32,64,128,192", "--down", "pool", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pattern"] == "DOWN-DOWN-DOWN-NONE-UP-UP-(NONE+reformat)"
    assert found["fits_chip"] is True
    assert describe.main(["gnetseg-huge"]) == 64
    assert "no network is called 'gnetseg-huge'" in capsys.readouterr().err

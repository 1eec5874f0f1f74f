"""``gnetsegctl model import``: a bundle that runs, or the one sentence that says why there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gnetsegd.ctl.main import cli
from gnetsegd.errors import GnetsegError
from gnetsegd.model import load_bundle

pytestmark = pytest.mark.runtime
FOREIGN = Path(__file__).parents[1] / "data" / "models" / "foreign"
PEER = Path(os.environ.get("GNETSEG_PEERS", "nowhere")) / "selfie_segmentation.tflite"


@pytest.fixture
def bring(tmp_path: Path) -> Any:
    """Import a file; (its words, the bundle), or the sentence that it was refused with."""

    def run(file: Path, *options: str, licence: str = "CC0-1.0") -> Any:
        folder = tmp_path / "mine"
        given = ["model", "import", str(file), "--name", "mine", "--output", str(folder), *options]
        result = CliRunner().invoke(cli, [*given, *(["--licence", licence] if licence else [])])
        if result.exception is not None:
            assert isinstance(result.exception, GnetsegError), result.exception
            assert not folder.exists(), "nothing is left of what was refused"
            assert len(str(result.exception).splitlines()) == 1
            return str(result.exception)
        return result.output, load_bundle(str(folder))

    return run


def test_one_score_a_pixel_becomes_a_person(bring: Any) -> None:
    words, bundle = bring(FOREIGN / "score.tflite")
    assert (bundle.labels, bundle.persons) == (("background", "person"), ("person",))
    assert (bundle.encoding, bundle.scale, bundle.offset, bundle.threshold) == ("scores", 1 / 255, 0.0, 0.5)
    assert (bundle.input.width, bundle.input.height, bundle.input.pixel_format) == (24, 16, "RGB")
    assert bundle.licence == "CC0-1.0"
    assert "ms are the host's own" in words
    assert f'[model] bundle = "{bundle.path}"' in words


def test_what_was_said_is_written(bring: Any) -> None:
    _, bundle = bring(
        FOREIGN / "score.tflite", "--scale", "0.0078125", "--offset=-1", "--threshold", "0.25", "--labels",
        "ground, somebody", "--persons", "somebody", "--title", "Say \"hello\"", "--format", "YUV444",
    )  # fmt: skip
    assert (bundle.scale, bundle.offset, bundle.threshold) == (0.0078125, -1.0, 0.25)
    assert (bundle.labels, bundle.persons) == (("ground", "somebody"), ("somebody",))
    assert (bundle.title, bundle.input.pixel_format) == ('Say "hello"', "YUV444")


def test_bytes_go_in_as_they_are_where_the_network_takes_bytes(bring: Any) -> None:
    model = FOREIGN.parent / "two-channels" / "model.tflite"
    _, bundle = bring(model, "--labels", "a,person")
    assert (bundle.scale, bundle.offset) == (1.0, 0.0)
    assert bundle.input.pixel_format == "Y"


def test_signed_bytes_go_in_from_minus_128_on(bring: Any) -> None:
    _, bundle = bring(FOREIGN.parent / "signed" / "model.tflite")
    # Its own scale is 1 and its zero point -128: what it takes for the byte 0 is 0.
    assert (bundle.scale, bundle.offset) == (1.0, 0.0)


def test_without_a_person_among_the_labels_that_is_said(bring: Any) -> None:
    words, bundle = bring(FOREIGN / "labels.tflite", "--labels", "r,g,b")
    assert bundle.persons == ()
    assert "No label is a person" in words


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        (
            "detector",
            [],
            "it has 1 inputs and 4 outputs, as a detector has; a network that segments has one each",
        ),
        ("no-mask", [], "its output is float32 [1, 3], which is no mask"),
        ("no-picture", [], "its input is float32 [1, 10], which is no picture"),
        ("custom", [], "does not know its operator MadeUpOperator"),
        ("classes", [], "it gives 3 classes; name them with --labels"),
        (
            "classes",
            ["--labels", "a,b"],
            "it gives 3 classes, and 2 labels are named; name all with --labels",
        ),
        ("labels", [], "it gives labels, not scores; name them with --labels"),
        ("labels", ["--labels", "a,b"], "it gives the label 2, but its model.toml names 2 classes"),
        ("score", ["--persons", "cat"], "--persons names 'cat', which is none of the labels"),
        ("score", ["--format", "Y"], "--format is Y, but the input has 3 channels"),
        ("missing", [], "there is no such file"),
    ],
)
def test_what_is_no_segmentation_network_is_refused_in_one_sentence(
    bring: Any, name: str, options: list[str], sentence: str
) -> None:
    said = bring(FOREIGN / f"{name}.tflite", *options)
    assert isinstance(said, str), "it was imported"
    assert sentence in said


def test_an_unknown_operator_comes_with_the_network_that_has_none(bring: Any) -> None:
    assert "the network person, which is shipped, has standard ones only" in bring(FOREIGN / "custom.tflite")


@pytest.mark.parametrize("cut", [8, 200, 700])
def test_a_damaged_file_harms_nobody(bring: Any, tmp_path: Path, cut: int) -> None:
    content = (FOREIGN / "score.tflite").read_bytes()
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(content[:cut] + bytes(len(content) - cut))
    said = bring(broken)
    assert isinstance(said, str)
    assert "broken.tflite" in said or "model mine" in said


def test_what_is_no_tflite_file_is_told_how_to_become_one(bring: Any, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"ONNX is another form")
    assert "is no TFLite network" in bring(tmp_path / "net.onnx")


def test_without_a_terminal_the_licence_has_to_be_given(bring: Any) -> None:
    assert "under which licence its weights are, with --licence" in bring(
        FOREIGN / "score.tflite", licence=""
    )


def test_a_folder_that_is_there_is_not_touched(bring: Any, tmp_path: Path) -> None:
    bring(FOREIGN / "score.tflite")
    before = (tmp_path / "mine" / "model.toml").read_bytes()
    result = CliRunner().invoke(
        cli,
        ["model", "import", str(FOREIGN / "classes.tflite"), "--name", "other", "--licence", "x",
         "--labels", "a,b,c", "--output", str(tmp_path / "mine")],
    )  # fmt: skip
    assert "is there already; name another --output" in str(result.exception)
    assert (tmp_path / "mine" / "model.toml").read_bytes() == before


@pytest.mark.skipif(not PEER.is_file(), reason="GNETSEG_PEERS names no folder with MediaPipe's file")
def test_mediapipes_own_network_is_imported_where_litert_runs_it(bring: Any) -> None:
    pytest.importorskip("ai_edge_litert")
    words, bundle = bring(PEER, "--runtime", "litert")
    assert "litert" in words
    assert (bundle.input.width, bundle.labels) == (256, ("background", "person"))

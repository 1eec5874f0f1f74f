"""``gnetsegctl segment``: every mask of films and photos, once, and the rest where one is bad."""

from __future__ import annotations

import json
import os
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner

from gnetsegd.cameras.turn import from_exif
from gnetsegd.ctl import segment as module
from gnetsegd.ctl.main import cli
from gnetsegd.ctl.segment import Wish, segment
from gnetsegd.errors import ConfigError, PermanentError

av = pytest.importorskip("av")
Image = pytest.importorskip("PIL.Image")

PNG = Wish("gnetseg-tiny", "png", False, 1)


def photo(path, size=(64, 48), orientation=1):
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def film(path, frames=12, codec="mpeg4", size=(64, 48)):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            image = av.VideoFrame.from_ndarray(
                np.full((size[1], size[0], 3), 20 * number, np.uint8), format="rgb24"
            ).reformat(format="yuv420p")
            image.pts, image.time_base = number, Fraction(1, 10)
            for packet in stream.encode(image):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def masks_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


def test_each_picture_of_films_and_photos_gets_its_mask(tmp_path):
    (tmp_path / "photos").mkdir()
    photo(tmp_path / "photos" / "b.jpg")
    photo(tmp_path / "photos" / "a.png")
    out = tmp_path / "out"
    results = segment([film(tmp_path / "film.mp4"), tmp_path / "photos"], out, PNG)
    assert [(result.exit, result.pictures, result.lost) for result in results] == [
        (0, 12, 0),
        (0, 1, 0),
        (0, 1, 0),
    ]
    assert masks_in(out) == ["a.png.png", "b.jpg.png", *(f"film.mp4/{number:06}.png" for number in range(12))]
    with Image.open(out / "b.jpg.png") as mask:
        assert mask.mode == "P"
        assert mask.size[0] / mask.size[1] == pytest.approx(
            4 / 3, abs=0.02
        )  # without the letterbox's padding
        assert set(np.unique(np.asarray(mask))) <= {0, 1}


def test_a_mask_may_have_the_size_of_its_upright_picture(tmp_path):
    path = photo(tmp_path / "lying.jpg", (96, 48), orientation=6)
    assert from_exif(6).on_its_side
    segment([path], tmp_path / "out", PNG._replace(full_size=True))
    with Image.open(tmp_path / "out" / "lying.jpg.png") as mask:
        assert mask.size == (48, 96)


def test_one_bad_file_ends_nothing_and_gives_its_code(tmp_path, monkeypatch):
    good, bad = photo(tmp_path / "good.jpg"), tmp_path / "bad.jpg"
    bad.write_bytes(good.read_bytes()[:900])
    monkeypatch.chdir(tmp_path)
    arguments = ["segment", "bad.jpg", "missing.mp4", "good.jpg", "--out", "out", "--model", "gnetseg-tiny"]
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == os.EX_DATAERR
    results = {each["file"]: each for each in json.loads(done.stdout.splitlines()[-1])}
    assert {name: each["exit"] for name, each in results.items()} == {
        "bad.jpg": os.EX_DATAERR, "missing.mp4": os.EX_NOINPUT, "good.jpg": os.EX_OK,
    }  # fmt: skip
    assert "cannot be decoded" in results["bad.jpg"]["words"]
    assert masks_in(tmp_path / "out") == ["good.jpg.png"]


def test_it_goes_on_where_it_stopped_and_makes_nothing_twice(tmp_path, monkeypatch):
    path, out = film(tmp_path / "film.mp4"), tmp_path / "out"
    made = []
    real = module.Segmenter._infer

    def infer(self):
        if len(made) == 5:
            made.append("stopped")
            raise KeyboardInterrupt
        made.append(self._frame.sequence)
        return real(self)

    monkeypatch.setattr(module.Segmenter, "_infer", infer)
    with pytest.raises(KeyboardInterrupt):
        segment([path], out, PNG)
    (first,) = segment([path], out, PNG)
    (again,) = segment([path], out, PNG)
    assert made == [0, 1, 2, 3, 4, "stopped", 5, 6, 7, 8, 9, 10, 11]
    assert (first.pictures, first.was_there) == (12, False)
    assert again == first._replace(was_there=True)
    assert len(masks_in(out)) == 12


def test_a_file_that_has_changed_is_made_anew(tmp_path):
    path, out = film(tmp_path / "film.mp4"), tmp_path / "out"
    segment([path], out, PNG)
    film(path, frames=5)
    os.utime(path, ns=(1, 1))
    (result,) = segment([path], out, PNG)
    assert (result.pictures, result.was_there) == (5, False)


def test_masks_of_another_network_are_not_mixed_with_these(tmp_path):
    path, out = photo(tmp_path / "a.jpg"), tmp_path / "out"
    segment([path], out, PNG)
    for other in (PNG._replace(model="gnetseg-small"), PNG._replace(form="npz")):
        with pytest.raises(ConfigError, match="holds masks of another network or form") as caught:
            segment([path], out, other)
        assert caught.value.exit_code == os.EX_USAGE
    (out / "segment.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"segment\.json cannot be read"):
        segment([path], out, PNG)


def test_a_film_fits_in_one_npz(tmp_path):
    path, out = film(tmp_path / "film.mp4"), tmp_path / "out"
    segment([path], tmp_path / "pngs", PNG)
    segment([path], out, PNG._replace(form="npz"))
    with np.load(out / "film.mp4.npz") as made:
        masks, sequence = made["masks"], made["sequence"]
    assert sequence.tolist() == list(range(12))
    for number in range(12):
        with Image.open(tmp_path / "pngs" / "film.mp4" / f"{number:06}.png") as mask:
            assert np.array_equal(masks[number], np.asarray(mask))
    assert sorted(each.name for each in out.iterdir()) == ["film.mp4.npz", "segment.json"]


def test_names_that_would_collide_and_empty_folders_are_refused_before_anything_is_done(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "empty").mkdir()
    both = [photo(tmp_path / each / "a.jpg") for each in ("one", "two")]
    with pytest.raises(ConfigError, match="have the same name"):
        segment(both, tmp_path / "out", PNG)
    with pytest.raises(ConfigError, match="there are no pictures"):
        segment([tmp_path / "empty"], tmp_path / "out", PNG)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(PermanentError, match="cannot be written: Not a directory"):
        segment(both[:1], tmp_path / "file" / "out", PNG)

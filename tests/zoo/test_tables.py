"""The paper's two tables stand as printed, and ours beside them claim nothing that was not measured."""

from __future__ import annotations

import json

import pytest
from gnetseg_zoo import tables
from gnetseg_zoo.costs import macs
from gnetseg_zoo.describe import named
from gnetseg_zoo.emulated_link import Rates, bits_of, measure
from gnetseg_zoo.networks import build
from gnetseg_zoo.paper import LINKS, ROWS, compute_ms, link

# Written down from the paper a second time, not taken from the module.
TABLE_1 = """
448 Y integer 2       i5-7300HQ        USB3.0  109.19 0.971
224 Y integer 2       i5-7300HQ        USB3.0  318.72 0.968
224 YUV444 integer 2  Raspberry_Pi_3B  USB2.0  109.57 0.970
224 Y integer 2       Raspberry_Pi_3B  USB2.0  189.87 0.968
"""
TABLE_2 = """
448 RGB softmax 16    i7-8700K         USB3.0   37.50 0.533
448 Y softmax 16      i7-8700K         USB3.0   43.82 0.527
224 RGB softmax 16    i7-8700K         USB3.0  143.51 0.453
448 Y softmax 16      i7-8700K         USB2.0   15.54 0.527
224 RGB softmax 16    i7-8700K         USB2.0   53.27 0.453
224 RGB softmax 16    RK3399           USB3.0   53.57 0.453
224 RGB softmax 16    RK3399           USB2.0   25.77 0.453
448 Y softmax 16      Raspberry_Pi_3B  USB2.0    7.03 0.527
224 RGB softmax 16    Raspberry_Pi_3B  USB2.0   25.78 0.453
"""


def printed(table, text):
    for words in (line.split() for line in text.split("\n") if line):
        size, pixels, encoding, classes, host, bus, fps, miou = words
        row = (table, int(size), pixels, encoding, int(classes), host.replace("_", " "), bus)
        yield (*row, float(fps), float(miou))


def test_all_thirteen_rows_hold_the_numbers_of_the_paper():
    ours = [
        (r.table, r.size, r.input_format, r.encoding, r.classes, r.host, r.bus, r.fps, r.miou) for r in ROWS
    ]
    assert ours == [*printed(1, TABLE_1), *printed(2, TABLE_2)]
    assert len(ours) == 13


@pytest.fixture
def rows(capsys):
    assert tables.main(["--json", "--no-link"]) == 0
    return json.loads(capsys.readouterr().out)["rows"]


def test_each_line_has_the_paper_s_figures_and_our_network_of_the_same_kind(rows):
    assert len(rows) == 13
    for row, given in zip(ROWS, rows, strict=True):
        assert given["paper"]["fps"] == row.fps
        assert given["paper"]["miou"] == row.miou
        ours = given["ours"]
        assert ours["architecture"].startswith("large: DOWN-DOWN-DOWN-NONE-UP-UP-(NONE+reformat)")
        assert (ours["size"], ours["input"], ours["encoding"]) == (row.size, row.input_format, row.encoding)
        assert (ours["classes"] > 2) == (row.classes > 2)
        assert given["link"] is None


def test_our_scores_are_never_shown_without_the_data_that_they_are_of(rows, capsys):
    for given in rows:
        assert given["paper"]["data"].startswith("Matting Human" if given["table"] == 1 else "Cityscapes")
        assert given["ours"]["data"].startswith("person photos" if given["table"] == 1 else "CamVid")
    assert tables.main(["--no-link"]) == 0
    text = capsys.readouterr().out
    assert "on other photos and cannot be compared" in text
    assert "ours, CamVid, 11 classes, val" in text


def test_a_row_without_a_shipped_bundle_has_no_score(rows, monkeypatch, tmp_path):
    assert all(r["ours"]["miou"] is None for r in rows if r["ours"]["model"] == tables.NOT_TRAINED)
    monkeypatch.setattr(tables, "SHIPPED", tmp_path)
    row = ROWS[1]
    assert tables.line(row, None)["ours"]["model"] == tables.NOT_TRAINED
    assert tables.line(row, None)["ours"]["miou"] is None


def test_a_shipped_bundle_stands_with_the_score_of_its_own_model_toml(monkeypatch, tmp_path):
    ship(monkeypatch, tmp_path, "gnetseg-large-224y")
    ours = tables.line(ROWS[1], None)["ours"]
    assert (ours["model"], ours["miou"]) == ("gnetseg-large-224y", 0.5)
    assert ours["mmacs"] == round(macs(named("gnetseg-large-224y")) / 1e6, 1)


def ship(monkeypatch, folder, *names):
    monkeypatch.setattr(tables, "SHIPPED", folder)
    for name in names:
        (folder / name).mkdir()
        (folder / name / "model.toml").write_text("[scores.persons]\nmiou = 0.5\n")


def test_a_shipped_network_stands_before_one_for_the_chip_that_is_not_trained(monkeypatch, tmp_path):
    ship(monkeypatch, tmp_path, "gnetseg-large-cpu30")
    line = tables.line(ROWS[1], None)
    assert line["ours"]["model"] == "gnetseg-large-cpu30"
    assert line["ours"]["chip_config"] == "gnetseg-large-224y"
    assert "gnetseg-large-cpu30 (chip: gnetseg-large-224y, not trained)" in tables.text([line])


@pytest.mark.parametrize("names", [(), ("gnetseg-large-cpu30", "gnetseg-large-224y")])
def test_of_networks_that_are_trained_alike_the_chips_stands_first(monkeypatch, tmp_path, names):
    ship(monkeypatch, tmp_path, *names)
    ours = tables.line(ROWS[1], None)["ours"]
    assert (ours["config"], ours["chip_config"]) == ("gnetseg-large-224y", None)


def test_bytes_each_way_are_those_of_the_picture_and_of_the_packed_mask(rows):
    first, yuv, camvid = rows[0]["ours"], rows[2]["ours"], rows[5]["ours"]
    assert (first["bytes_out"], first["bytes_in"]) == (448 * 448, 448 * 448 // 8)
    assert (yuv["bytes_out"], yuv["bytes_in"]) == (3 * 224 * 224, 224 * 224 // 8)
    assert (camvid["bytes_out"], camvid["bytes_in"]) == (448 * 448, 448 * 448 // 2)
    assert [bits_of(n) for n in (2, 3, 11, 16, 17)] == [1, 2, 4, 4, 8]


def test_every_row_says_whose_rate_its_link_has():
    assert {(row.host, row.bus) for row in ROWS} == set(LINKS)
    assert all(link(row).source for row in ROWS)


def test_the_time_in_the_chip_is_estimated_unless_the_paper_lets_it_be_inferred():
    assert compute_ms(ROWS[3], 10**9) == (1.4, "inferred")
    # 2,142 million multiply-accumulates at 2,142 GMAC/s.
    assert compute_ms(ROWS[0], 2_142_000_000) == (pytest.approx(1.0), "estimated")


def test_the_inferred_rate_makes_the_paper_s_two_pi_rows():
    for row in ROWS[2:4]:
        channels = 1 if row.input_format == "Y" else 3
        seconds = (channels + 1) * row.size**2 / (link(row).mbps * 1e6) + compute_ms(row, 0)[0] / 1000
        assert 1 / seconds == pytest.approx(row.fps, rel=0.01)


def test_the_link_is_measured_and_stays_within_its_bound():
    pytest.importorskip("usb")
    network = build(
        "large", widths=(8, 8, 8, 8), input_format="RGB", size=224, classes=16, encoding="softmax"
    )
    rates = measure(network, mbps=10.0, compute_ms=1.0, seconds=0.5)
    # Half a byte a pixel comes back pipelined, a whole one serially; a burst of replies may be counted.
    assert 0 < rates.serial <= 1.1 * rates.serial_bound
    assert 0 < rates.pipelined <= 1.1 * rates.pipelined_bound
    bytes_each = (3.5 * 224 * 224, 4 * 224 * 224)
    assert rates.pipelined_bound == pytest.approx(10e6 / bytes_each[0], rel=0.01)
    assert rates.serial_bound == pytest.approx(1 / (bytes_each[1] / 10e6 + 0.001), rel=0.01)


def test_a_busy_machine_is_said_beside_the_rates(monkeypatch, capsys):
    rates = Rates(serial=1.0, serial_bound=2.0, pipelined=3.0, pipelined_bound=4.0)
    monkeypatch.setattr(tables, "measure", lambda *_arguments: rates)
    monkeypatch.setattr("os.getloadavg", lambda: (11.4, 0.0, 0.0))
    assert tables.main([]) == 0
    text = capsys.readouterr().out
    assert "1.0 (2)" in text
    assert "3.0 (4)" in text
    assert "at a load of 11.4" in text


def test_outside_the_repository_the_link_is_refused_with_the_remedy(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("gnetseg_zoo.emulated_link.BENCH", tmp_path / "none")
    monkeypatch.setattr("sys.path", ["/usr/lib/nowhere"])
    monkeypatch.delitem(__import__("sys").modules, "link", raising=False)
    assert tables.main([]) == 69
    assert "or give --no-link" in capsys.readouterr().err

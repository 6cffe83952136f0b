"""The comparison's files: numbers and Figure 1."""

import csv
import json

from jaxsdgm.evaluation.cells import rows_of
from jaxsdgm.evaluation.summary import figure_1, write_summary
from tests.evaluation.fake_run import fake_run
from tests.evaluation.test_report import Page

MBERT = {"name": "mbert", "revision": None, "trainable": True}


def runs():
    few = [fake_run(0.6 + 0.1 * s, n=n, seed=s) for n in (8, 32) for s in range(3)]
    full = fake_run(0.9, system="sup_h", n=0, encoder=MBERT)
    return [*few, full, fake_run(0.75, system="sup_h", n=16, encoder=MBERT)]


def test_files_agree(tmp_path):
    page = write_summary(tmp_path / "out", runs(), passed=["half (not finished)"])
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert found["runs"] == 8
    assert found["passed_over"] == ["half (not finished)"]
    with (tmp_path / "out" / "summary.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert [float(line["mean"]) for line in lines] == [row["mean"] for row in found["rows"]]
    assert [row["n"] for row in found["rows"]] == [8, 16, 32, 1000]
    markdown = (tmp_path / "out" / "summary.md").read_text()
    assert "| debian | en | 8 | M1+M2+BOW | BiLSTM | train | 3 | 70.0 (8.2) |" in markdown
    assert "| debian | en | all 1000 | SUP-h | mbert | – | 1 | 90.0 |" in markdown
    text = Page(page.read_text())
    assert "70.0%" in text.text
    assert "half (not finished)" in text.text
    assert all(address.startswith("data:") for address in text.addresses)
    assert (tmp_path / "out" / "figures" / "figure_1.svg").read_bytes() == figure_1(rows_of(runs()))


def test_no_figure_without_few_labels():
    assert figure_1(rows_of([fake_run(n=0)])) is None

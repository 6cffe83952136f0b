"""What a cell says of its runs, and which runs are in it."""

import pytest

from jaxsdgm.evaluation.tables import (
    Key,
    Table,
    accuracy,
    filled,
    fits,
    grid_of,
    parameters,
    run_of,
    running_time,
    setting,
)
from tests.evaluation.fake_run import fake_run

MBERT = {"name": "some/mbert", "revision": None, "trainable": True}
TABLE = Table(
    "t",
    "T",
    ("system",),
    rows=[Key(("M1+M2+BOW",), {"system": "M1+M2+BOW"}), Key(("FT",), {"system": "FT"})],
    columns=[Key(("en", str(n)), {"language": "en", "n": n}) for n in (32, 64, "all")],
    where={"kind": "classify", "corpus": "mldoc", "start": "BiLSTM"},
    measure=accuracy,
    paper={"M1+M2+BOW": [79.8, [81.7, 1.25], None], "FT": [36.3, None, 80.9]},
)


def lines(runs, table=TABLE):
    grid = grid_of(table, [run_of(run) for run in runs])
    return [[entry.command or entry.text for entry in row] for row in grid.rows]


def test_ours_are_below_the_papers():
    runs = [fake_run(x, source="mldoc", seed=i) for i, x in enumerate((0.6, 0.7, 0.8))]
    theirs, ours, *_ = lines([*runs, fake_run(0.9, source="mldoc", n=64)])
    assert theirs == ["M1+M2+BOW", "the paper", "79.8", "81.7 (1.2)", "–"]
    assert ours == ["M1+M2+BOW", "BiLSTM", "70.0 (8.2)", "90.0", "–"]


def test_an_empty_cell_has_its_command_or_says_that_there_is_none():
    *_, ours, ft, ours_ft = lines([])
    assert ours[:2] == ["M1+M2+BOW", "here"]
    assert "configs/mldoc_nxvae.py:,en,64,bow " in ours[3]
    assert ours[4] == "–"  # the paper has no such figure
    assert ft == ["FT", "the paper", "36.3", "–", "80.9"]
    assert ours_ft == ["FT", "here", "not in this version", "–", "not in this version"]


@pytest.mark.parametrize(
    "other",
    [
        fake_run(source="debian"),
        fake_run(source="mldoc", language="de"),
        fake_run(source="mldoc", train_size=2000),
        fake_run(source="mldoc", encoder=MBERT),
        fake_run(source="mldoc", system="nb_em"),
        fake_run(source="mldoc", n=8),
    ],
)
def test_runs_of_other_cells_stay_out(other):
    assert not filled(TABLE, [run_of(other)])
    assert lines([other]) == lines([])


def test_runs_of_different_sources_are_not_averaged():
    swept = fake_run(0.9, source="mldoc")
    swept["config"]["sweep"] = {"beta": [0.2], "learning_rate": []}
    found = lines(
        [fake_run(0.5, source="mldoc"), swept, fake_run(0.7, source="mldoc", unlabelled="rest")]
    )
    assert [(line[1], line[2]) for line in found[1:4]] == [
        ("BiLSTM", "50.0"),
        ("BiLSTM, beta 0.2", "90.0"),
        ("BiLSTM, with rest", "70.0"),
    ]
    assert found[2][3].endswith(" --config.sweep.beta=0.2")
    assert found[3][3].endswith(" --config.data.unlabelled=rest")


def test_without_the_paper_lines_are_those_of_runs():
    table = Table("t", "T", ("system",), TABLE.rows, TABLE.columns, TABLE.where, measure=accuracy)
    assert lines([], table) == []
    (ours,) = lines([fake_run(0.5, source="mldoc")], table)
    assert ours[2] == "50.0"
    assert "en,64,bow" in ours[3]


def test_facts():
    assert fits({"n": 32}, {"n": (32, 64), "split": "train"})
    assert not fits({"n": 32}, {"n": "all"})
    facts = run_of(fake_run(encoder={**MBERT, "trainable": False})).facts
    assert (facts["start"], facts["checkpoint"], facts["source"]) == (
        "frozen",
        "mbert",
        "mbert, frozen",
    )
    pretrained = fake_run(encoder={"name": "NXVAE", "trainable": True})
    pretrained["languages"] = ["de", "en"]
    facts = run_of(pretrained).facts
    assert (facts["start"], facts["pair"], facts["source"]) == ("NXVAE", "en-de", "NXVAE en-de")


def test_measures():
    runs = [
        {
            "config": {"a": {"b": b}},
            "parameters": 1_234_567,
            "training": {"seconds": s},
            "device": "X",
        }
        for b, s in ((0, 3600.0), (5e-4, 7200.0))
    ]
    assert setting("a.b", zero="none", unit="steps")(runs, {}) == "none / 0.0005 steps"
    assert setting("a.c")(runs, {}) == setting("a.b.c")(runs, {}) == ""
    assert (
        setting("a.b")([{"config": {"a": {"b": value}}} for value in (True, False)], {})
        == "yes / no"
    )
    assert setting("a.b")([{"config": {"a": {"b": 40_000}}}], {}) == "40,000"
    assert parameters(runs, {}) == "1,234,567"
    assert parameters([{"parameters": 26_000_000, "trained_parameters": 859_524}], {}) == "859,524"
    assert running_time(runs, {}) == "1 h 30 min, X"
    assert running_time([{}], {}) == ""

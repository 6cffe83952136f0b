"""Which runs are averaged with which, and what is said about the others."""

import pytest

from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.cells import cell_of, read_runs, rows_of, warnings_of
from tests.evaluation.fake_run import fake_run, write_run

MBERT = {"name": "some/mbert", "revision": "1", "trainable": True}


def test_mean_and_population_standard_deviation_over_seeds():
    (row,) = rows_of([fake_run(x, seed=i) for i, x in enumerate((0.6, 0.7, 0.8))])
    assert row.accuracies == (0.6, 0.7, 0.8)
    assert row.mean == pytest.approx(0.7)
    assert row.std == pytest.approx((0.02 / 3) ** 0.5)
    assert rows_of([fake_run()])[0].std is None


@pytest.mark.parametrize(
    "other",
    [
        fake_run(language="de"),
        fake_run(n=64),
        fake_run(n=0),
        fake_run(unlabelled="rest"),
        fake_run(source="mldoc"),
        fake_run(system="nb_em"),
        fake_run(encoder=MBERT),
    ],
)
def test_what_parts_cells(other):
    assert len(rows_of([fake_run(), other])) == 2


def test_names():
    cell = cell_of(fake_run(system="sup_h", encoder={**MBERT, "trainable": False}))
    assert (cell.system, cell.encoder, cell.unlabelled) == ("SUP-h", "mbert, frozen", "–")
    assert cell_of(fake_run(system="nb_em")).encoder == "–"
    assert cell_of(fake_run()).encoder == "BiLSTM"
    assert cell_of(fake_run(source="files", train="a/mine.tsv")).corpus == "files mine.tsv"
    assert cell_of(fake_run(unlabelled="a/more.txt")).unlabelled == "more.txt"


def test_order_is_the_papers_languages_then_labels_all_of_them_last():
    runs = [fake_run(language=c, n=n) for c in ("yo", "de", "en") for n in (0, 32, 8)]
    found = [(row.cell.language, row.cell.n) for row in rows_of(runs)]
    assert found == [(c, n) for c in ("en", "de", "yo") for n in (8, 32, 1000)]


def test_doubtful_means():
    twice = [fake_run(seed=0), fake_run(seed=0)]
    assert warnings_of(twice) == [
        "debian, en, M1+M2+BOW, 32 labels: 2 runs, but only 1 different seeds."
    ]
    other = fake_run(seed=1)
    other["config"]["model"]["beta"] = 9.0
    (warning,) = warnings_of([fake_run(seed=0), other])
    assert "differ in model.beta, yet" in warning
    assert warnings_of([fake_run(seed=0), fake_run(seed=1)]) == []
    assert "invented" in warnings_of([fake_run(source="generated")])[0]


def test_runs_are_found_at_any_depth_and_others_are_named(tmp_path):
    write_run(tmp_path / "a" / "trial-0", fake_run(0.5))
    write_run(tmp_path / "b", fake_run(0.6))
    write_run(tmp_path / "pre", {"kind": "pretrain"})
    write_run(tmp_path / "all", {"kind": "stages"})
    write_run(tmp_path / "odd", {"accuracy": 1})
    write_run(tmp_path / "list", [1])
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    (tmp_path / "b" / "results.json.partial").write_text("{")
    runs, passed = read_runs([tmp_path, tmp_path / "b"])
    assert [run["metrics"]["test"]["accuracy"] for run in runs] == [0.5, 0.6]
    assert passed == [
        f"{tmp_path}/half (not finished)",
        f"{tmp_path}/list (not results of this library)",
        f"{tmp_path}/odd (not results of this library)",
        f"{tmp_path}/pre (pretrain)",
    ]


def test_pretraining_runs_on_demand(tmp_path):
    write_run(tmp_path / "a", fake_run(0.5))
    config = {"data": {"source": "europarl"}}
    write_run(tmp_path / "b", {"kind": "pretrain", "languages": ["en", "de"], "config": config})
    write_run(tmp_path / "c", {"kind": "pretrain"})
    runs, passed = read_runs([tmp_path], others=True)
    assert [run["kind"] for run in runs] == ["classify", "pretrain"]
    assert passed == [f"{tmp_path}/c (not results of this library)"]
    assert len(read_runs([tmp_path])[0]) == 1


def test_nothing_to_compare(tmp_path):
    with pytest.raises(UserError, match="no finished classification run there; train"):
        read_runs([tmp_path])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"there \(.*not finished\)"):
        read_runs([tmp_path])
    with pytest.raises(UserError, match="none: no such directory"):
        read_runs([tmp_path / "none"])

"""Tables 3, 14 and 15 from what a run's results hold."""

import csv

import pytest

from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.word_tables import word_grids, write_word_tables
from tests.evaluation.test_report import Page, fake_results

LABELS = ("C", "E")


def results(decoder="bow"):
    rows = [{"label": name, "words": ["<UNK>", "bank_50%", "price"]} for name in LABELS]
    titles = ("z2 drawn from its prior, draw 1", "z2 of the document “a b …”")
    return {
        "name": "mine",
        "config": {"model": {"decoder": decoder}},
        "tables": {
            "neighbours": fake_results()["tables"]["neighbours"],
            "generated": [{"title": title, "rows": rows} for title in titles],
        },
    }


def texts(grid):
    return [[entry.text for entry in row] for row in grid.rows]


def test_nearest_words():
    grid = word_grids(results())[0]
    assert grid.head == ["word", "language", "nearest in en", "nearest in de"]
    assert texts(grid) == [
        ["image", "en", "picture, images, photo", "bild, bilder, grafik"],
        ["imgae", "en", "–", "–"],
    ]


def test_words_with_z2_from_the_prior_and_from_a_document():
    _, prior, document = word_grids(results())
    assert (prior.name, document.name) == ("table_14", "table_15")
    drawn = "z2 drawn from its prior, draw 1"
    assert texts(prior) == [[drawn, name, "<UNK>, bank_50%, price"] for name in LABELS]
    assert texts(document)[0][0] == "z2 of the document “a b …”"


def test_a_grus_words_are_a_text():
    grid = word_grids(results("gru"))[1]
    assert grid.head == ["z2", "class", "text"]
    assert texts(grid)[0][2] == "<UNK> bank_50% price"


def test_only_what_a_run_has():
    one = results()
    del one["tables"]["generated"]
    assert [grid.name for grid in word_grids(one)] == ["table_3"]
    one["tables"] = {"neighbours": []}
    with pytest.raises(UserError, match="no word tables"):
        word_grids(one)
    with pytest.raises(UserError):
        word_grids({})


def test_files(tmp_path):
    page = write_word_tables(tmp_path, results())
    assert page == tmp_path / "word_tables.html"
    assert "<UNK>, bank_50%" in Page(page.read_text("utf-8")).text
    assert r"\<UNK>, bank\_50%" in (tmp_path / "word_tables.md").read_text("utf-8")
    latex = (tmp_path / "tables" / "table_14.tex").read_text("utf-8")
    assert r"\textless{}UNK\textgreater{}, bank\_50\%, price \\" in latex
    with (tmp_path / "tables" / "table_15.csv").open(encoding="utf-8", newline="") as stream:
        assert [*csv.reader(stream)][1][2] == "<UNK>, bank_50%, price"

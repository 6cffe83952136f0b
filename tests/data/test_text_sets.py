"""AG News, DBPedia, IMDB and Yelp from files of their releases' forms, and through TFDS."""

import numpy as np
import pytest

from configs import ssvae_agnews
from jaxsdgm.data import text_sets
from jaxsdgm.data.documents import Documents
from jaxsdgm.data.sources import load_corpus
from jaxsdgm.data.text_sets import read_text_set
from jaxsdgm.errors import UserError
from jaxsdgm.experiments.inputs import load_inputs


def csv_rows(folder, classes, n, *, quote='"'):
    for split in ("train", "test"):
        rows = [
            f'"{i % classes + 1}","Title {i}","Text {i}, with {quote}{quote}quotes{quote}{quote}."'
            for i in range(n)
        ]
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")


SIZES = {"pool": 20, "unlabelled": 10}


def test_agnews(tmp_path):
    csv_rows(tmp_path, 4, 40)
    corpus = read_text_set("agnews", str(tmp_path), **SIZES)
    assert corpus.label_names == ("World", "Sports", "Business", "Sci/Tech")
    sizes = {split: len(documents) for split, documents in corpus.splits.items()}
    assert sizes == {"train": 20, "dev": 4, "test": 40, "unlabelled": 10}
    assert corpus.splits["test"].texts[5] == 'Title 5 Text 5, with "quotes".'
    train = corpus.splits["train"]
    number = [int(text.split()[1]) for text in train.texts]
    np.testing.assert_array_equal(train.labels, np.array(number) % 4)


def test_without_a_pool_everything_stays(tmp_path):
    csv_rows(tmp_path, 4, 40)
    corpus = read_text_set("agnews", str(tmp_path), pool=0, unlabelled=0)
    assert {split: len(x) for split, x in corpus.splits.items()} == {"train": 40, "test": 40}
    config = ssvae_agnews.get_config("ssvae,1")
    config.data.dir, config.data.pool = str(tmp_path), 0
    with pytest.raises(UserError, match="no development documents; set config.data.pool"):
        load_inputs(config)


def test_dbpedia_has_fourteen_classes_and_no_titles(tmp_path):
    csv_rows(tmp_path, 14, 42)
    corpus = read_text_set("dbpedia", str(tmp_path), **SIZES)
    test = corpus.splits["test"]
    assert (len(corpus.label_names), test.labels.max()) == (14, 13)
    assert test.texts[0] == 'Text 0, with "quotes".'


def test_imdb(tmp_path):
    for split, labels in (("train", ("neg", "pos", "unsup")), ("test", ("neg", "pos"))):
        for label in labels:
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(12):
                (tmp_path / split / label / f"{i}.txt").write_text(f"{label} {i}")
    corpus = read_text_set("imdb", str(tmp_path), **SIZES)
    assert all(text.startswith("unsup") for text in corpus.splits["unlabelled"].texts)
    train = corpus.splits["train"]
    assert [text.split()[0] == "pos" for text in train.texts] == (train.labels == 1).tolist()


@pytest.mark.parametrize("form", ["sentences", "tables"])
def test_yelp(tmp_path, form):
    for split in ("train", "test"):
        for c in (0, 1):
            lines = [f"{c} line {i}" for i in range(12)]
            (tmp_path / f"sentiment.{split}.{c}").write_text("\n".join(lines) + "\n")
        if form == "tables":
            both = [f"{c}\tline {i}" for i in range(12) for c in (0, 1)]
            (tmp_path / f"yelp.{split}.tsv").write_text("\n".join(both) + "\n")
    corpus = read_text_set("yelp", str(tmp_path), **SIZES)
    assert np.bincount(corpus.splits["test"].labels).tolist() == [12, 12]
    assert corpus.splits["test"].texts[0] == ("line 0" if form == "tables" else "0 line 0")


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('"1","only two"', r"train\.csv:41: 2 fields, 3 expected"),
        ('"5","a","b"', r"train\.csv:41: class '5' is none of 1 to 4"),
        ('"1"," "," "', r"train\.csv:41: empty document"),
        ('"1","a","b" c"', r"train\.csv:41: not a valid CSV line"),
    ],
)
def test_bad_rows(tmp_path, line, match):
    csv_rows(tmp_path, 4, 40)
    with (tmp_path / "train.csv").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(UserError, match=match) as caught:
        read_text_set("agnews", str(tmp_path), **SIZES)
    assert "\n" not in str(caught.value)


def test_bad_input(tmp_path):
    with pytest.raises(UserError, match=r"train\.csv: no such file"):
        read_text_set("agnews", str(tmp_path), **SIZES)
    with pytest.raises(UserError, match=r"neg: no reviews"):
        read_text_set("imdb", str(tmp_path), **SIZES)
    with pytest.raises(UserError, match="TFDS has no 'dbpedia'"):
        read_text_set("dbpedia", "", **SIZES)
    csv_rows(tmp_path, 4, 10)
    with pytest.raises(UserError, match="pool is 20, but there are only 10"):
        read_text_set("agnews", str(tmp_path), **SIZES)


def test_through_tfds(monkeypatch):
    """The names of fields and splits; TFDS itself is tested with the builders of this library."""
    asked = []

    def documents(dataset, split, fields):
        asked.append((dataset, split, tuple(fields)))
        return Documents(tuple(f"text {i}" for i in range(30)), np.arange(30, dtype=np.int32) % 2)

    monkeypatch.setattr(text_sets, "tfds_documents", documents)
    corpus = read_text_set("imdb", "", **SIZES)
    assert asked == [("imdb_reviews", s, ("text",)) for s in ("train", "test", "unsupervised")]
    assert corpus.source == "imdb, TFDS"


def test_sources_of_another_kind_get_pools_too():
    class Data:
        source, language, pool, pool_unlabelled = "generated", "en", 50, 30

    corpus = load_corpus(Data)
    sizes = {split: len(documents) for split, documents in corpus.splits.items()}
    assert sizes == {"train": 50, "dev": 10, "test": 400, "unlabelled": 30}

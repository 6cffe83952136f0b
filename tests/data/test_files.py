import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxsdgm.data.files import read_files, read_rows, read_texts
from jaxsdgm.errors import UserError

ROWS = [("good", 'She said "fine", twice'), ("bad", "Tränen\tund Wut"), ("good", "third")]


def _tsv(path, rows):
    path.write_text("label\ttext\n" + "".join(f"{a}\t{b}\n" for a, b in rows), encoding="utf-8")


def _csv(path, rows):
    quoted = "".join('{},"{}"\n'.format(a, b.replace('"', '""')) for a, b in rows)
    path.write_text("label,text\n" + quoted, encoding="utf-8")


def _jsonl(path, rows):
    lines = (json.dumps({"text": b, "label": a, "more": 1}) + "\n" for a, b in rows)
    path.write_text("".join(lines), encoding="utf-8")


def _parquet(path, rows):
    pq.write_table(pa.table({"label": [a for a, _ in rows], "text": [b for _, b in rows]}), path)


@pytest.mark.parametrize("write", [_csv, _jsonl, _parquet, _tsv])
def test_every_kind_of_table(tmp_path, write):
    rows = [(a, b.replace("\t", " ")) for a, b in ROWS]
    path = tmp_path / f"all.{write.__name__[1:]}"
    write(path, rows)
    corpus = read_files(train=path, dev=path, test=path, unlabelled=path, language="de")
    assert corpus.label_names == ("bad", "good")
    labels = corpus.splits["test"].labels
    assert labels is not None
    assert labels.tolist() == [1, 0, 1]
    assert labels.dtype == np.int32
    assert corpus.splits["train"].texts == corpus.splits["unlabelled"].texts
    assert corpus.splits["train"].texts == tuple(b for _, b in rows)
    assert corpus.splits["unlabelled"].labels is None
    assert (corpus.language, corpus.warnings) == ("de", ())


def test_named_columns_numbers_as_labels_and_given_order(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('stars,body,id\n3,"one\nline",x\n1,' + "y" * 200_000 + ",y\n")
    corpus = read_files(
        train=path, dev=path, test=path, text="body", label="stars", label_names=("3", "1")
    )
    assert corpus.counts("train") == [1, 1]
    assert corpus.splits["train"].texts[0] == "one\nline"


def test_dev_and_test_are_split_off_train_class_by_class(tmp_path):
    rows = [("ab"[i % 4 == 0], f"text {i}") for i in range(200)]
    _tsv(tmp_path / "a.tsv", rows)
    corpus = read_files(train=tmp_path / "a.tsv", seed=3)
    assert {s: corpus.counts(s) for s in corpus.splits} == {
        "test": [30, 10],
        "dev": [12, 4],
        "train": [108, 36],
    }
    texts = [text for documents in corpus.splits.values() for text in documents.texts]
    assert sorted(texts) == sorted(text for _, text in rows)
    assert "40 of 200 training documents are used as test (seed 3)" in corpus.warnings[0]
    again = read_files(train=tmp_path / "a.tsv", seed=3)
    assert again.splits["dev"].texts == corpus.splits["dev"].texts
    other = read_files(train=tmp_path / "a.tsv", seed=4)
    assert other.splits["dev"].texts != corpus.splits["dev"].texts


def test_unlabelled_lines(tmp_path):
    (tmp_path / "more.txt").write_text("one, two\nthree\n")
    assert read_texts(tmp_path / "more.txt").texts == ("one, two", "three")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"label\ttext\nA\tx\nB\n", r"a\.tsv:3: 1 fields where the header has 2"),
        ("a.tsv", b"A\tx\nB\ty\n", r"a\.tsv:2: no column 'text'; the columns are: A, x"),
        ("a.tsv", b"label\ttext\nA\tx\nB\t \n", r"a\.tsv:3: column 'text' is empty"),
        ("a.tsv", b"label\ttext\nA\tx\n\tz\n", r"a\.tsv:3: column 'label' is empty"),
        ("a.tsv", b"label\ttext\nA\tx\nB\t\xfc\n", r"a\.tsv:3: invalid UTF-8"),
        ("a.tsv", b"label\ttext\n", r"a\.tsv: empty split"),
        ("a.tsv", b"", r"a\.tsv: empty split"),
        ("a.csv", b'label,text\nA,"x\n', r"a\.csv:2: not a valid table line"),
        ("a.jsonl", b'{"label": "A", "text": "x"}\n{"label": \n', r"a\.jsonl:2: not valid JSON"),
        ("a.jsonl", b'{"label": "A", "text": "x"}\n[1]\n', r"a\.jsonl:2: expected one JSON object"),
        ("a.jsonl", b'{"label": "A", "text": null}\n', r"a\.jsonl:1: column 'text' is empty"),
        ("a.parquet", b"no parquet", r"a\.parquet: not a readable Parquet file"),
        ("a.xlsx", b"", r"a\.xlsx: unknown kind of file; expected one of \.tsv"),
    ],
)
def test_bad_tables(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_files(train=tmp_path / name, dev=tmp_path / name, test=tmp_path / name)
    assert "\n" not in str(caught.value)


def test_other_errors(tmp_path):
    _tsv(tmp_path / "a.tsv", [("A", "x"), ("B", "y")])
    _tsv(tmp_path / "b.tsv", [("A", "x"), ("C", "y")])
    with pytest.raises(UserError, match=r"b\.tsv:3: unknown label 'C'; known labels: A, B"):
        read_files(train=tmp_path / "a.tsv", dev=tmp_path / "b.tsv", test=tmp_path / "a.tsv")
    for missing in ("none.csv", "none.parquet"):
        with pytest.raises(UserError, match="no such file"):
            list(read_rows(tmp_path / missing))
    with pytest.raises(UserError, match="too few to split"):
        read_files(train=tmp_path / "a.tsv", dev=tmp_path / "a.tsv", test_fraction=1.0)
    (tmp_path / "empty.tsv").write_text("text\n")
    with pytest.raises(UserError, match="empty split"):
        read_texts(tmp_path / "empty.tsv")

from pathlib import Path

import numpy as np
import pytest

from jaxsdgm.data.mldoc import TABLE_2, read_mldoc, read_split_files
from jaxsdgm.errors import UserError

DEBIAN = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "debian" / "cls"
DEBIAN_LABELS = ("DEVEL", "GAMES", "MEDIA", "NET")


def _write(directory, stem, rows, splits=("train.1000", "dev", "test")):
    directory.mkdir(exist_ok=True)
    for split in splits:
        (directory / f"{stem}.{split}").write_text("".join(f"{a}\t{b}\n" for a, b in rows))


@pytest.mark.parametrize("spelling", [slice(None), slice(1)])
def test_labels_in_the_papers_order_whether_long_or_short(tmp_path, spelling):
    names = ("MCAT", "CCAT", "GCAT", "ECAT")
    _write(tmp_path, "german", [(name[spelling], f"text {name}") for name in names])
    corpus = read_mldoc(tmp_path, "de")
    assert corpus.label_names == ("CCAT", "ECAT", "GCAT", "MCAT")
    labels = corpus.splits["train"].labels
    assert labels is not None
    assert labels.tolist() == [3, 0, 2, 1]
    assert corpus.splits["test"].texts[0] == "text MCAT"
    assert len(corpus.warnings) == 3
    assert "german.train.1000" in corpus.warnings[0]
    assert "[270, 240, 245, 245]" in corpus.warnings[0]


def test_the_papers_counts_pass_without_warning(tmp_path):
    for split, counts in TABLE_2["fr"].items():
        rows = [(name, "x") for name, n in zip("CEGM", counts, strict=True) for _ in range(n)]
        _write(tmp_path, "french", rows, [split if split != "train" else "train.1000"])
    corpus = read_mldoc(tmp_path, "fr")
    assert corpus.warnings == ()
    assert corpus.counts("dev") == [257, 237, 237, 269]


def test_table_2_adds_up():
    for counts in TABLE_2.values():
        assert [sum(counts[split]) for split in ("train", "dev", "test")] == [1000, 1000, 4000]


def test_other_languages_have_no_expected_counts_and_the_reference_layout_is_found(tmp_path):
    _write(tmp_path / "es", "es", [("C", "hola")])
    corpus = read_mldoc(tmp_path, "es")
    assert corpus.warnings == ()
    assert corpus.splits["dev"].texts == ("hola",)


def test_larger_training_sets_start_with_the_smaller_ones(tmp_path):
    small = [("C", "c1"), ("E", "e1")]
    middle = [("E", "e2"), ("E", "e1"), ("C", "c1")]
    large = [("C", "c3"), ("C", "c1"), ("E", "e2"), ("E", "e1"), ("C", "c1")]
    _write(tmp_path, "english", small)
    _write(tmp_path, "english", middle, ["train.2000"])
    _write(tmp_path, "english", large, ["train.5000"])
    train = read_mldoc(tmp_path, "en", train_size=5000).splits["train"]
    assert train.texts == ("c1", "e1", "e2", "c3", "c1")
    assert np.array_equal(train.labels, [0, 1, 1, 0, 0])  # pyright: ignore
    _write(tmp_path, "english", [("M", "else"), *small[1:]], ["train.1000"])
    with pytest.raises(UserError, match="not nested: 1 documents"):
        read_mldoc(tmp_path, "en", train_size=5000)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"english\.train\.1000: no such file"):
        read_mldoc(tmp_path, "en")


def test_rest_has_no_labels(tmp_path):
    splits = ("train.1000", "dev", "test", "rest")
    _write(tmp_path, "english", [("X", "one"), ("Y", "two")], splits)
    corpus = read_split_files(tmp_path, "en", ("X", "Y"), rest=True)
    assert corpus.splits["unlabelled"].labels is None
    assert corpus.splits["unlabelled"].texts == ("one", "two")
    assert "unlabelled" not in read_split_files(tmp_path, "en", ("X", "Y")).splits


@pytest.mark.parametrize(
    ("language", "sizes"),
    [
        ("en", [1000, 605, 1610]),
        ("de", [970, 349, 796]),
        ("fr", [1000, 561, 1488]),
        ("ru", [338, 99, 351]),
        ("zh", [103, 41, 81]),
    ],
)
def test_debian_in_five_languages(language, sizes):
    if not DEBIAN.is_dir():
        pytest.skip("../shared is absent")
    corpus = read_split_files(DEBIAN, language, DEBIAN_LABELS, rest=True)
    assert [len(corpus.splits[split]) for split in ("train", "dev", "test")] == sizes
    assert all(corpus.counts("train"))

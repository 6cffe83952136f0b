"""SIB-200 in both layouts, and what is said about bad files."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jaxsdgm.data.sib200 import LABELS, read_sib200
from jaxsdgm.data.sources import load_corpus
from jaxsdgm.errors import UserError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "sib200"
HEADER = "index_id\tcategory\ttext\n"
GOOD = HEADER + '7\ttravel\tPack light.\n8\thealth\t"She said ""drink water""."\n'


def original(root, code="eng_Latn", **files):
    folder = root / "data" / "annotated" / code
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text(files.get(split, GOOD), encoding="utf-8")
    return root


@pytest.mark.parametrize("language", ["en", "eng_Latn"])
@pytest.mark.parametrize("below", ["", "data/annotated"])
def test_original_layout(tmp_path, language, below):
    corpus = read_sib200(original(tmp_path) / below, language)
    assert corpus.label_names == tuple(sorted(LABELS))
    assert corpus.language == language
    for split in ("train", "dev", "test"):
        assert corpus.splits[split].texts == ("Pack light.", 'She said "drink water".')
        assert np.array_equal(corpus.splits[split].labels, [6, 2])  # pyright: ignore


def test_any_folder_is_a_language(tmp_path):
    assert len(read_sib200(original(tmp_path, "hrv_Latn"), "hrv_Latn").splits["dev"]) == 2


@pytest.mark.parametrize("language", ["yo", "yor_Latn", "yoruba"])
def test_layout_of_mldoc(tmp_path, language):
    (tmp_path / "cls").mkdir()
    for split in ("train.1000", "dev", "test"):
        (tmp_path / "cls" / f"yoruba.{split}").write_text("sports\tx\nhealth\ty\n")
    for folder in (tmp_path, tmp_path / "cls"):
        corpus = load_corpus(SimpleNamespace(source="sib200", dir=str(folder), language=language))
        assert corpus.counts("test") == [0, 0, 1, 0, 0, 1, 0]
        assert corpus.language == language


@pytest.mark.parametrize(
    ("dev", "match"),
    [
        (HEADER + "7\ttravel\tx\n8\tmagic\ty\n", r"dev\.tsv:3: unknown label 'magic'"),
        (HEADER + "7\ttravel\t \n", r"dev\.tsv:2: empty document"),
        (HEADER + "7\ttravel\n", r"dev\.tsv:2: 2 fields"),
        (HEADER + '7\ttravel\t"x" y\n', r"dev\.tsv:2: not a valid table line"),
        ("id\tcategory\ttext\n7\ttravel\tx\n", r"dev\.tsv:1: the header is id, category, text"),
        (HEADER, r"dev\.tsv: empty split"),
    ],
)
def test_bad_tables(tmp_path, dev, match):
    with pytest.raises(UserError, match=match):
        read_sib200(original(tmp_path, dev=dev), "en")


def test_what_is_not_there(tmp_path):
    original(tmp_path)
    (tmp_path / "data" / "annotated" / "eng_Latn" / "test.tsv").unlink()
    with pytest.raises(UserError, match=r"test\.tsv: no such file"):
        read_sib200(tmp_path, "en")
    with pytest.raises(UserError, match="no language 'qu'.*quechua.train.1000.*quy_Latn"):
        read_sib200(tmp_path, "qu")
    with pytest.raises(UserError, match="github.com/dadelani/sib-200"):
        load_corpus(SimpleNamespace(source="sib200", dir="", language="en"))


@pytest.mark.parametrize("language", ["en", "de", "fr", "ru", "zh", "yo", "qu", "am"])
def test_whole_corpus(language):
    if not SHARED.is_dir():
        pytest.skip("../shared is absent")
    corpus = read_sib200(SHARED, language)
    assert [len(corpus.splits[split]) for split in ("train", "dev", "test")] == [701, 99, 204]
    assert corpus.counts("train") == [65, 58, 77, 102, 176, 85, 138]

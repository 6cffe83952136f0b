from pathlib import Path

import ml_collections
import pytest

from jaxsdgm.data.sources import load_corpus, load_pretraining
from jaxsdgm.errors import UserError

DEBIAN = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "debian"


def _config(**fields):
    return ml_collections.ConfigDict({"dir": "", "language": "en", "unlabelled": "", **fields})


@pytest.fixture
def debian():
    if not DEBIAN.is_dir():
        pytest.skip("../shared is absent")
    return str(DEBIAN)


def test_debian_corpus_with_and_without_more_text(debian, tmp_path):
    corpus = load_corpus(_config(source="debian", dir=debian))
    assert corpus.label_names == ("DEVEL", "GAMES", "MEDIA", "NET")
    assert set(corpus.splits) == {"train", "dev", "test"}
    with_rest = load_corpus(_config(source="debian", dir=debian, unlabelled="rest"))
    assert len(with_rest.splits["unlabelled"]) == 5576
    (tmp_path / "more.txt").write_text("one\ntwo\n")
    more = load_corpus(_config(source="debian", dir=debian, unlabelled=str(tmp_path / "more.txt")))
    assert more.splits["unlabelled"].texts == ("one", "two")


def test_debian_pretraining_pairs(debian, tmp_path):
    config = _config(source="debian", dir=debian, languages=("en", "de"), normaliser="words")
    texts = load_pretraining(config, tmp_path)
    assert {c: (t.n_train, t.n_dev) for c, t in texts.items()} == dict.fromkeys(
        ("en", "de"), (34725, 3858)
    )


def test_mldoc(tmp_path):
    for split in ("train.1000", "dev", "test"):
        (tmp_path / f"english.{split}").write_text("CCAT\tx\nMCAT\ty\n")
    corpus = load_corpus(_config(source="mldoc", dir=str(tmp_path)))
    assert corpus.counts("train") == [1, 0, 0, 1]
    assert len(corpus.warnings) == 3


def test_europarl(tmp_path):
    for language in ("de", "en"):
        (tmp_path / f"europarl-v7.de-en.{language}").write_text("a b\n" * 10)
    texts = load_pretraining(
        _config(source="europarl", dir=str(tmp_path), languages=["en", "de"]), tmp_path / "out"
    )
    assert texts["de"].n_train == 9


def test_own_files(tmp_path):
    (tmp_path / "a.tsv").write_text("kind\tbody\n" + "p\tx\nq\ty\n" * 20)
    (tmp_path / "u.txt").write_text("z\n")
    config = _config(
        source="files", dir=str(tmp_path), train="a.tsv", dev="", test="a.tsv",
        unlabelled="u.txt", text="body", label="kind",
    )  # fmt: skip
    corpus = load_corpus(config)
    assert corpus.counts("test") == [20, 20]
    assert corpus.counts("dev") == [2, 2]
    assert corpus.splits["unlabelled"].texts == ("z",)
    with pytest.raises(UserError, match="config.data.train is empty"):
        load_corpus(_config(source="files", train=""))


def test_generated(tmp_path):
    assert load_corpus(_config(source="generated")).counts("train") == [100] * 4
    rest = load_corpus(_config(source="generated", unlabelled="rest"))
    assert len(rest.splits["unlabelled"]) == 2000
    config = _config(source="generated", languages=("en", "de"), sentences=100)
    texts = load_pretraining(config, tmp_path)
    assert texts["en"].n_train == 90
    assert load_pretraining(config, tmp_path) == texts


@pytest.mark.parametrize(
    ("source", "remedy"),
    [("mldoc", "generate_documents.py"), ("debian", "python -m jaxsdgm.data.debian --out DIR")],
)
def test_absent_corpora_say_how_to_get_them(tmp_path, source, remedy):
    with pytest.raises(UserError, match=f"config.data.dir is empty; .*{remedy}"):
        load_corpus(_config(source=source))
    with pytest.raises(UserError, match=f"none: no such directory .*{remedy}"):
        load_corpus(_config(source=source, dir=str(tmp_path / "none")))


def test_absent_pretraining_text_and_unknown_sources(tmp_path):
    config = _config(source="europarl", languages=("en", "de"))
    with pytest.raises(UserError, match="Europarl v7"):
        load_pretraining(config, tmp_path)
    with pytest.raises(UserError, match="unknown source 'wiki'; choose one of mldoc, debian"):
        load_corpus(_config(source="wiki"))
    with pytest.raises(UserError, match="choose one of europarl, debian, generated"):
        load_pretraining(_config(source="mldoc", languages=("en", "de")), tmp_path)

"""fastText's vectors by gensim, where that is installed."""

import importlib.util

import pytest

from jaxsdgm import train_vectors
from jaxsdgm.data import generated
from jaxsdgm.weights.word_vectors import read_vectors


def run(folder, *options):
    paths = (f"--input={folder / 'text.txt'}", f"--out={folder / 'out.vec'}")
    return train_vectors.main([*paths, "--size=8", "--buckets=100", "--epochs=1", *options])


def test_vectors_of_frequent_words(tmp_path):
    models = pytest.importorskip("gensim.models")
    generated.write_pretraining(tmp_path, ("en", "de"), sentences=300)
    (tmp_path / "generated.en-de.en").rename(tmp_path / "text.txt")
    assert run(tmp_path) == 0
    first = read_vectors(tmp_path / "out.vec", width=8)
    words = (tmp_path / "text.txt").read_text().split()
    assert set(first.words) == {word for word in words if words.count(word) >= 5}
    assert words.count(first.words[0]) == max(map(words.count, set(words)))
    theirs = models.KeyedVectors.load_word2vec_format(str(tmp_path / "out.vec"))
    assert tuple(theirs.index_to_key) == first.words
    assert (theirs.vectors == first.vectors).all()
    theirs.save_word2vec_format(str(tmp_path / "theirs.vec"))
    assert read_vectors(tmp_path / "theirs.vec").words == first.words
    (tmp_path / "out.vec").unlink()
    assert run(tmp_path) == 0
    assert (read_vectors(tmp_path / "out.vec").vectors == first.vectors).all()


def test_too_little_text(tmp_path, capsys):
    pytest.importorskip("gensim")
    (tmp_path / "text.txt").write_text("a few words\n")
    assert run(tmp_path) == 2
    assert "text.txt: no word comes five times" in capsys.readouterr().err


def test_without_gensim(tmp_path, capsys):
    if importlib.util.find_spec("gensim"):
        pytest.skip("gensim is installed")
    (tmp_path / "text.txt").write_text("a few words\n")
    assert run(tmp_path) == 2
    assert capsys.readouterr().err == (
        "error: train_vectors needs gensim: pip install 'jaxsdgm[vectors]'\n"
    )

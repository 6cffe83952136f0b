"""The command that aligns two files of word vectors."""

import numpy as np
import pytest

from jaxsdgm import align
from jaxsdgm.weights.word_vectors import read_vectors, write_vectors
from tests.weights.test_alignment import N, accuracy, spaces

SAME = 80  # words spelled alike in both languages


@pytest.fixture
def files(tmp_path):
    """Vectors of two languages; word i of the one means word i of the other."""
    source, target, _ = spaces(0.3)
    names = lambda language: [f"{i}" if i < SAME else f"{language}{i}" for i in range(N)]
    write_vectors(tmp_path / "de.vec", names("de"), 3 * source)
    write_vectors(tmp_path / "en.vec", names("en"), target)
    return tmp_path


def run(folder, *options):
    paths = [str(folder / name) for name in ("de.vec", "en.vec")]
    return align.main([*paths, f"--out={folder / 'out.vec'}", *options])


@pytest.mark.parametrize("dictionary", [False, True])
def test_from_identical_words_or_a_dictionary(files, capsys, dictionary):
    lines = "".join(f"de{i}\ten{i}\n" for i in range(100, 160)) + "unknown en1\n"
    (files / "pairs.txt").write_text(lines)
    assert run(files, *([f"--dictionary={files / 'pairs.txt'}"] if dictionary else [])) == 0
    told = capsys.readouterr().out
    assert ("60 of 61 pairs" in told) == dictionary
    assert f"round 0: {60 if dictionary else SAME} pairs, criterion 0." in told
    assert "round 5: " in told
    before, target = read_vectors(files / "de.vec"), read_vectors(files / "en.vec")
    out = read_vectors(files / "out.vec")
    assert out.words == before.words
    np.testing.assert_allclose(np.linalg.norm(out.vectors, axis=1), 1, rtol=1e-5)
    assert accuracy(before.vectors, target.vectors) < 0.05
    assert accuracy(out.vectors, target.vectors) > 0.9


def test_bad_input(files, capsys):
    def fails(match, *options):
        assert run(files, *options) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert match in error

    pairs = files / "pairs.txt"
    pairs.write_text("de1 en1\nde2\n")
    fails("pairs.txt:2: 1 words", f"--dictionary={pairs}")
    pairs.write_text("en100 de100\n")
    fails("of 1 lines none has a vector", f"--dictionary={pairs}")
    fails("none.txt: no such file", f"--dictionary={files / 'none.txt'}")
    write_vectors(files / "de.vec", ["eins", "zwei"], np.eye(2, 20))
    fails("no word in common")
    write_vectors(files / "de.vec", ["1", "2"], np.eye(2))
    fails("vectors of 2 numbers, those of")
    (files / "out.vec").touch()
    fails("there is something")

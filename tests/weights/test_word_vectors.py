"""Word vectors of both text forms, the way back, and every kind of bad line."""

import gzip

import numpy as np
import pytest

from jaxsdgm.errors import UserError
from jaxsdgm.weights.word_vectors import check_new, name_of, read_vectors, write_vectors

LINES = "the 0.5 -1 2e-1\nof 1 2 3\nzürich 4 5 6\n"
VALUES = [[0.5, -1, 0.2], [1, 2, 3], [4, 5, 6]]


def write(folder, content, name="en.vec"):
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder / name


def fails(path, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        read_vectors(path, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("header", ["", "3 3\n"])
@pytest.mark.parametrize("name", ["en.vec", "en.txt", "en.vec.gz", "en.txt.gz"])
def test_both_forms_plain_and_compressed(tmp_path, header, name):
    path = write(tmp_path, header + LINES, name)
    found = read_vectors(path, width=3)
    assert found.words == ("the", "of", "zürich")
    assert found.vectors.dtype == np.float32
    np.testing.assert_array_equal(found.vectors, np.array(VALUES, np.float32))
    assert name_of(path) == "en"


def test_wanted_words_come_in_the_order_of_the_file(tmp_path):
    found = read_vectors(write(tmp_path, LINES), wanted={"zürich", "the", "absent"})
    assert found.words == ("the", "zürich")
    np.testing.assert_allclose(found.vectors, [VALUES[0], VALUES[2]])


def test_the_first_of_equal_words_counts(tmp_path):
    found = read_vectors(write(tmp_path, "4 3\n" + LINES + "of 7 8 9\n"))
    assert found.words == ("the", "of", "zürich")
    np.testing.assert_array_equal(found.vectors[1], [1, 2, 3])


def test_limit_reads_the_first_lines_only(tmp_path):
    path = write(tmp_path, "3 3\n" + LINES + "bad line\n")
    assert read_vectors(path, limit=3).words == ("the", "of", "zürich")
    assert read_vectors(path, limit=1).words == ("the",)


def test_words_with_spaces_and_words_like_numbers(tmp_path):
    lines = ". . . 0.1 0.2\nmail a@b.org 1 2\n0 3 4\nnew\u00a0york 5 6\nof 7 8 \r\n"
    for content in (lines, "5 2\n" + lines):
        found = read_vectors(write(tmp_path, "\ufeff" + content))
        assert found.words == (". . .", "mail a@b.org", "0", "new\u00a0york", "of")
        np.testing.assert_allclose(found.vectors[[0, 2, 4]], [[0.1, 0.2], [3, 4], [7, 8]])


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (LINES + "short 1 2\n", r"en\.vec:4: 2 numbers instead of 3"),
        (LINES + "long 1 2 3 4\n", r"en\.vec:4: 4 numbers instead of 3"),
        (LINES + "\n", r"en\.vec:4: 0 numbers instead of 3"),
        ("3 4\n" + LINES, r"en\.vec:2: 3 numbers instead of 4"),
        ("5 3\n" + LINES, r"en\.vec: line 1 says 5 vectors, but there are 3"),
        ("2 3\n" + LINES, r"en\.vec: line 1 says 2 vectors, but there are 3"),
        ("0 3\n", r"en\.vec: no vector in 0 lines"),
        ("3 0\n", r"en\.vec:1: expected a word and its numbers"),
        (LINES + "word 1 x 3\n", r"en\.vec:4: 'x' is not a number"),
        (LINES + "word 1  3\n", r"en\.vec:4: '' is not a number"),
        (LINES + "word 1 nan 3\n", r"en\.vec:4: a number that is not finite"),
        (LINES + "word 1 1e39 3\n", r"en\.vec:4: a number that is not finite"),
        ("", r"en\.vec: empty"),
        ("only text here\n", r"en\.vec:1: expected a word and its numbers"),
        (LINES.encode("latin1"), r"en\.vec:3: invalid UTF-8.*iconv"),
        ("größe 1 2\n".encode("latin1"), r"en\.vec:1: invalid UTF-8"),
    ],
)
def test_bad_files(tmp_path, content, match):
    fails(write(tmp_path, content), match)


def test_numbers_of_other_words_are_counted_only(tmp_path):
    path = write(tmp_path, LINES + "word 1 x 3\n")
    assert read_vectors(path, wanted={"of"}).words == ("of",)
    fails(write(tmp_path, LINES + "word 1 3\n"), r":4: 2 numbers", wanted={"of"})


def test_what_does_not_fit_the_run(tmp_path):
    path = write(tmp_path, LINES)
    fails(path, r"vectors of 3 numbers where 300 are needed.*config\.model\.embedding=3", width=300)
    fails(path, r"no vector of the 1 words of the vocabulary in 3 lines", wanted={"Haus"})


def test_files_that_cannot_be_read(tmp_path):
    fails(tmp_path / "none.vec", r"none\.vec: no such file")
    fails(write(tmp_path, LINES, "en.npy"), r"en\.npy: not the name of word vectors")
    packed = write(tmp_path, LINES * 100, "en.vec.gz")
    packed.write_bytes(packed.read_bytes()[:-20])
    fails(packed, r"en\.vec\.gz: damaged or cut short")
    fails(write(tmp_path, LINES).rename(tmp_path / "plain.vec.gz"), "damaged")


def binary(vectors=VALUES, words=("the", "of", "zürich"), end=b"\n"):
    rows = zip(words, np.array(vectors, "<f4"), strict=True)
    return b"3 3\n" + b"".join(w.encode() + b" " + x.tobytes() + end for w, x in rows)


@pytest.mark.parametrize("name", ["en.bin", "en.bin.gz"])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_binary_form_of_word2vec(tmp_path, name, end):
    path = write(tmp_path, binary(end=end), name)
    found = read_vectors(path, width=3)
    assert found.words == ("the", "of", "zürich")
    np.testing.assert_allclose(found.vectors, VALUES)
    assert read_vectors(path, wanted={"of"}).words == ("of",)
    assert read_vectors(path, limit=2).words == ("the", "of")
    assert name_of(path) == "en"


def test_binary_files_that_cannot_be_read(tmp_path):
    fails(write(tmp_path, LINES, "cc.en.300.bin"), r"does not begin as word2vec's .*fastText model")
    fails(write(tmp_path, binary()[:-8], "en.bin"), r"en\.bin, vector 3: cut short")
    fails(
        write(tmp_path, binary([[1, 2, np.inf]] * 3), "inf.bin"), "vector 1: a number that is not"
    )
    fails(tmp_path / "none.bin", r"none\.bin: no such file")
    with pytest.raises(UserError, match="which is only read"):
        check_new(tmp_path / "new.bin")


@pytest.mark.parametrize("name", ["out.vec", "out.vec.gz"])
def test_what_is_written_is_read_again(tmp_path, name):
    vectors = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    words = ("a", "new york", "3", "zürich")
    write_vectors(tmp_path / name, words, vectors)
    found = read_vectors(tmp_path / name)
    assert found.words == words
    np.testing.assert_array_equal(found.vectors, vectors)
    if name == "out.vec":
        assert (tmp_path / name).read_text().startswith("4 5\na ")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_where_nothing_is_written(tmp_path):
    check_new(tmp_path / "new.vec")
    for path, match in (
        (write(tmp_path, LINES), "there is something"),
        (tmp_path / "none" / "en.vec", "no such directory"),
        (tmp_path / "en.npz", "not the name"),
    ):
        with pytest.raises(UserError, match=match):
            check_new(path)

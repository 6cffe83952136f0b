import gzip
import lzma

import numpy as np
import pytest

from jaxsdgm.data.documents import (
    Corpus,
    Documents,
    find,
    open_text,
    read_documents,
    read_labelled_lines,
    read_lines,
    write_text,
)
from jaxsdgm.errors import UserError

NAMES = ("A", "B")


def _write(tmp_path, content: bytes, name="en.train"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_labels_texts_and_order(tmp_path):
    path = _write(tmp_path, "B\tzwei\tTabs\nA\t  Äpfel \r\nBee\tx\u2028y\n".encode())
    documents = read_labelled_lines(path, NAMES, aliases={"Bee": "B"})
    assert documents.texts == ("zwei\tTabs", "Äpfel", "x\u2028y")
    assert documents.labels is not None
    assert documents.labels.dtype == np.int32
    assert documents.labels.tolist() == [1, 0, 1]
    assert len(documents) == 3


@pytest.mark.parametrize(("suffix", "compress"), [(".xz", lzma.compress), (".gz", gzip.compress)])
def test_compressed_files_are_found_and_read(tmp_path, suffix, compress):
    packed = _write(tmp_path, compress("A\tgrün\n".encode()), "en.train" + suffix)
    assert find(tmp_path / "en.train") == packed
    assert read_labelled_lines(tmp_path / "en.train", NAMES).texts == ("grün",)
    with open_text(packed) as stream:
        assert stream.read() == "A\tgrün\n"


@pytest.mark.parametrize("wrapped", [b"b'caf\\xc3\\xa9 \"x\"'", b'b"caf\\xc3\\xa9 \\"x\\""'])
def test_bytes_literal_becomes_text(tmp_path, wrapped):
    path = _write(tmp_path, b"A\t" + wrapped + b"\nA\tb's\n")
    assert read_labelled_lines(path, NAMES).texts == ('café "x"', "b's")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A\tx\nA y\n", r":2: no tab"),
        (b"A\tx\nC\ty\n", r":2: unknown label 'C'; known labels: A, B"),
        (b"A\tx\nB\t\xe4\n", r":2: invalid UTF-8"),
        (b"A\tx\nB\t  \n", r":2: empty document"),
        (b"A\tx\nB\tb''\n", r":2: empty document"),
        (b"A\tb'\\xff'\n", r":1: .*bytes literal"),
        (b"A\tb'a'b'\n", r":1: .*bytes literal"),
        (b"", r"empty split"),
    ],
)
def test_bad_lines_are_named(tmp_path, content, message):
    path = _write(tmp_path, content)
    with pytest.raises(UserError, match=rf"en\.train.*{message}|en\.train{message}") as caught:
        read_labelled_lines(path, NAMES)
    assert "\n" not in str(caught.value)


def test_invalid_utf8_far_down_names_its_line(tmp_path):
    path = _write(tmp_path, b"A\tfine\n" * 5000 + b"A\t\xff\n" + b"A\tfine\n" * 5000)
    with pytest.raises(UserError, match=r":5001: invalid UTF-8"):
        read_labelled_lines(path, NAMES)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such file"):
        read_labelled_lines(tmp_path / "nowhere", NAMES)
    with pytest.raises(UserError, match="cannot be opened"):
        list(read_lines(tmp_path))
    whole = lzma.compress(b"A\tx\n" * 1000)
    for name, content in {"cut.xz": whole[:-20], "not.xz": b"plain", "not.gz": b"plain"}.items():
        with pytest.raises(UserError, match="damaged or cut short"):
            list(read_lines(_write(tmp_path, content, name)))


def test_byte_order_mark_is_no_part_of_a_label(tmp_path):
    assert len(read_labelled_lines(_write(tmp_path, b"\xef\xbb\xbfA\tx\n"), NAMES)) == 1


def test_unlabelled_lines(tmp_path):
    documents = read_documents(_write(tmp_path, b"one\n two \n"))
    assert documents == Documents(("one", "two"), None)
    with pytest.raises(UserError, match=":2: empty document"):
        read_documents(_write(tmp_path, b"one\n\ntwo\n"))
    with pytest.raises(UserError, match="empty split"):
        read_documents(_write(tmp_path, b""))


def test_corpus_counts_every_class():
    labelled, bare = Documents(("x", "y"), np.array([2, 2], np.int32)), Documents(("z",))
    corpus = Corpus("en", ("A", "B", "C"), {"train": labelled, "unlabelled": bare}, "here")
    assert corpus.counts("train") == [0, 0, 2]
    with pytest.raises(UserError, match="no labels"):
        corpus.counts("unlabelled")


def test_write_text_replaces_as_a_whole(tmp_path):
    write_text(tmp_path / "a", "old\n")
    write_text(tmp_path / "a", "néw\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == "néw\n".encode()

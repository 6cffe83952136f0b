"""Word vectors as text, with a first line `n d` (word2vec, fastText) or without (GloVe), or binary.

word2vec's binary form is that first line and then, for each word, the word, a space, d float32 and
perhaps an end of line. fastText's own .bin is a model, not that.
"""

import gzip
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from jaxsdgm.errors import UserError

SUFFIXES = (".vec", ".txt", ".vec.gz", ".txt.gz")
BINARY = (".bin", ".bin.gz")


@dataclass(frozen=True)
class WordVectors:
    """Words in the order of their file, which is by frequency, and their vectors `[n, d]`."""

    words: tuple[str, ...]
    vectors: np.ndarray  # float32


def name_of(path: str | Path) -> str:
    """The name of a file of vectors without folder and suffixes."""
    name = Path(path).name.removesuffix(".gz").removesuffix(".bin")
    return name.removesuffix(".vec").removesuffix(".txt")


def read_vectors(
    path: str | Path, *, wanted: Collection[str] | None = None, width: int = 0, limit: int = 0
) -> WordVectors:
    """Reads words and their d numbers, and keeps what is wanted.

    Of text a line is a word and its numbers, parted by single spaces; a word may have spaces in it:
    the last d fields are its vector. Of a word that comes twice the first vector counts. The
    numbers of words that are not wanted are passed over.

    Args:
      path: a .vec, .txt or .bin file, or a .gz of one.
      wanted: words to keep, best a set or a dict; None: all.
      width: the d that is needed; 0: whatever the file has.
      limit: how many vectors are read; 0: all.

    Raises:
      UserError: a bad line, a first line that does not fit the others, another width, or no word
        that is wanted.
    """
    path = Path(path)
    d, promised, entries = (_binary if path.name.endswith(BINARY) else _text)(path)
    if width and d != width:
        raise UserError(
            f"{path}: vectors of {d} numbers where {width} are needed; choose a file of that "
            f"width, or set config.model.embedding={d}"
        )
    rows: dict[str, np.ndarray] = {}
    read = 0
    for word, vector in islice(entries, limit or None):
        read += 1
        if (wanted is None or word in wanted) and word not in rows:
            rows[word] = vector()
    if promised not in (None, read) and not 0 < limit == read:
        raise UserError(
            f"{path}: line 1 says {promised} vectors, but there are {read}; the file is cut "
            "short or line 1 is wrong: get it again or correct the line"
        )
    if not rows:
        whose = "" if wanted is None else f"of the {len(wanted)} words of the vocabulary "
        raise UserError(
            f"{path}: no vector {whose}in {read} lines; choose vectors of the same language, made "
            "of text that was normalised in the same way (config.data.normaliser)"
        )
    return WordVectors(tuple(rows), np.stack(list(rows.values())))


#: a word, and what makes its vector
Entries = Iterator[tuple[str, Callable[[], np.ndarray]]]


def _text(path: Path) -> tuple[int, int | None, Entries]:
    """Width, number of vectors by the first line if it has it, and the words of a text file."""
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise UserError(f"{path}: empty; expected lines of a word and its vector")
    header = _header(first)
    d = header[1] if header else _width(_decode(first, f"{path}:1"))
    if not d:
        raise UserError(f"{path}:1: expected a word and its numbers, parted by single spaces")

    def entries() -> Entries:
        start = 2 if header else 1
        for number, line in enumerate(lines if header else chain([first], lines), start):
            place = f"{path}:{number}"
            word, numbers = _split(line, d, place)
            yield word, partial(_vector, numbers, place)

    return d, header[0] if header else None, entries()


def _binary(path: Path) -> tuple[int, int | None, Entries]:
    """As `_text`, of word2vec's binary form."""
    opener = gzip.open if path.suffix == ".gz" else open
    with _readable(path), opener(path, "rb") as stream:
        first = stream.readline(100)
    header = _header(first.rstrip(b"\r\n"))
    if not header or not header[1]:
        raise UserError(
            f"{path}: does not begin as word2vec's binary form does; a fastText model is not read, "
            "the .vec file beside it is"
        )
    n, d = header

    def entries() -> Entries:
        with _readable(path), opener(path, "rb") as stream:
            stream.read(len(first))
            for number in range(1, n + 1):
                place, word = f"{path}, vector {number}", b""
                while (letter := stream.read(1)) not in (b" ", b""):
                    word += letter
                raw = stream.read(4 * d)
                if len(raw) < 4 * d:
                    raise UserError(f"{place}: cut short; get the file again")
                yield _decode(word.lstrip(b"\n"), place), partial(_finite, raw, place)

    return d, n, entries()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Says in one line what keeps a file from being read."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the directory and the name") from None
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path}: damaged or cut short ({error}); get it again") from None


def _finite(raw: bytes, place: str) -> np.ndarray:
    row = np.frombuffer(raw, "<f4").astype(np.float32)
    if not np.isfinite(row).all():
        raise UserError(f"{place}: a number that is not finite; get the file again")
    return row


def check_new(path: Path) -> None:
    """Raises UserError unless a file of vectors can be made there, before time is spent on them."""
    _opener(path)
    if path.exists():
        raise UserError(f"{path}: there is something; name a new file")
    if not path.parent.is_dir():
        raise UserError(f"{path}: no such directory {path.parent}; make it first")


def write_vectors(path: str | Path, words: Sequence[str], vectors: np.ndarray) -> None:
    """Writes a first line `n d` and a word a line, so that reading gives the same float32 numbers.

    The whole file is written or none of it.
    """
    path = Path(path)
    opener = _opener(path)
    unfinished = path.with_name(path.name + ".partial")
    with opener(unfinished, "wb") as stream:
        stream.write(f"{len(words)} {vectors.shape[1]}\n".encode())
        for word, row in zip(words, np.asarray(vectors, np.float32), strict=True):
            numbers = " ".join(f"{x:.9g}" for x in row.tolist())
            stream.write(f"{word} {numbers}\n".encode())
    os.replace(unfinished, path)


def _opener(path: Path) -> Any:
    if not path.name.endswith(SUFFIXES):
        raise UserError(
            f"{path}: not the name of word vectors, which ends in {', '.join(SUFFIXES)}, or of "
            f"word2vec's binary form, {', '.join(BINARY)}, which is only read"
        )
    return gzip.open if path.suffix == ".gz" else open


def _lines(path: Path) -> Iterator[bytes]:
    """Lines in bytes, of which millions are passed over; fastText's end in a space."""
    with _readable(path), _opener(path)(path, "rb") as stream:
        for number, line in enumerate(stream):
            line = line if number else line.removeprefix(b"\xef\xbb\xbf")
            yield line.rstrip(b" \r\n")


def _header(line: bytes) -> tuple[int, int] | None:
    """How many vectors there are, and their width, if the first line is of that form."""
    fields = line.split(b" ")
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def _width(line: str) -> int:
    """The numbers at the end of a line; the first field is a word even if it looks like one."""
    count, fields = 0, line.split(" ")
    while count < len(fields) - 1 and _is_number(fields[-1 - count]):
        count += 1
    return count


def _split(line: bytes, d: int, place: str) -> tuple[str, bytes]:
    """The word of a line and the rest of it."""
    spaces = line.count(b" ")
    word, _, numbers = line.partition(b" ")
    if spaces > d:
        word = line.rsplit(b" ", d)[0]
        numbers = line[len(word) + 1 :]
    word = _decode(word, place)
    # a word of which all but the first part are numbers is a vector that is too long
    if spaces < d or (spaces > d and all(map(_is_number, word.split(" ")[1:]))):
        raise UserError(f"{place}: {spaces} numbers instead of {d}; correct or remove the line")
    return word, numbers


def _decode(text: bytes, place: str) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(
            f"{place}: invalid UTF-8; convert the file, for example with iconv -f latin1 -t utf-8"
        ) from None


def _vector(numbers: bytes, place: str) -> np.ndarray:
    fields = numbers.decode("ascii", errors="replace").split(" ")
    try:
        values = [float(field) for field in fields]
    except ValueError:
        bad = next(field for field in fields if not _is_number(field))
        raise UserError(f"{place}: {bad!r} is not a number; correct or remove the line") from None
    with np.errstate(over="ignore"):
        row = np.array(values).astype(np.float32)
    if not np.isfinite(row).all():
        raise UserError(f"{place}: a number that is not finite; correct or remove the line")
    return row


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True

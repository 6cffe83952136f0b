"""Your own documents: TSV, CSV, JSON Lines or Parquet with a text and a label column."""

import csv
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxsdgm.data.documents import Corpus, Documents, find, read_documents, read_lines
from jaxsdgm.data.subsets import proportional_counts
from jaxsdgm.errors import UserError

Row = tuple[str, Mapping]  # ("file:line", the row's fields)


def read_files(
    *,
    train: str | Path,
    dev: str | Path | None = None,
    test: str | Path | None = None,
    unlabelled: str | Path | None = None,
    text: str = "text",
    label: str = "label",
    language: str = "en",
    label_names: Sequence[str] | None = None,
    dev_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Corpus:
    """Reads tables whose kind their suffix tells: .tsv, .csv, .jsonl or .parquet.

    Args:
      train, dev, test: tables with a text and a label column (TSV and CSV: named in line 1).
        A missing dev or test is split off train, class by class; `Corpus.warnings` says so.
      unlabelled: a table with a text column, or any other file with one document a line.
      text, label: names of the columns.
      language: code for the tokenizer.
      label_names: labels in the order of their numbers; without them, train's in sorted order.
      dev_fraction, test_fraction: parts of train, where they are split off; 0: they are not.
      seed: of the splitting.

    Raises:
      UserError: a file or column is missing, or a row is bad; names file and line.
    """
    given = {"train": train, "dev": dev, "test": test}
    tables = {split: _labelled(find(path), text, label) for split, path in given.items() if path}
    names = tuple(label_names or sorted(set(tables["train"][1])))
    splits = {split: _numbered(*table, names) for split, table in tables.items()}
    warnings = []
    for split, fraction in (("test", test_fraction), ("dev", dev_fraction)):
        if split not in splits and fraction:
            whole = len(splits["train"])
            splits["train"], splits[split] = _split_off(splits["train"], fraction, seed)
            warnings.append(
                f"{train}: no {split} file given; {len(splits[split])} of {whole} training "
                f"documents are used as {split} (seed {seed})"
            )
    if unlabelled:
        splits["unlabelled"] = read_texts(unlabelled, text=text)
    return Corpus(language, names, splits, f"own files, {find(train)}", tuple(warnings))


def read_texts(path: str | Path, *, text: str = "text") -> Documents:
    """Unlabelled documents of a table's text column, or the lines of any other file."""
    path = find(path)
    if _kind(path) not in READERS:
        return read_documents(path)
    texts = tuple(_field(fields, text, place) for place, fields in read_rows(path))
    if not texts:
        raise UserError(f"{path}: empty split; expected at least one document")
    return Documents(texts)


def read_rows(path: str | Path) -> Iterator[Row]:
    """Yields every row of a table as (place, fields), the place being `file:line`."""
    path = find(path)
    if _kind(path) not in READERS:
        raise UserError(f"{path}: unknown kind of file; expected one of {', '.join(READERS)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the directory and the name")
    return READERS[_kind(path)](path)


def _kind(path: Path) -> str:
    """The suffix without that of a compression."""
    return Path(path.name.removesuffix(".xz").removesuffix(".gz")).suffix.lower()


def read_delimited(path: Path, delimiter: str, *, quoted: bool) -> Iterator[Row]:
    """Yields the rows after the header; with `quoted`, fields may stand in quotation marks."""
    csv.field_size_limit(2**31 - 1)  # The default calls a text of over 131 072 characters an error.
    lines = (line + "\n" for line in read_lines(path))
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    try:
        header = next(reader, [])
        for fields in reader:
            place = f"{path}:{reader.line_num}"
            if len(fields) != len(header):
                raise UserError(
                    f"{place}: {len(fields)} fields where the header has {len(header)}; "
                    "check the delimiters in this line"
                )
            yield place, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not a valid table line ({error})") from None


def _tsv(path: Path) -> Iterator[Row]:
    return read_delimited(path, "\t", quoted=False)  # In TSV a quotation mark is only text.


def _csv(path: Path) -> Iterator[Row]:
    return read_delimited(path, ",", quoted=True)


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(read_lines(path), 1):
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: not valid JSON ({error})") from None
        if not isinstance(fields, dict):
            raise UserError(f"{path}:{number}: expected one JSON object a line, with its columns")
        yield f"{path}:{number}", fields


def _parquet(path: Path) -> Iterator[Row]:
    try:
        rows = (row for batch in pq.ParquetFile(path).iter_batches() for row in batch.to_pylist())
        for number, fields in enumerate(rows, 1):
            yield f"{path}:{number}", fields
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".tsv": _tsv,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def _field(fields: Mapping, column: str, place: str) -> str:
    """One column of a row as stripped text; a missing or empty one raises UserError."""
    if column not in fields:
        known = ", ".join(map(str, fields)) or "none"
        raise UserError(f"{place}: no column {column!r}; the columns are: {known}")
    value = "" if fields[column] is None else str(fields[column]).strip()
    if not value:
        raise UserError(f"{place}: column {column!r} is empty; fill it or remove the line")
    return value


def _labelled(path: Path, text: str, label: str) -> tuple[list[str], list[str], list[str]]:
    """Texts, labels and places of all rows."""
    rows = [
        (_field(fields, text, place), _field(fields, label, place), place)
        for place, fields in read_rows(path)
    ]
    if not rows:
        raise UserError(f"{path}: empty split; expected rows with {text!r} and {label!r}")
    texts, labels, places = map(list, zip(*rows, strict=True))
    return texts, labels, places


def _numbered(
    texts: list[str], labels: list[str], places: list[str], names: tuple[str, ...]
) -> Documents:
    numbers = {name: number for number, name in enumerate(names)}
    for label, place in zip(labels, places, strict=True):
        if label not in numbers:
            raise UserError(f"{place}: unknown label {label!r}; known labels: {', '.join(names)}")
    return Documents(tuple(texts), np.array([numbers[label] for label in labels], np.int32))


def _split_off(documents: Documents, fraction: float, seed: int) -> tuple[Documents, Documents]:
    """What stays and what is taken, in file order; classes keep their proportions."""
    labels = documents.labels
    assert labels is not None
    size = max(1, round(fraction * len(labels)))
    counts = proportional_counts(np.bincount(labels).tolist(), size)
    rng, taken = random.Random(seed), np.zeros(len(labels), bool)
    for number, count in enumerate(counts):
        taken[rng.sample(np.flatnonzero(labels == number).tolist(), count)] = True
    if taken.all():
        raise UserError(
            f"{len(labels)} training documents are too few to split; "
            "give dev and test files of their own"
        )
    return _rows(documents, ~taken), _rows(documents, taken)


def _rows(documents: Documents, keep: np.ndarray) -> Documents:
    assert documents.labels is not None
    texts = tuple(documents.texts[i] for i in np.flatnonzero(keep))
    return Documents(texts, documents.labels[keep])

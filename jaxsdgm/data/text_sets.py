"""AG News, DBPedia, IMDB and Yelp, from the files of their releases or through TFDS.

config.data.dir names the folder of the files; where it is empty TensorFlow Datasets finds the set,
prepared once in its own folder. All come as the pool and the unlabelled texts of the SSVAE paper
(`jaxsdgm.data.pools`) and their own test set.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxsdgm.data.documents import Corpus, Documents, find, read_labelled_lines, read_lines
from jaxsdgm.data.pools import draw_by_file, draw_together, pick, with_pool
from jaxsdgm.errors import UserError

LABELS = {
    "agnews": ("World", "Sports", "Business", "Sci/Tech"),
    "dbpedia": (
        *("Company", "EducationalInstitution", "Artist", "Athlete", "OfficeHolder"),
        *("MeanOfTransportation", "Building", "NaturalPlace", "Village", "Animal", "Plant"),
        *("Album", "Film", "WrittenWork"),
    ),
    "imdb": ("neg", "pos"),
    "yelp": ("negative", "positive"),
}
#: the sets of TFDS, the fields of their texts and the split without labels
TFDS = {
    "agnews": ("ag_news_subset", ("title", "description"), ""),
    "imdb": ("imdb_reviews", ("text",), "unsupervised"),
    "yelp": ("yelp_polarity_reviews", ("text",), ""),
}
#: sets whose pool and unlabelled texts are one draw; the others shuffle file by file
TOGETHER = ("agnews", "imdb")

Split = dict[str, Documents]  # train, test, and unlabelled where the set has such texts


def read_text_set(name: str, directory: str, *, pool: int, unlabelled: int) -> Corpus:
    """A set as the SSVAE paper used it.

    Args:
      name: agnews, dbpedia, imdb or yelp.
      directory: the folder of its files; "" for TFDS.
      pool: labelled documents to draw, of which a fifth is for development; 0: all stay as they
        are, and there is no development split.
      unlabelled: texts to draw, 0: all; they may be among those of the pool, as in the paper.

    Raises:
      UserError: a file is missing or a row is bad; names file and line.
    """
    splits = FILES[name](Path(directory)) if directory else read_tfds(name)
    train, test = splits["train"], splits["test"]
    corpus = Corpus("en", LABELS[name], splits, f"{name}, {directory or 'TFDS'}")
    if not pool:
        return corpus
    if pool > len(train):
        raise UserError(
            f"{directory or name}: config.data.pool is {pool}, but there are only {len(train)} "
            "training documents"
        )
    others = splits.get("unlabelled", train)
    draw = {"pool": pool, "unlabelled": unlabelled or len(others)}
    if name in TOGETHER:
        known, rest = draw_together(len(train), len(others), **draw)
    else:
        known, rest = draw_by_file(len(train), len(test), **draw)
    return with_pool(corpus, pick(train, np.array(known)), [others.texts[i] for i in rest])


# -- files ---------------------------------------------------------------------------------------


def _numbered_csv(directory: Path, *, classes: int, parts: int, texts: slice) -> Split:
    """`train.csv` and `test.csv` without a header: the number of the class, from 1, then texts."""

    def read(split: str) -> Documents:
        path = find(directory / f"{split}.csv")
        found, labels = [], []
        for place, fields in _csv_rows(path):
            if len(fields) != parts:
                raise UserError(f"{place}: {len(fields)} fields, {parts} expected")
            if fields[0] not in map(str, range(1, classes + 1)):
                raise UserError(f"{place}: class {fields[0]!r} is none of 1 to {classes}")
            text = " ".join(" ".join(fields[texts]).split())
            if not text:
                raise UserError(f"{place}: empty document; remove the line")
            found.append(text)
            labels.append(int(fields[0]) - 1)
        if not found:
            raise UserError(f"{path}: empty split; expected lines of a class and {parts - 1} texts")
        return Documents(tuple(found), np.array(labels, np.int32))

    return {split: read(split) for split in ("train", "test")}


def _csv_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Rows with their place, `file:line`."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader((line + "\n" for line in read_lines(path)), strict=True)
    try:
        for fields in reader:
            yield f"{path}:{reader.line_num}", fields
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not a valid CSV line ({error})") from None


def _agnews(directory: Path) -> Split:
    """Class, title, description; both texts are used."""
    return _numbered_csv(directory, classes=4, parts=3, texts=slice(1, None))


def _dbpedia(directory: Path) -> Split:
    """Class, title, content; the title is not used."""
    return _numbered_csv(directory, classes=14, parts=3, texts=slice(2, None))


def _imdb(directory: Path) -> Split:
    """The folders of aclImdb: a review a file, by split and label."""

    def texts(folder: Path) -> list[str]:
        paths = sorted(folder.glob("*.txt"))
        if not paths:
            raise UserError(
                f"{folder}: no reviews (*.txt) there; unpack aclImdb_v1.tar.gz and name "
                "its folder aclImdb in config.data.dir"
            )
        return [" ".join(read_lines(path)) for path in paths]

    splits = {}
    for split in ("train", "test"):
        parts = [texts(directory / split / label) for label in LABELS["imdb"]]
        labels = np.repeat(np.arange(2, dtype=np.int32), [len(part) for part in parts])
        splits[split] = Documents(tuple(parts[0] + parts[1]), labels)
    splits["unlabelled"] = Documents(tuple(texts(directory / "train" / "unsup")))
    return splits


def _yelp(directory: Path) -> Split:
    """Short sentences: sentiment.{train,test}.{0,1} (Li et al. 2018) or yelp.{train,test}.tsv."""
    splits = {}
    for split in ("train", "test"):
        table = find(directory / f"yelp.{split}.tsv")
        if table.is_file():
            aliases = {"0": "negative", "1": "positive"}
            splits[split] = read_labelled_lines(table, LABELS["yelp"], aliases=aliases)
            continue
        parts = [[*read_lines(find(directory / f"sentiment.{split}.{c}"))] for c in (0, 1)]
        labels = np.repeat(np.arange(2, dtype=np.int32), [len(part) for part in parts])
        splits[split] = Documents(tuple(parts[0] + parts[1]), labels)
    return splits


FILES: dict[str, Callable[[Path], Split]] = {
    "agnews": _agnews,
    "dbpedia": _dbpedia,
    "imdb": _imdb,
    "yelp": _yelp,
}


# -- TFDS ----------------------------------------------------------------------------------------


def read_tfds(name: str) -> Split:
    """The same splits through TFDS, which reads array_record files without TensorFlow."""
    if name not in TFDS:
        raise UserError(
            f"config.data.dir is empty and TFDS has no {name!r}; get the files of its release and "
            "name their folder there"
        )
    dataset, fields, unsupervised = TFDS[name]
    splits = {split: tfds_documents(dataset, split, fields) for split in ("train", "test")}
    if unsupervised:
        texts = tfds_documents(dataset, unsupervised, fields).texts
        splits["unlabelled"] = Documents(texts)
    return splits


def tfds_documents(
    dataset: str, split: str, fields: Sequence[str], *, data_dir: str | None = None
) -> Documents:
    """Texts and labels of a split of a TFDS data set, in its order.

    Raises:
      UserError: the data set is not there and cannot be prepared.
    """
    rows, _ = tfds_rows(dataset, split, data_dir=data_dir)
    texts, labels = [], []
    for row in rows:
        parts = [row[field].decode("utf-8") for field in fields]
        texts.append(" ".join(" ".join(parts).split()))
        labels.append(int(row["label"]))
    return Documents(tuple(texts), np.array(labels, np.int32))


def tfds_rows(dataset: str, split: str, *, data_dir: str | None = None) -> tuple[Any, Any]:
    """The examples of a split of a TFDS data set, in its order, and its features.

    Raises:
      UserError: the data set is not there and cannot be prepared.
    """
    import tensorflow_datasets as tfds  # seconds, and only needed here

    try:
        builder: Any = tfds.builder(dataset, data_dir=data_dir, file_format="array_record")
        builder.download_and_prepare()
        return builder.as_data_source(split=split), builder.info.features
    except Exception as error:  # of any library that TFDS calls
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(
            f"TFDS cannot prepare {dataset!r} ({reason}); get the files of its release and name "
            "their folder in config.data.dir"
        ) from None

"""MLDoc (Schwenk and Li, 2018) and corpora that share its layout of files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxsdgm.data.documents import Corpus, Documents, find, read_labelled_lines
from jaxsdgm.errors import UserError

LANGUAGES = {
    "en": "english",
    "de": "german",
    "fr": "french",
    "ru": "russian",
    "zh": "chinese",
    "it": "italian",
    "es": "spanish",
    "ja": "japanese",
}
LABELS = ("CCAT", "ECAT", "GCAT", "MCAT")  # corporate, economics, government, markets
_SHORT_LABELS = {name[0]: name for name in LABELS}  # as sampling_rcv2.py writes them
_TRAIN_SIZES = (1000, 2000, 5000, 10000)

# Documents of class C, E, G, M in train.1000, dev and test: Table 2 of the paper.
TABLE_2 = {
    language: dict(zip(("train", "dev", "test"), counts, strict=True))
    for language, counts in {
        "en": ([270, 234, 252, 244], [228, 238, 266, 268], [991, 1000, 1030, 979]),
        "de": ([270, 240, 245, 245], [229, 268, 266, 237], [984, 1026, 1022, 968]),
        "fr": ([227, 262, 258, 253], [257, 237, 237, 269], [999, 973, 998, 1030]),
        "ru": ([261, 288, 184, 267], [265, 272, 204, 259], [1073, 1121, 706, 1100]),
        "zh": ([294, 286, 109, 311], [324, 300, 93, 283], [1169, 1215, 363, 1253]),
    }.items()
}


def read_mldoc(
    directory: str | Path,
    language: str,
    *,
    train_size: int = 1000,
    label_names: Sequence[str] | None = None,
) -> Corpus:
    """Reads one language of MLDoc; labels `CCAT` or `C` alike unless others are named.

    Class counts that differ from the paper's Table 2 are told in `Corpus.warnings`.
    """
    names = tuple(label_names or LABELS)
    aliases = _SHORT_LABELS if names == LABELS else {}
    corpus = read_split_files(directory, language, names, train_size=train_size, aliases=aliases)
    warnings = _differences(corpus, train_size) if names == LABELS else ()
    return Corpus(language, names, corpus.splits, f"MLDoc, {corpus.source}", warnings)


def _differences(corpus: Corpus, train_size: int) -> tuple[str, ...]:
    expected = dict(TABLE_2.get(corpus.language, {}))
    if train_size != 1000:
        expected.pop("train", None)
    return tuple(
        f"{corpus.source}: {split} has {corpus.counts(split)} documents of C, E, G, M where "
        f"Table 2 of the paper has {counts}; results are not comparable with the paper's"
        for split, counts in expected.items()
        if corpus.counts(split) != counts
    )


def read_split_files(
    directory: str | Path,
    language: str,
    label_names: Sequence[str],
    *,
    train_size: int = 1000,
    rest: bool = False,
    aliases: Mapping[str, str] | None = None,
) -> Corpus:
    """Reads `<language>.train.<size>`, `.dev` and `.test`, each line `LABEL<TAB>text`.

    Args:
      directory: where the files are, named `english.dev` or `en/en.dev`, plain, .xz or .gz.
      language: two-letter code, or the first part of the file names.
      label_names: labels in the order of their numbers.
      train_size: 1000, or 2000, 5000, 10000 where such a file exists. The documents of the
        smaller files come first, so the first 1000 lines mean the same in every size.
      rest: also read `.rest` as split `unlabelled`; its labels are thrown away.
      aliases: other spellings of labels.

    Returns:
      Corpus with the documents in file order.

    Raises:
      UserError: a file is missing or a line is bad.
    """
    directory, names = Path(directory), tuple(label_names)

    def read(split: str) -> Documents:
        return read_labelled_lines(_path(directory, language, split), names, aliases=aliases)

    splits = {"train": read(f"train.{train_size}"), "dev": read("dev"), "test": read("test")}
    for size in reversed([size for size in _TRAIN_SIZES if size < train_size]):
        if _path(directory, language, f"train.{size}").is_file():
            splits["train"] = _smaller_first(read(f"train.{size}"), splits["train"])
    if rest:
        splits["unlabelled"] = Documents(read("rest").texts)
    source = str(_path(directory, language, f"train.{train_size}"))
    return Corpus(language, names, splits, source)


def _path(directory: Path, language: str, split: str) -> Path:
    """`english.dev`, else the `en/en.dev` of the reference code, else the name to complain of."""
    usual = find(directory / f"{LANGUAGES.get(language, language)}.{split}")
    other = find(directory / language / f"{language}.{split}")
    return other if other.is_file() and not usual.is_file() else usual


def _smaller_first(smaller: Documents, larger: Documents) -> Documents:
    """The larger set with the documents of the smaller one in front, in the smaller's order.

    Files name no documents, so a document is its label and text; repeated ones are counted.
    """
    front, back = _pairs(smaller), _pairs(larger)
    missing = Counter(front) - Counter(back)
    if missing:
        raise UserError(
            f"training sets are not nested: {missing.total()} documents of the set of "
            f"{len(front)} are not in that of {len(back)}; make both from one copy of RCV"
        )
    taken, rest = Counter(front), []
    for pair in back:
        if taken[pair]:
            taken[pair] -= 1
        else:
            rest.append(pair)
    labels, texts = zip(*front, *rest, strict=True)
    return Documents(texts, np.array(labels, np.int32))


def _pairs(documents: Documents) -> list[tuple[int, str]]:
    assert documents.labels is not None
    return list(zip(documents.labels.tolist(), documents.texts, strict=True))

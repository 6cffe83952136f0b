"""SIB-200 (Adelani et al., 2024): sentences of seven topics, the same ones in 205 languages.

701 training, 99 dev and 204 test sentences a language. Data: github.com/dadelani/sib-200. The
sentences are those of FLORES-200 (Wikimedia text and professional translations, CC BY-SA 4.0):
whoever passes them on names SIB-200 and FLORES-200 and does so under the same licence.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxsdgm.data.documents import Corpus, Documents, find
from jaxsdgm.data.files import read_delimited
from jaxsdgm.data.mldoc import read_split_files
from jaxsdgm.errors import UserError

LABELS = (
    "entertainment",
    "geography",
    "health",
    "politics",
    "science/technology",
    "sports",
    "travel",
)
_SPLITS = ("train", "dev", "test")
COLUMNS = ("index_id", "category", "text")
#: two letters -> folder of the original layout, first part of the file names of the other one
LANGUAGES = {
    "en": ("eng_Latn", "english"),
    "de": ("deu_Latn", "german"),
    "fr": ("fra_Latn", "french"),
    "ru": ("rus_Cyrl", "russian"),
    "zh": ("zho_Hans", "chinese"),
    "yo": ("yor_Latn", "yoruba"),
    "qu": ("quy_Latn", "quechua"),
    "am": ("amh_Ethi", "amharic"),
}


def read_sib200(
    directory: str | Path, language: str, *, label_names: Sequence[str] | None = None
) -> Corpus:
    """Reads one language, from whichever of the two layouts is there.

    The original has `data/annotated/<code>/{train,dev,test}.tsv` with a header, the other one
    `<language>.{train.1000,dev,test}` with lines `LABEL<TAB>text`, as MLDoc, also within `cls`.

    Args:
      directory: the repository, its `data/annotated`, or where the other layout's files are.
      language: two letters of `LANGUAGES`, or the code of any folder (`yor_Latn`).
      label_names: labels in the order of their numbers; SIB-200's, sorted, unless others are given.

    Raises:
      UserError: a file is missing or a line is bad; names file and line.
    """
    directory, names = Path(directory), tuple(label_names or LABELS)
    code, name = LANGUAGES.get(language, (language, language))
    name = dict(LANGUAGES.values()).get(code, name)
    for folder in (directory / "data" / "annotated" / code, directory / code):
        if folder.is_dir():
            splits = {split: _read(folder / f"{split}.tsv", names) for split in _SPLITS}
            return Corpus(language, names, splits, f"SIB-200, {folder}")
    for folder in (directory, directory / "cls"):
        if find(folder / f"{name}.train.1000").is_file():
            corpus = read_split_files(folder, name, names)
            return replace(corpus, language=language, source=f"SIB-200, {corpus.source}")
    raise UserError(
        f"{directory}: no language {language!r} of SIB-200; expected {name}.train.1000 or "
        f"data/annotated/{code}/train.tsv there"
    )


def _read(path: Path, names: tuple[str, ...]) -> Documents:
    """One table; its fields stand in quotation marks where they contain any."""
    path = find(path)
    numbers = {name: number for number, name in enumerate(names)}
    texts, labels = [], []
    for place, fields in read_delimited(path, "\t", quoted=True):
        if tuple(fields) != COLUMNS:
            raise UserError(
                f"{path}:1: the header is {', '.join(fields)}, not {', '.join(COLUMNS)}"
            )
        category, text = fields["category"], fields["text"].strip()
        if category not in numbers:
            known = ", ".join(names)
            raise UserError(f"{place}: unknown label {category!r}; known labels: {known}")
        if not text:
            raise UserError(f"{place}: empty document; remove the line or give it a text")
        texts.append(text)
        labels.append(numbers[category])
    if not texts:
        raise UserError(f"{path}: empty split; expected a header and lines with a text")
    return Documents(tuple(texts), np.array(labels, np.int32))

"""Sentences a line, as language models read them: PTB, Yahoo, SNLI, Yelp, own files."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from jaxsdgm.data.documents import find, read_lines, write_text
from jaxsdgm.data.tokenizers import normaliser, padded
from jaxsdgm.errors import UserError

SPLITS = ("train", "dev", "test")
#: the specials, by id; a literal `<unk>` or `_UNK` is the last
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
PAD, START, END, UNKNOWN = range(4)
_UNKNOWNS = {"<unk>": UNKNOWN, "_UNK": UNKNOWN}
#: what a split's file is called, by preference; with .xz or .gz too
NAMES = {
    "train": ("train.txt", "ptb.train.txt"),
    "dev": ("valid.txt", "dev.txt", "ptb.valid.txt"),
    "test": ("test.txt", "ptb.test.txt"),
}


@dataclass(frozen=True)
class Lines:
    """Words of sentences, and a label's number for each or none at all."""

    words: tuple[tuple[str, ...], ...]
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True)
class LineCorpus:
    """Sentences of `train`, `dev` and `test`."""

    source: str
    splits: Mapping[str, Lines]
    label_names: tuple[str, ...] = ()


def read_corpus(directory: str | Path, *, labelled: bool = False) -> LineCorpus:
    """The three files of a folder: a sentence a line, its words parted by blanks.

    Where they are `labelled`, a line is a label, a tab and the sentence. Empty lines are dropped.

    Raises:
      UserError: a split without a file; a line without a label; a label that train does not have;
        a file without a sentence.
    """
    directory = Path(directory)
    paths = {split: _path(directory, split) for split in SPLITS}
    found = {split: _read(path, labelled) for split, path in paths.items()}
    names = tuple(sorted({label for _, label, _ in found["train"]})) if labelled else ()
    splits = {}
    for split, rows in found.items():
        words = tuple(words for words, _, _ in rows)
        splits[split] = Lines(words, _numbers(rows, names) if labelled else None)
    return LineCorpus(str(directory), splits, names)


def _path(directory: Path, split: str) -> Path:
    for name in NAMES[split]:
        for ending in ("", ".xz", ".gz"):
            if (directory / f"{name}{ending}").is_file():
                return directory / f"{name}{ending}"
    raise UserError(
        f"{directory}: no file of {split} sentences there ({' or '.join(NAMES[split])}); name "
        "the folder that has the three files in config.data.dir"
    )


def _read(path: Path, labelled: bool) -> list[tuple[tuple[str, ...], str, str]]:
    """Words, label and place of every sentence."""
    rows = []
    for number, line in enumerate(read_lines(find(path)), 1):
        label, tab, text = line.partition("\t") if labelled else ("", "\t", line)
        if line.strip() and not tab:
            raise UserError(
                f"{path}, line {number}: no label before a tab; write `label TAB sentence`, or set "
                "config.data.labelled=False"
            )
        if words := tuple(text.split()):
            rows.append((words, label.strip(), f"{path}, line {number}"))
    if not rows:
        raise UserError(f"{path}: no sentence in it; write one a line")
    return rows


def _numbers(rows: Sequence[tuple[tuple[str, ...], str, str]], names: Sequence[str]) -> np.ndarray:
    numbers = {name: i for i, name in enumerate(names)}
    for _, label, place in rows:
        if label not in numbers:
            known = ", ".join(names)
            raise UserError(f"{place}: the label {label!r} is not in train (there: {known})")
    return np.array([numbers[label] for _, label, _ in rows], np.int32)


@dataclass(frozen=True)
class Vocabulary:
    """Words by id after SPECIALS, in the order in which train has them first (spec §1)."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], *, min_count: int = 1) -> "Vocabulary":
        """All words that the sentences have at least so often."""
        counts = Counter(word for words in sentences for word in words)
        kept = [word for word, n in counts.items() if n >= min_count and word not in _UNKNOWNS]
        if not kept:
            raise UserError(
                f"no word of the training sentences is there {min_count} times; lower "
                "config.data.min_count"
            )
        return cls((*SPECIALS, *kept))

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def _ids(self) -> dict[str, int]:
        # the specials cannot be spelt
        return {word: i for i, word in enumerate(self.words[len(SPECIALS) :], len(SPECIALS))}

    def encode(self, sentences: Iterable[Sequence[str]]) -> dict[str, np.ndarray]:
        """ids `[n, t]`, with `<s>` and `</s>`, and lengths `[n]`."""
        ids = self._ids
        rows = ([START, *(ids.get(word, UNKNOWN) for word in words), END] for words in sentences)
        found, lengths = padded(rows, PAD)
        return {"ids": found, "lengths": lengths}

    def decode(self, ids: Sequence[int]) -> list[str]:
        """The words of one sentence up to its `</s>`, without `<s>`."""
        row = [int(i) for i in ids if i != START]
        return [self.words[i] for i in (row[: row.index(END)] if END in row else row)]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the words in their order."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Writes words.txt, a word a line."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "words.txt", "".join(f"{word}\n" for word in self.words))

    @classmethod
    def load(cls, folder: Path, digest: str) -> "Vocabulary":
        """Reads what `save` wrote; UserError where it is missing or another one."""
        path = folder / "words.txt"
        vocabulary = cls(tuple(read_lines(find(path))))
        if vocabulary.digest != digest:
            raise UserError(f"{path}: damaged, its digest is not the run's; copy it again")
        return vocabulary


@dataclass(frozen=True)
class SentenceTokenizer:
    """A text VAE's vocabulary for documents of one language: `<s>`, words, `</s>`."""

    language: str
    normaliser: str
    vocabulary: Vocabulary

    special_ids = frozenset((PAD, START, END))
    first_word = len(SPECIALS)

    @property
    def words(self) -> tuple[str, ...]:
        return self.vocabulary.words

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    def encode(self, texts: Iterable[str], max_length: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids `[n, t]` and lengths `[n]` of at most so many tokens, `<s>` and `</s>` counted."""
        split = normaliser(self.normaliser)
        words = (split(text, self.language)[: max_length - 2] for text in texts)
        found = self.vocabulary.encode(words)
        return found["ids"], found["lengths"]

    def decode(self, ids: np.ndarray) -> list[str]:
        """Ids `[n, t]` to n texts."""
        return [" ".join(self.vocabulary.decode([i for i in row if i])) for row in ids]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of language, normaliser and vocabulary: equal digests give equal ids."""
        parts = self.language, self.normaliser, self.vocabulary.digest
        return hashlib.sha256("\t".join(parts).encode()).hexdigest()

    def save(self, directory: str | Path) -> None:
        """Writes `<language>.json` and words.txt."""
        directory = Path(directory)
        self.vocabulary.save(directory)
        about = {"kind": "sentences", "language": self.language, "normaliser": self.normaliser}
        about["vocabulary"] = self.vocabulary.digest
        write_text(directory / f"{self.language}.json", json.dumps(about, indent=1) + "\n")

    @classmethod
    def load(cls, directory: str | Path, language: str) -> "SentenceTokenizer":
        """Reads what `save` wrote."""
        path = Path(directory) / f"{language}.json"
        try:
            about = json.loads("\n".join(read_lines(path)))
            name, digest = about["normaliser"], about["vocabulary"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: damaged, not the JSON of a tokenizer; copy again") from None
        return cls(language, name, Vocabulary.load(Path(directory), digest))

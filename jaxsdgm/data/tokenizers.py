"""Text to ids: the normalisers of the paper, and a word tokenizer with its vocabulary."""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import regex
from sacremoses import MosesTokenizer

from jaxsdgm.data.documents import read_lines, write_text
from jaxsdgm.errors import UserError

_DIGIT = regex.compile(r"\d")
_PUNCTUATION = regex.compile(r"\p{P}")
_LINE_BREAKS = str.maketrans("\t\n\r\v\f", "     ")
# Chinese and Japanese put no spaces between words: there every sign is a token of its own.
_WORD = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]|[^\W_\p{Han}\p{Hiragana}\p{Katakana}]+")


def lower(text: str, language: str) -> list[str]:
    """Lower case, split at every single space (the paper's MLDoc reading).

    Two spaces leave an empty token between them, which becomes UNK as in the reference code.
    """
    return text.translate(_LINE_BREAKS).strip().lower().split(" ")


@cache
def _moses(language: str) -> MosesTokenizer:
    return MosesTokenizer(language)


def europarl(text: str, language: str, *, escape: bool = False) -> list[str]:
    """Moses tokens, lower case, digits to 0, punctuation deleted (the paper's Europarl).

    With `escape` the tokenizer's HTML escapes stay in, as in the reference code, and leave
    words such as `aposs` when their punctuation goes.
    """
    tokens = _moses(language).tokenize(text.strip(), aggressive_dash_splits=True, escape=escape)
    return _PUNCTUATION.sub("", _DIGIT.sub("0", " ".join(tokens).lower())).split()


def words(text: str, language: str) -> list[str]:
    """As `plain_words`, digits to 0."""
    return plain_words(_DIGIT.sub("0", text), language)


def plain_words(text: str, language: str) -> list[str]:
    """Runs of letters and digits, lower case; each Han or kana sign by itself."""
    return _WORD.findall(text.lower())


def whitespace(text: str, language: str) -> list[str]:
    """Lower case, split at white space."""
    return text.lower().split()


Normaliser = Callable[[str, str], list[str]]  # (text, language) -> tokens

NORMALISERS: dict[str, Normaliser] = {
    "lower": lower,
    "whitespace": whitespace,
    "europarl": europarl,
    "europarl_escaped": partial(europarl, escape=True),
    "words": words,
    "plain_words": plain_words,
}


def normaliser(name: str) -> Normaliser:
    """The function of that name; an unknown name raises UserError with the known ones."""
    if name not in NORMALISERS:
        raise UserError(f"unknown normaliser {name!r}; choose one of {', '.join(NORMALISERS)}")
    return NORMALISERS[name]


@dataclass(frozen=True)
class WordTokenizer:
    """Words of one language, numbered by frequency after PAD (0) and UNK (1).

    `words[i]` is the word of id i and `counts[i]` how often training text has it.
    """

    language: str
    normaliser: str
    words: tuple[str, ...]
    counts: tuple[int, ...]

    pad_id = 0
    unk_id = 1
    first_word = 2  # the first id of a word

    @classmethod
    def train(
        cls,
        token_lists: Iterable[Sequence[str]],
        *,
        language: str,
        normaliser: str,
        size: int,
        alphabetical: bool = False,
    ) -> "WordTokenizer":
        """Keeps the `size` most frequent words; of equally frequent ones those seen first.

        Or, `alphabetical`, those that come first in the alphabet.
        """
        counter: Counter[str] = Counter()
        for tokens in token_lists:
            counter.update(tokens)
        del counter[""]
        if not counter:
            raise UserError(f"no words of {language!r} to make a vocabulary from: no training text")
        by_count = lambda entry: (-entry[1], entry[0])
        kept = sorted(counter.items(), key=by_count) if alphabetical else counter.most_common()
        return cls._of(kept[:size], language=language, normaliser=normaliser)

    @classmethod
    def _of(
        cls, entries: Sequence[tuple[str, int]], *, language: str, normaliser: str
    ) -> "WordTokenizer":
        kept, counts = zip(*entries, strict=True)
        return cls(language, normaliser, ("<PAD>", "<UNK>", *kept), (0, 0, *counts))

    @property
    def vocab_size(self) -> int:
        """Words kept, plus PAD and UNK."""
        return len(self.words)

    @cached_property
    def _ids(self) -> dict[str, int]:
        # Start after PAD and UNK, so that no text can spell them.
        return {word: number for number, word in enumerate(self.words[2:], 2)}

    def tokens(self, text: str) -> list[str]:
        """The text's words, normalised as the vocabulary's were."""
        return normaliser(self.normaliser)(text, self.language)

    def encode(self, texts: Iterable[str], max_length: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids [n, length] int32 padded with PAD, and lengths [n] int32; see `encode_tokens`."""
        return self.encode_tokens((self.tokens(text) for text in texts), max_length)

    def encode_tokens(
        self, token_lists: Iterable[Sequence[str]], max_length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encodes words that are normalised already.

        Longer rows are cut; `length` is that of the longest row left. A row without words
        gets one UNK, since an encoder of sequences has no state after zero steps.
        """
        ids, unknown = self._ids, self.unk_id
        rows = (
            [ids.get(token, unknown) for token in tokens[:max_length]] or [unknown]
            for tokens in token_lists
        )
        return padded(rows, self.pad_id)

    def decode(self, ids: np.ndarray) -> list[str]:
        """Ids [n, length] to n texts: words joined by spaces, PAD left out."""
        return [" ".join(self.words[i] for i in row if i != self.pad_id) for row in ids]

    def _table(self) -> str:
        rows = zip(self.words[2:], self.counts[2:], strict=True)
        return "".join(f"{word}\t{count}\n" for word, count in rows)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of language, normaliser and vocabulary: equal digests give equal ids."""
        return _digest(self.language, self.normaliser, self._table())

    def save(self, directory: str | Path) -> None:
        """Writes `<language>.vocab` (`word<TAB>count` lines) and `<language>.json`."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        about = {
            "language": self.language,
            "normaliser": self.normaliser,
            "size": self.vocab_size - 2,
            "digest": self.digest,
        }
        write_text(directory / f"{self.language}.vocab", self._table())
        write_text(directory / f"{self.language}.json", json.dumps(about, indent=1) + "\n")

    @classmethod
    def load(cls, directory: str | Path, language: str) -> "WordTokenizer":
        """Reads what `save` wrote; missing or damaged files raise UserError."""
        table, about = Path(directory) / f"{language}.vocab", Path(directory) / f"{language}.json"
        if not (table.is_file() and about.is_file()):
            known = ", ".join(sorted(p.stem for p in Path(directory).glob("*.json"))) or "none"
            raise UserError(
                f"{directory}: no tokenizer for {language!r} (there: {known}); it is written by "
                "pretraining with that language"
            )
        damaged = UserError(f"{table}: damaged, its digest is not that of {about.name}; copy again")
        try:
            fields = json.loads("\n".join(read_lines(about)))
            rows = [line.rpartition("\t") for line in read_lines(table)]
            entries = [(word, int(count)) for word, _, count in rows]
            tokenizer = cls._of(entries, language=language, normaliser=fields["normaliser"])
            fits = tokenizer.digest == fields["digest"]
        except (ValueError, KeyError, TypeError):
            raise damaged from None
        if not fits:
            raise damaged
        return tokenizer


def padded(rows: Iterable[Sequence[int]], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids as an array [n, length] int32, and their lengths [n] int32."""
    flat, ends = array("i"), array("q", [0])  # lists of a million documents would not fit
    for row in rows:
        flat.extend(row)
        ends.append(len(flat))
    values, bounds = np.asarray(flat), np.asarray(ends)
    lengths = np.diff(bounds).astype(np.int32)
    found = np.full((len(lengths), lengths.max(initial=0)), pad_id, np.int32)
    for row, start, end in zip(found, bounds[:-1], bounds[1:], strict=True):
        row[: end - start] = values[start:end]
    return found, lengths


def _digest(language: str, name: str, table: str) -> str:
    return hashlib.sha256(f"{language}\t{name}\n{table}".encode()).hexdigest()

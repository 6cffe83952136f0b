"""The tokenizers of Hugging Face checkpoints (WordPiece, unigram, BPE), without torch or jax."""

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from jaxsdgm.data.documents import read_lines, write_text
from jaxsdgm.data.lines import SentenceTokenizer
from jaxsdgm.data.subwords import SentencePieceTokenizer
from jaxsdgm.data.tokenizers import WordTokenizer
from jaxsdgm.errors import UserError

log = logging.getLogger("jaxsdgm")

CHUNK = 4096  # texts at a time: the library's own rows take many times the memory of the ids


@dataclass(frozen=True)
class HuggingFaceTokenizer:
    """A subword tokenizer with its special tokens, as the checkpoint was trained with.

    `definition` is the tokenizer's own JSON. `prefix` goes before every text (multilingual e5
    expects "query: "); `lower` lowers the case first, for checkpoints whose tokenizer forgets to.
    """

    language: str
    definition: str = field(repr=False)  # megabytes
    pad_id: int
    unk_id: int
    mask_id: int | None = None
    prefix: str = ""
    lower: bool = False

    @classmethod
    def from_checkpoint(
        cls, folder: str | Path, *, language: str, prefix: str = "", lower: bool = False
    ) -> "HuggingFaceTokenizer":
        """Reads the tokenizer of a checkpoint's folder.

        Raises:
          UserError: there is none, it is not of the fast kind, it is not what `vocab.txt` holds,
            or it has more entries than `config.json` gives the embeddings rows.
        """
        folder = Path(folder)
        loaded = _load(folder)
        backend = loaded.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        ids = {"pad_id": loaded.pad_token_id, "unk_id": loaded.unk_token_id}
        absent = [name for name, number in ids.items() if number is None]
        if absent:
            raise UserError(f"{folder}: the tokenizer has no {' and no '.join(absent)}")
        definition = backend.to_str()
        ids["mask_id"] = loaded.mask_token_id
        tokenizer = cls(language, definition, **ids, prefix=prefix, lower=lower)
        _check_entries(folder, tokenizer.vocab_size)
        rows = _rows(folder)
        if rows is not None:
            tokenizer.require_rows(rows)
        return tokenizer

    @cached_property
    def _backend(self) -> tokenizers.Tokenizer:
        return tokenizers.Tokenizer.from_str(self.definition)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The piece of every id; empty where an id is not used."""
        pieces = self._backend.get_vocab(with_added_tokens=True)
        table = [""] * (1 + max(pieces.values()))
        for piece, number in pieces.items():
            table[number] = piece
        return tuple(table)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id; the embeddings may have rows beyond it."""
        return len(self.words)

    def require_rows(self, rows: int) -> None:
        """Raises UserError if the embeddings have fewer rows than there are ids."""
        if self.vocab_size > rows:
            raise UserError(
                f"the tokenizer of {self.language!r} has {self.vocab_size} entries, but the "
                f"embeddings have {rows} rows; use the tokenizer of the same checkpoint"
            )

    def encode(self, texts: Iterable[str], max_length: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids [n, length] int32 padded with PAD, and lengths [n] int32.

        Every row has the special tokens; of one longer than `max_length` the text is cut, not the
        end token. `length` is that of the longest row left.
        """
        backend = self._backend
        special = backend.num_special_tokens_to_add(is_pair=False)
        if max_length <= special:
            raise UserError(
                f"max_length {max_length} leaves no room for text beside {special} special tokens"
            )
        backend.enable_truncation(max_length)
        texts, rows, cut = list(map(self._prepare, texts)), [], 0
        for start in range(0, len(texts), CHUNK):
            encodings = backend.encode_batch_fast(texts[start : start + CHUNK])
            rows += [np.array(encoding.ids, np.int32) for encoding in encodings]
            cut += sum(bool(encoding.overflowing) for encoding in encodings)
        if cut:
            log.info("%d of %d documents cut to %d tokens", cut, len(rows), max_length)
        return _padded(rows, self.pad_id)

    def pieces(self, texts: Iterable[str]) -> Iterator[list[int]]:
        """The ids of each text as it stands, without special tokens; as many as come."""
        self._backend.no_truncation()
        waiting = iter(texts)
        while chunk := list(islice(waiting, CHUNK)):
            for encoding in self._backend.encode_batch_fast(chunk, add_special_tokens=False):
                yield encoding.ids

    def _prepare(self, text: str) -> str:
        return self.prefix + (text.lower() if self.lower else text)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids that are no part of a text: the special ones but for unknown and masked pieces."""
        added = self._backend.get_added_tokens_decoder()
        special = {number for number, token in added.items() if token.special}
        return frozenset(special - {self.unk_id, self.mask_id} | {self.pad_id})

    def decode(self, ids: np.ndarray) -> list[str]:
        """Ids [n, length] to n texts (prefix included), without padding, start and end."""
        rows = [[i for i in row if i not in self.special_ids] for row in np.asarray(ids).tolist()]
        return self._backend.decode_batch(rows, skip_special_tokens=False)

    def _about(self) -> dict[str, Any]:
        return {
            "kind": "huggingface",
            "language": self.language,
            "pad_id": self.pad_id,
            "unk_id": self.unk_id,
            "mask_id": self.mask_id,
            "prefix": self.prefix,
            "lower": self.lower,
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the definition and the fields: equal digests give equal ids."""
        about = json.dumps(self._about(), sort_keys=True)
        return hashlib.sha256(f"{about}\n{self.definition}".encode()).hexdigest()

    def save(self, directory: str | Path) -> None:
        """Writes `<language>.tokenizer.json` (the library's format) and `<language>.json`."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        write_text(directory / f"{self.language}.tokenizer.json", self.definition)
        about = {**self._about(), "digest": self.digest}
        write_text(directory / f"{self.language}.json", json.dumps(about, indent=1) + "\n")

    @classmethod
    def load(cls, directory: str | Path, language: str) -> "HuggingFaceTokenizer":
        """Reads what `save` wrote; missing or damaged files raise UserError."""
        about = Path(directory) / f"{language}.json"
        table = Path(directory) / f"{language}.tokenizer.json"
        if not (table.is_file() and about.is_file()):
            raise UserError(
                f"{directory}: no Hugging Face tokenizer for {language!r}; it is written by a run "
                "in that language"
            )
        try:
            fields = json.loads("\n".join(read_lines(about)))
            kind, digest = fields.pop("kind"), fields.pop("digest")
            tokenizer = cls(definition="\n".join(read_lines(table)), **fields)
            fits = kind == "huggingface" and tokenizer.digest == digest
        except (ValueError, KeyError, TypeError, AttributeError):
            fits = False
        if not fits:
            raise UserError(f"{table}: damaged, its digest is not that of {about.name}; copy again")
        return tokenizer


def _load(folder: Path) -> Any:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give that of a checkpoint with its tokenizer")
    # it would tell the terminal that there is no torch, which nothing here needs
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer  # seconds to import, and only needed here

    try:
        with warnings.catch_warnings():  # of the libraries, about each other
            warnings.simplefilter("ignore", DeprecationWarning)
            loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers and tokenizers raise many kinds for one cause
        raise UserError(
            f"{folder}: no tokenizer could be read ({type(error).__name__}); it takes "
            "tokenizer.json, or vocab.txt with a tokenizer_config.json"
        ) from error
    if not loaded.is_fast:
        raise UserError(
            f"{folder}: its tokenizer has no fast form; convert it once to tokenizer.json"
        )
    return loaded


def _check_entries(folder: Path, size: int) -> None:
    """transformers 5 makes a vocabulary of five entries, in silence, of what it cannot read."""
    words = folder / "vocab.txt"
    entries = sum(1 for _ in read_lines(words)) if words.is_file() else 0
    if size < entries:
        raise UserError(f"{words}: {entries} entries, but only {size} were read; save it again")


def _rows(folder: Path) -> int | None:
    """Rows of the embeddings, where the folder has a config at all."""
    config = folder / "config.json"
    if not config.is_file():
        return None
    try:
        return int(json.loads("\n".join(read_lines(config)))["vocab_size"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{config}: damaged or without vocab_size; get it again") from None


def _padded(rows: Sequence[np.ndarray], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(row) for row in rows], np.int32)
    ids = np.full((len(rows), lengths.max(initial=0)), pad_id, np.int32)
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = values
    return ids, lengths


#: what turns text into ids
Tokenizer = WordTokenizer | SentencePieceTokenizer | HuggingFaceTokenizer | SentenceTokenizer

#: by the "kind" in their JSON
KINDS: dict[str, type[Tokenizer]] = {
    "words": WordTokenizer,
    "sentencepiece": SentencePieceTokenizer,
    "huggingface": HuggingFaceTokenizer,
    "sentences": SentenceTokenizer,
}


def load_saved(directory: str | Path, language: str) -> Tokenizer:
    """The tokenizer of a language that a run has saved, of whichever kind; UserError as theirs."""
    about, kind = Path(directory) / f"{language}.json", "words"
    if about.is_file():
        try:
            kind = json.loads("\n".join(read_lines(about))).get("kind", kind)
        except (ValueError, AttributeError):
            raise UserError(f"{about}: damaged, not the JSON of a tokenizer; copy again") from None
    return KINDS.get(kind, WordTokenizer).load(directory, language)

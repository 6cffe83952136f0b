"""SentencePiece BPE: one vocabulary of subwords that several languages share (spec §2.1)."""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import numpy as np
import sentencepiece

from jaxsdgm.data.documents import read_lines, write_text
from jaxsdgm.data.tokenizers import normaliser, padded
from jaxsdgm.errors import UserError

MODEL = "subwords.model"  # of a folder: SentencePiece's own format
CHUNK = 4096  # texts at a time


def train_subwords(token_lists: Iterable[Sequence[str]], *, size: int) -> bytes:
    """A BPE model of `size` pieces, in SentencePiece's format.

    The options are the trainer's defaults, as the paper's. Equal sentences in equal order give
    equal bytes.

    Args:
      token_lists: normalised sentences of all languages.
      size: pieces, `<unk>`, `<s>` and `</s>` among them.

    Raises:
      UserError: no sentences, or too few different ones for so many pieces.
    """
    model = io.BytesIO()
    sentences = filter(None, map(" ".join, token_lists))
    first = next(sentences, None)
    if first is None:
        raise UserError("no sentences to make subwords from: no training text")
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=chain([first], sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=size,
            minloglevel=2,  # it would tell the terminal of every merge
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2].strip() or "the text is too short"
        raise UserError(
            f"config.data.subwords={size} cannot be made of the text: {reason}"
        ) from None
    return model.getvalue()


@dataclass(frozen=True)
class SentencePieceTokenizer:
    """Subwords of one language in a vocabulary that is the same for all: PAD (0), then the pieces.

    `model` is the content of SentencePiece's model file, in whose order the pieces are: UNK (1),
    `<s>`, `</s>`, merged ones by frequency, single characters. A text is normalised as the training
    text was, its tokens joined by spaces, and cut into pieces.
    """

    language: str
    normaliser: str
    model: bytes = field(repr=False)  # hundreds of kilobytes

    pad_id = 0
    unk_id = 1
    first_word = 4  # the first id that a text may have, beside UNK

    @cached_property
    def _processor(self) -> sentencepiece.SentencePieceProcessor:
        return sentencepiece.SentencePieceProcessor(model_proto=self.model)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The piece of every id; those that begin a word have `▁` in front."""
        pieces = self._processor.id_to_piece(list(range(self._processor.vocab_size())))
        return ("<pad>", *pieces)

    @property
    def vocab_size(self) -> int:
        """Pieces, plus PAD."""
        return len(self.words)

    def tokens(self, text: str) -> list[str]:
        """The text's words before they are cut, normalised as the training text was."""
        return normaliser(self.normaliser)(text, self.language)

    def encode(self, texts: Iterable[str], max_length: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids [n, length] int32 padded with PAD, and lengths [n] int32; see `encode_tokens`."""
        return self.encode_tokens((self.tokens(text) for text in texts), max_length)

    def encode_tokens(
        self, token_lists: Iterable[Sequence[str]], max_length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encodes words that are normalised already.

        Longer rows are cut; `length` is that of the longest row left. A row without pieces gets
        one UNK, since an encoder of sequences has no state after zero steps.
        """
        return padded((row[:max_length] for row in self.rows(token_lists)), self.pad_id)

    def rows(self, token_lists: Iterable[Sequence[str]]) -> Iterator[list[int]]:
        """Yields the ids of each text, at least one."""
        texts = map(" ".join, token_lists)
        while some := list(islice(texts, CHUNK)):
            for pieces in self._processor.encode(some, out_type=int):
                yield [piece + 1 for piece in pieces] or [self.unk_id]

    def decode(self, ids: np.ndarray) -> list[str]:
        """Ids [n, length] to n texts, PAD left out."""
        rows = [[i - 1 for i in row if i != self.pad_id] for row in np.asarray(ids).tolist()]
        return [self._processor.decode(row) for row in rows]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of language, normaliser and model: equal digests give equal ids."""
        about = f"{self.language}\t{self.normaliser}\n".encode()
        return hashlib.sha256(about + self.model).hexdigest()

    def save(self, directory: str | Path) -> None:
        """Writes `subwords.model`, the same for all languages, and `<language>.json`."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f"{MODEL}.partial"
        partial.write_bytes(self.model)
        os.replace(partial, directory / MODEL)
        about = {
            "kind": "sentencepiece",
            "language": self.language,
            "normaliser": self.normaliser,
            "size": self.vocab_size - 1,
            "digest": self.digest,
        }
        write_text(directory / f"{self.language}.json", json.dumps(about, indent=1) + "\n")

    @classmethod
    def load(cls, directory: str | Path, language: str) -> "SentencePieceTokenizer":
        """Reads what `save` wrote; missing or damaged files raise UserError."""
        model, about = Path(directory) / MODEL, Path(directory) / f"{language}.json"
        for path in (model, about):
            if not path.is_file():
                raise UserError(f"{path}: missing; copy it from the pretraining, or pretrain again")
        try:
            fields = json.loads("\n".join(read_lines(about)))
            # the bytes are not parsed before they are known to be those that were written
            tokenizer = cls(language, fields["normaliser"], model.read_bytes())
            fits = fields["digest"] == tokenizer.digest
        except (ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            raise UserError(
                f"{model}: damaged or another model, its digest is not that of {about.name}; copy "
                "both again"
            )
        return tokenizer

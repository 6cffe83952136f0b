"""python -m jaxsdgm.train_vectors --input=FILE --out=FILE.vec [--size=300]

Trains skip-gram vectors with fastText's model, and its defaults, on text of one sentence a line and
words parted by spaces, such as WORKDIR/text/en.train.txt of a pretraining run. Needs gensim:
pip install 'jaxsdgm[vectors]'. Exit status: 0 done, 2 bad input.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxsdgm.data.documents import read_lines
from jaxsdgm.errors import UserError
from jaxsdgm.weights.word_vectors import check_new, write_vectors


@dataclass(frozen=True)
class Sentences:
    """The words of every line of a file, as often as they are asked for."""

    path: Path

    def __iter__(self) -> Iterator[list[str]]:
        return (line.split() for line in read_lines(self.path))


def train(path: Path, *, size: int, buckets: int, epochs: int, threads: int) -> Any:
    """gensim's KeyedVectors of the words that the file has five times or more."""
    try:
        # an extra that need not be installed
        from gensim.models import FastText  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("train_vectors needs gensim: pip install 'jaxsdgm[vectors]'") from error
    sizes: dict[str, Any] = {"vector_size": size, "bucket": buckets, "workers": threads}
    model = FastText(sg=1, alpha=0.05, sample=1e-4, **sizes)  # as fastText's skipgram
    model.build_vocab(Sentences(path))
    if not len(model.wv):
        raise UserError(f"{path}: no word comes five times; give more text, a sentence a line")
    model.train(Sentences(path), total_examples=model.corpus_count, epochs=epochs)
    return model.wv


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m jaxsdgm.train_vectors")
    parser.add_argument("--input", type=Path, required=True, help="text, a sentence a line")
    parser.add_argument("--out", type=Path, required=True, help="file of vectors to write")
    parser.add_argument("--size", type=int, default=300, help="numbers a vector (the paper's 300)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument(
        "--buckets", type=int, default=2_000_000, help="for parts of words; 4 * SIZE bytes each"
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="with one, the same numbers every time"
    )
    args = parser.parse_args(argv)
    sizes = {"size": args.size, "buckets": args.buckets, "epochs": args.epochs}
    try:
        check_new(args.out)
        found = train(args.input, **sizes, threads=args.threads)
        write_vectors(args.out, found.index_to_key, found.vectors)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {args.out}, {len(found.index_to_key)} words")
    return 0


if __name__ == "__main__":
    sys.exit(main())

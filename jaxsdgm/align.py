"""python -m jaxsdgm.align SOURCE.vec TARGET.vec --out=FILE [--dictionary=FILE]

Writes the vectors of SOURCE, at unit length, turned into the space of TARGET: orthogonal Procrustes
from a dictionary (a source and a target word a line), or from the words that both files have, then
rounds of refinement as MUSE's. The best round by its criterion (the mean cosine of frequent words
and their translations) is kept. Exit status: 0 done, 2 bad input.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxsdgm.data.documents import read_lines
from jaxsdgm.errors import UserError
from jaxsdgm.weights.alignment import rounds, unit_rows
from jaxsdgm.weights.word_vectors import WordVectors, check_new, read_vectors, write_vectors


def align(
    source: Path, target: Path, out: Path, dictionary: Path | None, *, words: int, frequent: int
) -> None:
    """Aligns two files and prints pairs and criterion of every round.

    Raises:
      UserError: a bad file, vectors of different widths, no pair of known words, or `out` exists.
    """
    check_new(out)
    ours, theirs = (read_vectors(path, limit=words) for path in (source, target))
    d, wanted = ours.vectors.shape[1], theirs.vectors.shape[1]
    if d != wanted:
        raise UserError(f"{source}: vectors of {d} numbers, those of {target} have {wanted}")
    pairs = dictionary_pairs(dictionary, ours, theirs) if dictionary else same_words(ours, theirs)
    vectors = unit_rows(ours.vectors)
    best = None
    found = rounds(vectors, unit_rows(theirs.vectors), pairs, frequent=frequent)
    for number, one in enumerate(found):
        print(f"round {number}: {one.pairs} pairs, criterion {one.criterion:.4f}", flush=True)
        best = one if best is None or one.criterion > best.criterion else best
    assert best
    write_vectors(out, ours.words, vectors @ best.mapping)


def same_words(ours: WordVectors, theirs: WordVectors) -> np.ndarray:
    """Rows `[p, 2]` of the words of both files: numerals, names, loan words."""
    rows = {word: row for row, word in enumerate(theirs.words)}
    pairs = [(row, rows[word]) for row, word in enumerate(ours.words) if word in rows]
    if not pairs:
        raise UserError("the two files have no word in common; give a --dictionary")
    return np.array(pairs)


def dictionary_pairs(path: Path, ours: WordVectors, theirs: WordVectors) -> np.ndarray:
    """Rows `[p, 2]` of the lines of a dictionary whose words both have vectors."""
    sources = {word: row for row, word in enumerate(ours.words)}
    targets = {word: row for row, word in enumerate(theirs.words)}
    pairs, number = [], 0
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if len(fields) != 2:
            raise UserError(
                f"{path}:{number}: {len(fields)} words; every line must be a source word, a space "
                "or tab, and a target word"
            )
        if fields[0] in sources and fields[1] in targets:
            pairs.append((sources[fields[0]], targets[fields[1]]))
    if not pairs:
        raise UserError(
            f"{path}: of {number} lines none has a vector for both words; is the source language "
            "in the first column?"
        )
    print(f"{path}: {len(pairs)} of {number} pairs have vectors")
    return np.array(pairs)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m jaxsdgm.align")
    parser.add_argument("source", type=Path, help="vectors to turn (.vec, .txt, .gz of either)")
    parser.add_argument("target", type=Path, help="vectors of the other language, left alone")
    parser.add_argument("--out", type=Path, required=True, help="file to write; new")
    parser.add_argument("--dictionary", type=Path, help="two words a line; else identical words")
    parser.add_argument(
        "--words", type=int, default=200_000, help="read of each file (default: %(default)s)"
    )
    parser.add_argument(
        "--frequent", type=int, default=15_000, help="translated in a round (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    sizes = {"words": args.words, "frequent": args.frequent}
    try:
        align(args.source, args.target, args.out, args.dictionary, **sizes)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

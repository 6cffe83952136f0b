"""The protocol of the SSVAE paper: a labelled pool in five parts, each in turn the development set.

The rest of the pool is trained on, all of it or the first documents of it (spec §1.3).
"""

from dataclasses import replace

import numpy as np

from jaxsdgm.data.documents import Corpus, Documents
from jaxsdgm.data.subsets import Subset
from jaxsdgm.errors import UserError

ROTATIONS = 5
SEED = 42  # of the paper's draws


def rotation_dev(pool: int, rotation: int) -> range:
    """Lines of the pool that are for development in a rotation; these count from 0, and go round.

    Raises:
      UserError: the pool cannot be divided by five.
    """
    if pool % ROTATIONS or not pool:
        raise UserError(
            f"config.data.subset is 'rotation', which divides {pool} training documents by "
            f"{ROTATIONS}; set config.data.pool to a multiple of that"
        )
    size = pool // ROTATIONS
    first = rotation % ROTATIONS * size
    return range(first, first + size)


def rotation_subset(pool: int, n: int, rotation: int) -> Subset:
    """The labelled lines: a first share of those before the development set and of those after."""
    dev = rotation_dev(pool, rotation)
    rest = pool - len(dev)
    n = n or rest
    if n > rest:
        raise UserError(
            f"{n} labels asked for, but only {rest} of the pool are not for development"
        )
    before = dev.start * n // rest
    lines = [*range(before), *range(dev.stop, dev.stop + n - before)]
    return Subset(tuple(lines), "rotation", n, rotation)


def make_pool(corpus: Corpus, *, pool: int, unlabelled: int, seed: int = SEED) -> Corpus:
    """A corpus whose training split is a pool drawn from it; its other texts lose their labels.

    Args:
      corpus: its development split is dropped, since each rotation has one of its own.
      pool: documents of the pool.
      unlabelled: at most so many others, in the order of the draw; 0: all of them. Documents that
        have no label anyway come after these.
      seed: of the draw.
    """
    train = corpus.splits["train"]
    if pool > len(train):
        raise UserError(
            f"{corpus.source}: config.data.pool is {pool}, but there are only {len(train)} "
            "training documents"
        )
    order = np.random.default_rng(seed).permutation(len(train))
    others = [train.texts[i] for i in order[pool:]]
    if "unlabelled" in corpus.splits:
        others += corpus.splits["unlabelled"].texts
    return with_pool(corpus, pick(train, order[:pool]), others[: unlabelled or None])


def with_pool(corpus: Corpus, pool: Documents, unlabelled: list[str]) -> Corpus:
    """The corpus with this pool and these texts; its development split is the first rotation's."""
    splits = {"train": pool, "dev": pick(pool, rotation_dev(len(pool), 0))}
    splits["test"] = corpus.splits["test"]
    if unlabelled:
        splits["unlabelled"] = Documents(tuple(unlabelled))
    return replace(corpus, splits=splits)


def pick(documents: Documents, lines: np.ndarray | range) -> Documents:
    """Some of the documents, in the order of `lines`."""
    assert documents.labels is not None
    return Documents(tuple(documents.texts[i] for i in lines), documents.labels[np.array(lines)])


def draw_together(n: int, others: int, *, pool: int, unlabelled: int) -> tuple[list, list]:
    """Lines of the pool and of the unlabelled texts as drawn for AG News and IMDB.

    NumPy's legacy generator gives what the paper's code got: two draws, then two shuffles.

    Args:
      n: documents that the pool is drawn from.
      others: documents that the unlabelled texts are drawn from (of AG News the same ones).
    """
    rng = np.random.RandomState(SEED)
    labelled = rng.choice(n, pool, replace=False).tolist()
    rest = rng.choice(others, min(unlabelled, others), replace=False).tolist()
    rng.shuffle(labelled)
    rng.shuffle(rest)
    return labelled, rest


def draw_by_file(n: int, test: int, *, pool: int, unlabelled: int) -> tuple[list, list]:
    """The same as drawn for DBPedia and Yelp, from one training file of `n` lines.

    Each file was shuffled from the same seed, `test` lines last, and two copies of the training
    file after that.
    """
    order = list(range(n))
    np.random.RandomState(SEED).shuffle(order)
    rng = np.random.RandomState(SEED)
    rng.shuffle(list(range(test)))
    labelled, rest = list(order), list(order)
    rng.shuffle(labelled)
    rng.shuffle(rest)
    return labelled[:pool], rest[:unlabelled]

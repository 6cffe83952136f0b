"""Sentences packed into the sequences of a masked language model (spec §11.1)."""

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from jaxsdgm.data.bert_tokenizers import CLS, PAD, SEP


def pack(
    sentences: Iterable[Sequence[int]], *, max_length: int, short_share: float, seed: int
) -> dict[str, np.ndarray]:
    """Sequences `[CLS] A [SEP] B [SEP]` of consecutive sentences, as many as there is room for.

    A and B are cut apart between two sentences; a sentence that fills a sequence alone has no B.
    Since pretraining text is shuffled, any B is as good as the random one that the paper's code
    takes half of the time, and without a loss on B nothing would tell them apart.

    Args:
      sentences: ids without special ones; empty ones are passed over, long ones are cut.
      max_length: ids of a sequence, special ones included.
      short_share: of the sequences that aim at a random smaller length instead.
      seed: of lengths and cuts.

    Returns:
      ids `[n, t]`, lengths `[n]` and second `[n]`, the place where B begins (lengths without B).
    """
    rng, room = random.Random(seed), max_length - 3
    flat, lengths, seconds = array("i"), array("i"), array("i")
    for group in _groups(sentences, room, short_share, rng):
        cut = rng.randrange(1, len(group)) if len(group) > 1 else 1
        first, second = ([i for part in side for i in part] for side in (group[:cut], group[cut:]))
        row = [CLS, *first, SEP, *(second + [SEP] if second else [])]
        lengths.append(len(row))
        seconds.append(len(first) + 2)
        flat.extend(row + [PAD] * (max_length - len(row)))
    found = {"lengths": np.array(lengths, np.int32), "second": np.array(seconds, np.int32)}
    ids = np.array(flat, np.int32).reshape(-1, max_length)
    return {"ids": ids[:, : max(lengths, default=0)], **found}


def _groups(
    sentences: Iterable[Sequence[int]], room: int, short_share: float, rng: random.Random
) -> Iterator[list[Sequence[int]]]:
    """Sentences that share a sequence."""
    aim = lambda: rng.randint(2, room) if rng.random() < short_share else room
    group: list[Sequence[int]] = []
    wanted, size = aim(), 0
    for sentence in sentences:
        sentence = sentence[:room]
        if group and size + len(sentence) > wanted:
            yield group
            group, wanted, size = [], aim(), 0
        if sentence:
            group.append(sentence)
            size += len(sentence)
    if group:
        yield group


def join(parts: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Sequences of several languages below each other."""
    parts = list(parts)
    width = max(part["ids"].shape[1] for part in parts)
    wide = lambda x: np.pad(x, ((0, 0), (0, width - x.shape[1])), constant_values=PAD)
    ids = np.concatenate([wide(part["ids"]) for part in parts])
    rest = {name: np.concatenate([part[name] for part in parts]) for name in ("lengths", "second")}
    return {"ids": ids, **rest}

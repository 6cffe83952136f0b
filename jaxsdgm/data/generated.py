"""A small made-up corpus: invented languages that share topics, for tests and for want of text.

All languages express the same concepts, each in its own spelling. A concept is common or
belongs to a topic; a document draws from both by Zipf's law, and from other topics by the way.
The same arguments give the same bytes everywhere: only Python's `random` is used.
"""

import random
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path

import numpy as np

from jaxsdgm.data.documents import Corpus, Documents, write_text

TOPICS = ("HARBOUR", "KITCHEN", "ORCHARD", "THEATRE")
_COMMON, _PER_TOPIC = 400, 250  # concepts
_ON_TOPIC, _OFF_TOPIC = 0.13, 0.10  # share of the words from the document's topic, from any
_WORDS = 40, 90  # a document's length, from and to
_SENTENCE = 6, 24


def generate(
    language: str,
    *,
    train: int = 400,
    dev: int = 200,
    test: int = 400,
    unlabelled: int = 0,
    seed: int = 0,
) -> Corpus:
    """Documents of one invented language in four equal topics.

    Args:
      language: any name; each has its own spelling, and "en" is not English.
      train, dev, test, unlabelled: documents of each split; none makes no such split.
      seed: another one gives other documents of the same languages.
    """
    splits = {}
    sizes = {"train": train, "dev": dev, "test": test, "unlabelled": unlabelled}
    for split, size in sizes.items():
        rng = random.Random(f"{seed} {language} {split}")
        labels = [i % len(TOPICS) for i in range(size)]
        rng.shuffle(labels)
        texts = tuple(_text(_concepts(topic, _WORDS, rng), language) for topic in labels)
        known = None if split == "unlabelled" else np.array(labels, np.int32)
        if size:
            splits[split] = Documents(texts, known)
    source = f"generated text of the invented language {language!r} (seed {seed})"
    return Corpus(language, TOPICS, splits, source)


def write_pretraining(
    directory: str | Path, languages: Sequence[str], *, sentences: int = 20_000, seed: int = 0
) -> None:
    """Writes `generated.<a>-<b>.{a,b}`: aligned sentences of two languages, one a line."""
    rng = random.Random(f"{seed} sentences")
    meanings = [_concepts(rng.randrange(len(TOPICS)), _SENTENCE, rng) for _ in range(sentences)]
    Path(directory).mkdir(parents=True, exist_ok=True)
    for language in languages:
        text = "".join(_text(meaning, language) + "\n" for meaning in meanings)
        write_text(Path(directory) / f"generated.{'-'.join(languages)}.{language}", text)


def _concepts(topic: int, length: tuple[int, int], rng: random.Random) -> list[int]:
    """Concept numbers: common ones first, then those of each topic."""
    common, topical = _zipf(_COMMON), _zipf(_PER_TOPIC)
    drawn = []
    for _ in range(rng.randint(*length)):
        chance = rng.random()
        if chance >= _ON_TOPIC + _OFF_TOPIC:
            drawn += rng.choices(range(_COMMON), cum_weights=common)
            continue
        of = topic if chance < _ON_TOPIC else rng.randrange(len(TOPICS))
        first = _COMMON + of * _PER_TOPIC
        drawn += rng.choices(range(first, first + _PER_TOPIC), cum_weights=topical)
    return drawn


@cache
def _zipf(n: int) -> list[float]:
    """Cumulative weights 1 / (rank + 5): Zipf's law with Mandelbrot's flattened head."""
    return list(accumulate(1 / (rank + 5) for rank in range(n)))


@cache
def _spelling(language: str) -> list[str]:
    """One word for every concept, all distinct, from syllables that the language prefers."""
    rng = random.Random(f"spelling of {language}")
    onsets = rng.sample(["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"], 10)
    vowels = rng.sample(["a", "e", "i", "o", "u", "ai", "ou", "ei"], 5)
    codas = ["", "", *rng.sample(["n", "r", "s", "l", "m", "t"], 3)]
    found: dict[str, None] = {}
    while len(found) < _COMMON + len(TOPICS) * _PER_TOPIC:
        syllables = rng.choice((1, 2, 2, 3))
        word = "".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(syllables))
        found[word + rng.choice(codas)] = None
    return rng.sample(list(found), len(found))


def _text(concepts: Sequence[int], language: str) -> str:
    """Spells the concepts out, with a capital and a full stop for the look of it."""
    return " ".join(_spelling(language)[concept] for concept in concepts).capitalize() + "."

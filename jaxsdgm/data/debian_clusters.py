"""Which packages belong together, and in which split: leak control for the Debian corpus.

A cluster is a set of sources whose English descriptions are near-duplicates. The split is a
hash of the cluster's name, hence the same in every language and on every machine.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import NamedTuple, TypeVar

from jaxsdgm.data.apt_lists import Archive, Package
from jaxsdgm.data.debian_descriptions import Description, names_of
from jaxsdgm.data.debian_text import mask

T = TypeVar("T")

TRAIN_FRACTION, DEV_FRACTION = 0.45, 0.15
#: Share of the smaller text's word 4-grams that makes two texts near-duplicates.
NEAR = 0.4
#: A 4-gram of more texts than this is a phrase of the language, not a sign of copying.
COMMON = 40

_SALT = "jaxsdgm-debian-1:"


class Source(NamedTuple):
    """A source package: its label, and its binary packages in order of preference."""

    label: str
    packages: list[Package]


def unit_hash(text: str) -> float:
    """A number in [0, 1) from a text, the same on every machine."""
    return int.from_bytes(hashlib.sha256((_SALT + text).encode()).digest()[:7], "big") / 2**56


def hash_order(items: Iterable[T], key: Callable[[T], str]) -> list[T]:
    """Sorts by a hash of the key: deterministic, and unrelated to the alphabet."""
    return sorted(items, key=lambda item: (unit_hash(key(item)), key(item)))


def split_of(cluster: str) -> str:
    """`train`, `dev` or `test`, by the hash of the cluster's name."""
    value = unit_hash("split:" + cluster)
    if value < TRAIN_FRACTION:
        return "train"
    return "dev" if value < TRAIN_FRACTION + DEV_FRACTION else "test"


def four_grams(words: Sequence[str]) -> set[str]:
    """Runs of four words; of a shorter text, the whole."""
    return {" ".join(words[i : i + 4]) for i in range(max(1, len(words) - 3))}


class _Sets:
    """Disjoint sets of names; a set is called by its alphabetically first member."""

    def __init__(self, names: Iterable[str]) -> None:
        self.parent = {name: name for name in names}

    def find(self, name: str) -> str:
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def join(self, one: str, two: str) -> None:
        first, second = sorted((self.find(one), self.find(two)))
        self.parent[second] = first


def _similar(grams: Sequence[set[str]]) -> Iterator[tuple[int, int]]:
    """Pairs of texts, by position, that share at least NEAR of the smaller one's 4-grams."""
    index: dict[str, list[int]] = defaultdict(list)
    for position, own in enumerate(grams):
        for gram in own:
            index[gram].append(position)
    telling = (positions for positions in index.values() if 2 <= len(positions) <= COMMON)
    shared = Counter(chain.from_iterable(combinations(positions, 2) for positions in telling))
    for (one, two), count in shared.items():
        if count >= NEAR * min(len(grams[one]), len(grams[two])):
            yield one, two


def clusters(
    sources: Mapping[str, Source],
    english: Mapping[str, Description],
    *,
    archive: Archive,
    strict: bool,
) -> dict[str, str]:
    """The cluster of every source, by name: sources joined when any two of their texts are near.

    `strict` also joins sources that built the same binary package in different suites.
    """
    owners: list[str] = []
    grams: list[set[str]] = []
    for name, source in sources.items():
        for package in source.packages:
            description = english[package.md5]
            text = " ".join([description.short, *description.kept])
            names = names_of(archive.packages[package.md5])
            owners.append(name)
            grams.append(four_grams(mask(text, names).split()))
    sets = _Sets(sources)
    for one, two in _similar(grams):
        sets.join(owners[one], owners[two])
    if strict:
        first: dict[str, str] = {}
        for name, source in sources.items():
            for package in source.packages:
                sets.join(first.setdefault(package.name, name), name)
    return {name: sets.find(name) for name in sources}

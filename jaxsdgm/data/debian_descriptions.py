"""The descriptions of one language, parsed, and what of each is worth reading."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jaxsdgm.data.apt_lists import Archive, Package
from jaxsdgm.data.debian_text import mask, paragraphs

#: A block found in this many sources says nothing about its package.
BOILERPLATE = 6

_PREFIX = re.compile(r"^(python3?|lib|ruby|php)-?")


class Description(NamedTuple):
    """A parsed description.

    `title` and `paragraphs` are as written; `short` is the title unless it was left in English,
    `kept` the blocks that are neither boilerplate nor left in English, and `english_share` the
    share of the long text's characters that was left in English.
    """

    title: str
    paragraphs: list[list[str]]
    short: str
    kept: list[str]
    english_share: float


def sources_of(packages: Iterable[Package]) -> set[str]:
    """The names of the source packages."""
    return {package.source for package in packages}


def names_of(packages: Iterable[Package]) -> list[str]:
    """The names by which a description may call its package, the longest first."""
    packages = list(packages)
    names = {package.name for package in packages} | sources_of(packages)
    names |= {_PREFIX.sub("", name) for name in names}
    return sorted(names, key=lambda name: (-len(name), name))


def _masked(archive: Archive, md5: str, blocks: list[str]) -> list[str]:
    names = names_of(archive.packages[md5])
    return [mask(block, names) for block in blocks]


def _boilerplate(archive: Archive, masks: Mapping[str, list[str]]) -> set[str]:
    """The masked blocks that descriptions of `BOILERPLATE` sources or more have in common."""
    seen: dict[str, set[str]] = defaultdict(set)
    for md5, blocks in masks.items():
        sources = sources_of(archive.packages[md5])
        for block in blocks:
            seen[block] |= sources
    return {block for block, sources in seen.items() if len(sources) >= BOILERPLATE}


def _flatten(long: list[list[str]]) -> list[str]:
    return [block for paragraph in long for block in paragraph]


def _english_text(english: Description | None) -> set[str]:
    """What marks a translation as left in English when it occurs there; short blocks may agree."""
    if english is None:
        return set()
    blocks = _flatten(english.paragraphs)
    return {block for block in blocks if len(block.split()) > 3} | {english.title}


def _description(
    title: str, long: list[list[str]], dull: list[bool], foreign: set[str]
) -> Description:
    blocks = _flatten(long)
    kept = [b for b, skip in zip(blocks, dull, strict=True) if not skip and b not in foreign]
    english = sum(len(block) for block in blocks if block in foreign)
    share = english / max(sum(map(len, blocks)), 1)
    return Description(title, long, "" if title in foreign else title, kept, share)


def parse_descriptions(
    archive: Archive, language: str, *, english: Mapping[str, Description] | None = None
) -> dict[str, Description]:
    """Parses every description of a language that belongs to a package, in order of md5.

    Args:
      archive: what `read_lists` returned.
      language: one of the archive's languages.
      english: the English descriptions, when `language` is another one: text equal to them is
        no translation.
    """
    originals = archive.texts["en"] if english is not None else {}
    texts = archive.texts[language]
    parsed = {
        md5: paragraphs(texts[md5])
        for md5 in sorted(archive.packages.keys() & texts.keys())
        if texts[md5] != originals.get(md5)
    }
    masks = {md5: _masked(archive, md5, _flatten(long)) for md5, (_, long) in parsed.items()}
    boilerplate = _boilerplate(archive, masks)
    result = {}
    for md5, (title, long) in parsed.items():
        foreign = _english_text((english or {}).get(md5))
        dull = [masked in boilerplate for masked in masks[md5]]
        result[md5] = _description(title, long, dull, foreign)
    return result

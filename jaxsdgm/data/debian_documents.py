"""Labelled documents from descriptions: at most one a cluster, none a near-copy of another."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from jaxsdgm.data.apt_lists import Archive, Package, suite_rank
from jaxsdgm.data.debian_clusters import COMMON, NEAR, Source, four_grams, hash_order
from jaxsdgm.data.debian_descriptions import Description
from jaxsdgm.data.debian_text import digits_to_zero, join_lines, looks_like, tokens

#: Label -> the archive's sections that bear it.
CLASSES: dict[str, tuple[str, ...]] = {
    "DEVEL": ("devel", "interpreters", "vcs", "java", "python", "ruby", "lisp", "php"),
    "GAMES": ("games",),
    "MEDIA": ("sound", "video", "graphics"),
    "NET": ("net", "web", "mail", "comm", "httpd", "news"),
}
LABEL_OF = {section: label for label, sections in CLASSES.items() for section in sections}
#: A document has at least so many tokens.
MIN_TOKENS = 15
#: A document ends with the block that takes it past this many tokens.
MAX_TOKENS = 400
#: A translation more of which than this is still English is none.
MAX_ENGLISH = 0.3
#: The largest class of a file has at most so many times the documents of the smallest.
SKEW = 1.5

#: Packages that repeat the description of the one they accompany.
_SIBLING = re.compile(
    r"-(dev|dbg|dbgsym|doc|docs|data|common|examples?|demos?|source|headers|l10n.*|"
    r"locales?.*|i18n|tests?|udeb|all|doc-[a-z]{2})$"
)
_EMPTY = re.compile(
    r"transitional|dummy package|empty package|meta-?package|debug symbols", re.IGNORECASE
)
_ENDED = re.compile(r"[.!?:;。！？：；]$")


class Document(NamedTuple):
    """One labelled text; `md5` is that of the English description."""

    md5: str
    package: str
    source: str
    label: str
    text: str
    cluster: str


def _preference(package: Package) -> tuple[bool, int, str, tuple[int, str], str]:
    """Sort key: the package named like its source first, then the shortest name, newest suite."""
    name = package.name
    return (name != package.source, len(name), name, suite_rank(package.suite), package.md5)


def _same_label(packages: Sequence[Package]) -> Source:
    """Those packages with the first one's label, one a description."""
    label = LABEL_OF[packages[0].section]
    unique: dict[str, Package] = {}
    for package in packages:
        if LABEL_OF[package.section] == label:
            unique.setdefault(package.md5, package)
    return Source(label, list(unique.values()))


def labelled_sources(archive: Archive, english: Mapping[str, Description]) -> dict[str, Source]:
    """The sources that have a label and a package worth reading, by name in alphabetical order."""
    groups: dict[str, list[Package]] = defaultdict(list)
    for package in chain.from_iterable(archive.packages.values()):
        if (
            package.section in LABEL_OF
            and package.md5 in english
            and not _SIBLING.search(package.name)
            and not _EMPTY.search(archive.texts["en"][package.md5])
        ):
            groups[package.source].append(package)
    return {name: _same_label(sorted(groups[name], key=_preference)) for name in sorted(groups)}


def document_text(description: Description, language: str) -> str | None:
    """The short line and the kept blocks as one line of text, or None when it is no document.

    It is none with less than `MIN_TOKENS` tokens, with nothing but a short line, or when it is
    not in its language. Each block ends with a full stop, if it had no other end.
    """
    if description.english_share > MAX_ENGLISH or not description.kept:
        return None
    stop = "。" if language.startswith(("zh", "ja")) else "."
    text, length = "", 0
    for block in filter(None, [description.short, *description.kept]):
        if length > MAX_TOKENS:
            break
        text = join_lines(text, block if _ENDED.search(block) else block + stop)
        length += len(tokens(block))
    return text if length >= MIN_TOKENS and looks_like(language, text) else None


def _first_document(
    source: Source, descriptions: Mapping[str, Description], *, language: str, cluster: str
) -> Document | None:
    for package in source.packages:
        description = descriptions.get(package.md5)
        text = description and document_text(description, language)
        if text:
            return Document(package.md5, package.name, package.source, source.label, text, cluster)
    return None


def without_near_duplicates(documents: Iterable[Document]) -> list[Document]:
    """Drops every document that repeats an earlier one: shares NEAR of the smaller's 4-grams."""
    index: dict[str, list[int]] = {}
    sizes: list[int] = []
    kept: list[Document] = []
    for document in documents:
        grams = four_grams(tokens(digits_to_zero(document.text)))
        hits = Counter(chain.from_iterable(index.get(gram, ()) for gram in grams))
        if any(n >= NEAR * min(len(grams), sizes[i]) for i, n in hits.items()):
            continue
        for gram in grams:
            places = index.setdefault(gram, [])
            if len(places) < COMMON:
                places.append(len(kept))
        sizes.append(len(grams))
        kept.append(document)
    return kept


def pick_documents(
    descriptions: Mapping[str, Description],
    *,
    language: str,
    sources: Mapping[str, Source],
    cluster_of: Mapping[str, str],
) -> list[Document]:
    """One document a cluster, in hash order, near-duplicates left out.

    Args:
      descriptions: those of `language`, by md5.
      language: as in the archive.
      sources: what `labelled_sources` returned.
      cluster_of: name of the source -> name of its cluster.
    """
    found: dict[str, Document] = {}
    for name in hash_order(sources, key=lambda name: "pick:" + name):
        cluster = cluster_of[name]
        if cluster not in found:
            document = _first_document(
                sources[name], descriptions, language=language, cluster=cluster
            )
            if document:
                found[cluster] = document
    ranked = hash_order(found.values(), key=lambda document: "rank:" + document.cluster)
    return without_near_duplicates(ranked)


def _shares(room: Mapping[str, int], size: int) -> dict[str, int]:
    """Fills `size` places in turns, alphabetically, from classes with so much room each."""
    take = dict.fromkeys(room, 0)
    while sum(take.values()) < size:
        open_labels = [label for label in sorted(take) if take[label] < room[label]]
        if not open_labels:
            break
        take[min(open_labels, key=lambda label: take[label])] += 1
    return take


def balanced(pool: Iterable[Document], size: int) -> list[Document]:
    """Up to `size` documents, no class larger than SKEW times the smallest, in hash order."""
    by_label: dict[str, list[Document]] = {label: [] for label in CLASSES}
    for document in pool:
        by_label[document.label].append(document)
    cap = int(SKEW * min(map(len, by_label.values())))
    take = _shares({label: min(len(docs), cap) for label, docs in by_label.items()}, size)
    chosen = [doc for label, docs in by_label.items() for doc in docs[: take[label]]]
    return hash_order(chosen, key=lambda doc: "line:" + doc.cluster + doc.md5)

"""Debian's package descriptions and their translations as an open multilingual corpus.

    python -m jaxsdgm.data.debian --out DIR [--lists DIR | --state DIR] [--suites bookworm ...]

writes what MLDoc and Europarl would hold, from the lists that apt keeps of its archive:

  cls/<language>.{train.1000,dev,test}   `LABEL<TAB>text`; the label is the archive's section
  cls/<language>.rest                    the train documents that train.1000 did not take
  cls/<language>.ids                     file, line from 0, package, source and md5 of each document
  pretrain/debian.<xx>-en.{xx,en}        line-aligned sentence pairs
  pretrain/debian.mono.<xx>              sentences of one language
  stats.json, STATISTICS.md              counts, and digests of the lists read

The same lists and options give the same bytes. No source of a dev or test cluster, and no sentence
of a dev or test document, is in the pretraining text.
"""

import argparse
import json
import logging
import lzma
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxsdgm.data.apt import fetch_lists
from jaxsdgm.data.apt_lists import Archive, read_lists
from jaxsdgm.data.debian_clusters import DEV_FRACTION, TRAIN_FRACTION, clusters, split_of
from jaxsdgm.data.debian_descriptions import Description, parse_descriptions, sources_of
from jaxsdgm.data.debian_documents import (
    CLASSES,
    Document,
    balanced,
    labelled_sources,
    pick_documents,
)
from jaxsdgm.data.debian_pretraining import HeldOut, sentence_pairs, single_sentences
from jaxsdgm.data.debian_statistics import class_counts, describe, markdown, vocabulary
from jaxsdgm.errors import UserError

log = logging.getLogger(__name__)

#: The archive's name of a language -> that of its files, as MLDoc has them.
LANGUAGES = {
    "en": "english",
    "de": "german",
    "fr": "french",
    "ru": "russian",
    "zh_CN": "chinese",
    "it": "italian",
    "ja": "japanese",
    "es": "spanish",
    "da": "danish",
}
#: Documents of each file, at most.
SIZES = {"train.1000": 1000, "dev": 1000, "test": 4000}

Descriptions = Mapping[str, Description]


class _Writer:
    """Writes the files below one directory, as .xz if asked."""

    def __init__(self, folder: Path, *, compress: bool) -> None:
        self.folder, self.compress = folder, compress

    def lines(self, name: str, lines: Iterable[str]) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        data = "".join(line + "\n" for line in lines).encode()
        if self.compress:
            path = path.with_name(path.name + ".xz")
            data = lzma.compress(data, format=lzma.FORMAT_XZ, preset=6)
        path.write_bytes(data)


def _files(documents: Sequence[Document]) -> dict[str, list[Document]]:
    """The documents of each file of one language: balanced splits, and the rest of train."""
    pools: dict[str, list[Document]] = {"train": [], "dev": [], "test": []}
    for document in documents:
        pools[split_of(document.cluster)].append(document)
    files = {name: balanced(pools[name.split(".")[0]], size) for name, size in SIZES.items()}
    used = {document.md5 for document in files["train.1000"]}
    return files | {"rest": [doc for doc in pools["train"] if doc.md5 not in used]}


def _language_statistics(
    documents: Sequence[Document], files: Mapping[str, Sequence[Document]], translated: int
) -> dict[str, Any]:
    return {
        "pool": len(documents),
        "pool_per_class": class_counts(documents),
        "translated_descriptions": translated,
        "files": {name: describe(files[name]) for name in SIZES},
        "vocabulary_train.1000": vocabulary(doc.text for doc in files["train.1000"]),
        "vocabulary_all": vocabulary(doc.text for doc in documents),
        "rest_documents": len(files["rest"]),
    }


def _write_documents(
    documents: Sequence[Document], write: _Writer, *, name: str, translated: int
) -> dict[str, Any]:
    """Writes the classification files of one language; returns its statistics."""
    files = _files(documents)
    ids: list[str] = []
    for part, chosen in files.items():
        write.lines(f"cls/{name}.{part}", (f"{doc.label}\t{doc.text}" for doc in chosen))
        ids += [f"{part}\t{i}\t{d.package}\t{d.source}\t{d.md5}" for i, d in enumerate(chosen)]
    write.lines(f"cls/{name}.ids", ids)
    log.info("%s: %s", name, ", ".join(f"{len(docs)} {part}" for part, docs in files.items()))
    return _language_statistics(documents, files, translated)


def _write_pretraining(
    parsed: Mapping[str, Descriptions],
    write: _Writer,
    *,
    banned: set[str],
    held_out: Mapping[str, HeldOut],
) -> dict[str, Any]:
    """Writes the pairs of every parsed language with English, and the sentences of each."""
    statistics: dict[str, Any] = {}
    for language in [code for code in parsed if code != "en"]:
        pairs = sentence_pairs(
            parsed[language],
            english=parsed["en"],
            banned=banned,
            held_out=held_out[language],
            held_out_english=held_out["en"],
        )
        ones, twos = [one for one, _ in pairs], [two for _, two in pairs]
        write.lines(f"pretrain/debian.{language}-en.{language}", ones)
        write.lines(f"pretrain/debian.{language}-en.en", twos)
        sides = {language: vocabulary(ones), "en": vocabulary(twos)}
        statistics[f"{language}-en"] = {"pairs": len(pairs), **sides}
        log.info("%s-en: %d sentence pairs", language, len(pairs))
    for language, descriptions in parsed.items():
        lines = single_sentences(descriptions, banned=banned, held_out=held_out[language])
        write.lines(f"pretrain/debian.mono.{language}", lines)
        statistics[f"mono.{language}"] = {"sentences": len(lines), **vocabulary(lines)}
        log.info("%s: %d sentences", language, len(lines))
    return statistics


def _build(
    archive: Archive,
    write: _Writer,
    *,
    languages: Sequence[str],
    pretrain: Sequence[str],
    strict: bool,
) -> dict[str, Any]:
    """Writes every file but the statistics, which are returned."""
    english = parse_descriptions(archive, "en")
    sources = labelled_sources(archive, english)
    cluster_of = clusters(sources, english, archive=archive, strict=strict)
    log.info("%d sources in %d clusters", len(sources), len(set(cluster_of.values())))
    per_language: dict[str, Any] = {}
    parsed: dict[str, Descriptions] = {}
    held_out: dict[str, HeldOut] = {}
    for code in languages:
        own = english if code == "en" else parse_descriptions(archive, code, english=english)
        documents = pick_documents(own, language=code, sources=sources, cluster_of=cluster_of)
        name = LANGUAGES[code]
        per_language[name] = _write_documents(documents, write, name=name, translated=len(own))
        if pretrain and code in ("en", *pretrain):
            unseen = [doc for doc in documents if split_of(doc.cluster) != "train"]
            parsed[code], held_out[code] = own, HeldOut(unseen, strict=strict)
    closed = {name for name, cluster in cluster_of.items() if split_of(cluster) != "train"}
    banned = {md5 for md5, found in archive.packages.items() if sources_of(found) & closed}
    parsed = {code: parsed[code] for code in dict.fromkeys(["en", *pretrain]) if code in parsed}
    texts = _write_pretraining(parsed, write, banned=banned, held_out=held_out)
    return {
        "classes": {label: list(sections) for label, sections in CLASSES.items()},
        "sources_in_classes": len(sources),
        "clusters": len(set(cluster_of.values())),
        "inputs_sha256": archive.inputs,
        "split_fractions": {"train": TRAIN_FRACTION, "dev": DEV_FRACTION},
        "languages": per_language,
        "pretraining": texts,
    }


def _check(languages: Sequence[str], pretrain: Sequence[str]) -> None:
    for language in languages:
        if language not in LANGUAGES:
            raise UserError(f"language {language!r}: expected one of {', '.join(LANGUAGES)}")
    if "en" not in languages:
        raise UserError("languages: 'en' is missing, by which the descriptions are identified")
    for language in pretrain:
        if language == "en" or language not in languages:
            raise UserError(f"pretrain {language!r}: expected one of the languages other than 'en'")


@contextmanager
def _whole_or_nothing(out: Path) -> Iterator[Path]:
    """A directory beside `out` that becomes `out` if the block succeeds, and else is removed.

    Whatever a killed process left of it is removed first.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: exists already; remove it or name another directory")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def build_corpus(
    out: str | Path,
    *,
    lists: str | Path | None = None,
    state: str | Path | None = None,
    suites: Sequence[str] = (),
    languages: Sequence[str] = ("en", "de", "fr", "ru", "zh_CN"),
    pretrain: Sequence[str] = ("de", "fr"),
    strict: bool = False,
    compress: bool = False,
    timeout: float = 600.0,
) -> dict[str, Any]:
    """Makes the corpus in a new directory, which appears whole or not at all.

    Args:
      out: the directory to make; it must be absent or empty.
      lists: directory of apt's list files; None fetches them.
      state: where apt-get keeps what it fetches, for later runs; None forgets it.
      suites: releases to fetch, such as `bookworm`; none means the machine's own.
      languages: as the archive names them (see LANGUAGES); English is needed.
      pretrain: languages to pair with English.
      strict: also keeps every binary package in one split, and out of the pretraining text the
        sentences of which half the word 8-grams are in a dev or test document.
      compress: write .xz files.
      timeout: seconds that fetching may take.

    Returns:
      The statistics, as in stats.json.

    Raises UserError when apt-get is absent, fails or reaches no archive, when a list is missing or
    damaged, and when `out` exists.
    """
    out = Path(out).absolute()
    _check(languages, pretrain)
    with _whole_or_nothing(out) as folder:
        if lists is None:
            private = Path(state) if state else folder / ".apt"
            lists = fetch_lists(private, suites=suites, languages=languages, timeout=timeout)
        archive = read_lists(Path(lists), languages)
        shutil.rmtree(folder / ".apt", ignore_errors=True)
        log.info("read %d descriptions", len(archive.packages))
        write = _Writer(folder, compress=compress)
        statistics = _build(archive, write, languages=languages, pretrain=pretrain, strict=strict)
        text = json.dumps(statistics, indent=1, ensure_ascii=False) + "\n"
        (folder / "stats.json").write_text(text, encoding="utf-8")
        (folder / "STATISTICS.md").write_text(markdown(statistics), encoding="utf-8")
    return statistics


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m jaxsdgm.data.debian", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="directory to make")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--lists", type=Path, help="directory of apt list files; default: fetch")
    where.add_argument("--state", type=Path, help="private directory to fetch into and to keep")
    parser.add_argument("--suites", nargs="+", default=[], help="default: the machine's own")
    parser.add_argument("--languages", nargs="+", default=["en", "de", "fr", "ru", "zh_CN"])
    parser.add_argument("--pretrain", nargs="*", default=["de", "fr"], help="paired with English")
    parser.add_argument("--strict", action="store_true", help="close the last known leaks")
    parser.add_argument("--compress", action="store_true", help="write .xz files")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, 2 when the user can mend what went wrong."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        print(markdown(build_corpus(**vars(_arguments(argv)))))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

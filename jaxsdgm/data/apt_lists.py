"""Apt's list files read as packages and translated descriptions."""

import bz2
import gzip
import hashlib
import lzma
import os
import re
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple

from jaxsdgm.errors import UserError

#: Newest first: a description's metadata come from the first suite that has it.
SUITE_ORDER = ("sid", "forky", "trixie", "bookworm", "bullseye")

_LIST_NAME = re.compile(
    r"_dists_(?P<suite>[^_]+)_(?P<component>main|universe)_"
    r"(?:binary-[^_]+_Packages|i18n_Translation-(?P<language>[A-Za-z_%0-9]+?))"
    r"(?:\.(?:lz4|gz|xz|bz2|zst))?$"
)
_APT_HELPER = "/usr/lib/apt/apt-helper"
_UNREADABLE = (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError, zlib.error)


class Package(NamedTuple):
    """What a package index says of one description; `md5` is that of the English text."""

    md5: str
    name: str
    source: str
    section: str
    suite: str


@dataclass(frozen=True)
class Archive:
    """Packages by md5, texts by language and md5, and the SHA-256 of what was read of each list."""

    packages: dict[str, list[Package]] = field(default_factory=dict)
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)


def suite_rank(suite: str) -> tuple[int, str]:
    """Sort key of suites: the newest first, unknown ones last and by name."""
    return (SUITE_ORDER.index(suite) if suite in SUITE_ORDER else len(SUITE_ORDER), suite)


def _decompressed(path: Path) -> Iterator[str]:
    """Lines of a file in a format that only apt's helper (or the lz4 program) can open."""
    helper = [_APT_HELPER, "cat-file"] if os.path.exists(_APT_HELPER) else ["lz4", "-dc"]
    command = [*helper, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        yield from process.stdout
    if process.returncode:
        raise OSError(f"{command[0]} exits with {process.returncode}")


def _lines(path: Path) -> Iterator[str]:
    """Lines of a list file, whatever its compression."""
    openers: dict[str, Callable[..., IO[Any]]] = {
        ".gz": gzip.open,
        ".xz": lzma.open,
        ".bz2": bz2.open,
    }
    try:
        if path.suffix in (".lz4", ".zst"):
            yield from _decompressed(path)
        else:
            with openers.get(path.suffix, open)(path, "rt", encoding="utf-8") as lines:
                yield from lines
    except _UNREADABLE as error:
        raise UserError(f"{path}: not a readable apt list ({error}); fetch it again") from error


def _record(path: Path, lines: Iterable[tuple[int, str]]) -> dict[str, str]:
    """The fields of one paragraph of an index; continuation lines keep their newlines."""
    record: dict[str, str] = {}
    key = ""
    for number, line in lines:
        if line[0] in " \t" and key:
            record[key] += "\n" + line.rstrip("\n")
            continue
        key, colon, value = line.partition(":")
        if not colon or not key:
            raise UserError(f"{path}:{number}: expected 'Field: value'; fetch this apt list again")
        record[key] = value.strip()
    return record


def records(path: Path) -> Iterator[dict[str, str]]:
    """Yields the records of a list file that have a Description-md5.

    Raises UserError, naming the line, when one is neither a field nor a continuation.
    """
    numbered = enumerate(_lines(path), 1)
    for blank, lines in groupby(numbered, key=lambda pair: pair[1] == "\n"):
        if not blank:
            record = _record(path, lines)
            if "Description-md5" in record:
                yield record


def _add_packages(archive: Archive, path: Path, suite: str) -> str:
    digest = hashlib.sha256()
    for record in records(path):
        md5, name = record["Description-md5"], record.get("Package", "")
        if not name:
            raise UserError(f"{path}: no Package field beside {md5}; fetch this apt list again")
        source = record.get("Source", name).split()[0]
        section = record.get("Section", "").split("/")[-1]
        archive.packages.setdefault(md5, []).append(Package(md5, name, source, section, suite))
        digest.update(f"{name}\0{md5}\0{section}\n".encode())
    return digest.hexdigest()


def _add_texts(archive: Archive, path: Path, language: str) -> str:
    digest = hashlib.sha256()
    store, wanted = archive.texts[language], f"Description-{language}"
    for record in records(path):
        if text := record.get(wanted):
            store.setdefault(record["Description-md5"], text)
            digest.update(f"{record['Description-md5']}\0{text}\n".encode())
    return digest.hexdigest()


class _ListFile(NamedTuple):
    """Sorts by suite, newest first, then language (package indices first), then path."""

    rank: tuple[int, str]
    language: str
    path: Path
    name: str


def _list_files(lists: Path) -> list[_ListFile]:
    """The package indices and translations in a directory; update suites repeat the main ones."""
    if not lists.is_dir():
        raise UserError(f"{lists}: not a directory; give one that holds apt's list files")
    found = []
    for path in lists.iterdir():
        match = _LIST_NAME.search(path.name)
        if match and not re.search("-security|-updates", path.name) and path.is_file():
            language = re.sub("%5f", "_", match["language"] or "", flags=re.IGNORECASE)
            component = "" if match["component"] == "main" else match["component"] + "/"
            kind = f"Translation-{language}" if language else "Packages"
            name = f"{match['suite']}/{component}{kind}"
            found.append(_ListFile(suite_rank(match["suite"]), language, path, name))
    return sorted(found)


def read_lists(lists: Path, languages: Sequence[str]) -> Archive:
    """Reads every package index, and the translations into `languages`, of a directory.

    Raises UserError when the directory holds no package index, when one of `languages` has no
    text, or when a file is damaged.
    """
    archive = Archive(texts={language: {} for language in languages})
    for file in _list_files(lists):
        if not file.language:
            archive.inputs[file.name] = _add_packages(archive, file.path, file.rank[1])
        elif file.language in archive.texts:
            archive.inputs[file.name] = _add_texts(archive, file.path, file.language)
    if not archive.packages:
        raise UserError(f"{lists}: no apt package index (*_dists_*_main_binary-*_Packages*) here")
    for language, texts in archive.texts.items():
        if not texts:
            raise UserError(
                f"{lists}: no description in {language} (*_i18n_Translation-{language}*); "
                "fetch that list or leave the language out"
            )
    return archive

"""What every source of text returns, and the strict readers that they share."""

import ast
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from jaxsdgm.errors import UserError

_OPENERS: dict[str, Callable] = {".xz": lzma.open, ".gz": gzip.open}


@dataclass(frozen=True)
class Documents:
    """Texts as they stand in the file, with one label each or none at all."""

    texts: tuple[str, ...]
    labels: np.ndarray | None = None  # [n] int32, index into Corpus.label_names

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Corpus:
    """Documents of one language in `train`, `dev`, `test` and perhaps `unlabelled`."""

    language: str
    label_names: tuple[str, ...]
    splits: Mapping[str, Documents]
    source: str
    warnings: tuple[str, ...] = ()

    def counts(self, split: str) -> list[int]:
        """Documents per class of a labelled split, in the order of `label_names`."""
        labels = self.splits[split].labels
        if labels is None:
            raise UserError(f"{self.source}: the documents of {split!r} have no labels")
        return np.bincount(labels, minlength=len(self.label_names)).tolist()


def find(path: str | Path) -> Path:
    """`path`, or its compressed form `path.xz` or `path.gz` where only that exists."""
    path = Path(path)
    forms = [path, *(path.with_name(path.name + suffix) for suffix in _OPENERS)]
    return next((form for form in forms if form.is_file()), path)


def open_text(path: str | Path) -> TextIO:
    """Opens a plain, .xz or .gz file as strict UTF-8; only `\\n` ends a line."""
    path = Path(path)
    opener = _OPENERS.get(path.suffix, open)
    try:
        return cast(TextIO, opener(path, "rt", encoding="utf-8", errors="strict", newline="\n"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the directory and the name") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from None


def read_lines(path: str | Path) -> Iterator[str]:
    """Yields the lines of a text file without their ends; a leading BOM is dropped.

    Raises:
      UserError: the file is missing, damaged, or not UTF-8 (the line is named).
    """
    with open_text(path) as stream:
        try:
            for number, line in enumerate(stream, 1):
                yield (line.removeprefix("\ufeff") if number == 1 else line).rstrip("\r\n")
        except UnicodeDecodeError:
            raise UserError(
                f"{path}:{_undecodable_line(path)}: invalid UTF-8; convert the file, "
                "for example with iconv -f latin1 -t utf-8"
            ) from None
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            raise UserError(f"{path}: damaged or cut short ({error}); get it again") from None


def _undecodable_line(path: str | Path) -> int:
    """A text stream decodes in blocks and cannot tell the line, so look once more in bytes."""
    path = Path(path)
    with _OPENERS.get(path.suffix, open)(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 0


def read_labelled_lines(
    path: str | Path, label_names: Sequence[str], *, aliases: Mapping[str, str] | None = None
) -> Documents:
    """Reads `LABEL<TAB>text` lines (plain, .xz or .gz), all of them or none.

    Args:
      path: the file, without the suffix of its compression.
      label_names: the labels in the order of their numbers.
      aliases: other spellings, each mapped to its name in `label_names`.

    Returns:
      Documents in file order, labels [n] int32. A text written as a bytes literal (`b'...'`,
      as MLDoc's own script does under Python 3) is turned back into text.

    Raises:
      UserError: a line has no tab, an unknown label or an empty text, or there is no line.
    """
    path, aliases = find(path), aliases or {}
    numbers = {name: number for number, name in enumerate(label_names)}
    numbers |= {alias: numbers[name] for alias, name in aliases.items()}
    texts, labels = [], []
    for place, line in enumerate(read_lines(path), 1):
        label, tab, text = line.partition("\t")
        if not tab:
            raise UserError(f"{path}:{place}: no tab; every line must be LABEL<TAB>text")
        if label not in numbers:
            known = ", ".join(numbers)
            raise UserError(f"{path}:{place}: unknown label {label!r}; known labels: {known}")
        text = _from_bytes_literal(text, f"{path}:{place}").strip()
        if not text:
            raise UserError(f"{path}:{place}: empty document; remove the line or give it a text")
        texts.append(text)
        labels.append(numbers[label])
    if not texts:
        raise UserError(f"{path}: empty split; expected lines of the form LABEL<TAB>text")
    return Documents(tuple(texts), np.array(labels, np.int32))


def _from_bytes_literal(text: str, place: str) -> str:
    """Undoes the `str(bytes)` of MLDoc's generate_documents.py; other text passes through."""
    if not (text[:2] in ("b'", 'b"') and len(text) > 2 and text[-1] == text[1]):
        return text
    try:
        return ast.literal_eval(text).decode("utf-8")
    except (ValueError, SyntaxError):
        raise UserError(
            f"{place}: the text looks like a Python bytes literal but is not one of valid UTF-8; "
            "write the documents as plain UTF-8"
        ) from None


def read_documents(path: str | Path) -> Documents:
    """Reads unlabelled text, one document a line; an empty line or file raises UserError."""
    path = find(path)
    texts = tuple(line.strip() for line in read_lines(path))
    if not texts:
        raise UserError(f"{path}: empty split; expected one document a line")
    if "" in texts:
        raise UserError(f"{path}:{texts.index('') + 1}: empty document; remove the line")
    return Documents(texts)


def write_text(path: str | Path, text: str) -> None:
    """Writes a whole file or none of it: a kill leaves the old file or the new one."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)

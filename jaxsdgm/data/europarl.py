"""Aligned corpora in Europarl's layout, prepared as the paper prepares them, line by line.

A pair is two files, `<name>.<pair>.<language>`, with one sentence a line, such as
`europarl-v7.de-en.de` and `europarl-v7.de-en.en` (plain, .xz or .gz).
"""

import json
import mmap
import os
import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from jaxsdgm.data.documents import find, read_lines, write_text
from jaxsdgm.data.tokenizers import normaliser as normaliser_of
from jaxsdgm.errors import UserError

PIVOT = "en"  # Europarl's other pairs all have English on one side.
_REPORT_EVERY = 20_000  # lines


@dataclass(frozen=True)
class PretrainText:
    """Normalised sentences of one language on disk: tokens joined by one space."""

    language: str
    train: Path
    dev: Path
    n_train: int
    n_dev: int
    lengths: tuple[tuple[int, int], ...]  # (tokens, training sentences that long), ascending

    def lines(self, split: str) -> Iterator[list[str]]:
        """Yields the tokens of each sentence of `train` or `dev`, in the order of the file."""
        path = {"train": self.train, "dev": self.dev}[split]
        return (line.split(" ") for line in read_lines(path))

    def percentile(self, q: float) -> int:
        """Length in tokens below which q % of the training sentences are, rounded down."""
        lengths, counts = np.array(self.lengths).T
        return int(np.percentile(np.repeat(lengths, counts), q))


def prepare(
    directory: str | Path,
    languages: tuple[str, str],
    out: str | Path,
    *,
    name: str = "europarl-v7",
    normaliser: str = "europarl",
    dev_lines: int = 13995,
    seed: int = 1234,
    aligned: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[str, PretrainText]:
    """Makes two pretraining corpora of one size, aligned no longer, out of aligned ones.

    Normalises both sides, drops a pair of which either side became empty, takes the same
    random lines of both for dev, cuts both to one size, and shuffles each by itself. Without
    a file pair of the two languages (de-fr in Europarl) each comes from its pair with English.

    Memory grows by a few dozen bytes a line, for its offset; the text itself stays on disk.

    Args:
      directory: where the pairs are.
      languages: two codes as in the file names.
      out: directory for `<language>.{train,dev}.txt` and `prepared.json`. If that says that
        the same files were prepared with the same settings, they are used as they are.
      name: first part of the file names: "europarl-v7", "debian", "generated".
      normaliser: key of `tokenizers.NORMALISERS`.
      dev_lines: sentences for dev, at most a tenth of all.
      seed: of Python's `random`, for the dev lines and the shuffles.
      aligned: shuffle both sides alike, so that equal lines stay each other's translation.
      progress: called now and then with the number of lines read.

    Returns:
      PretrainText by language.

    Raises:
      UserError: a pair is missing, its sides differ in lines, or a line is not UTF-8.
    """
    out, groups = Path(out), _sources(Path(directory), name, languages)
    files = sorted({(path.name, path.stat().st_size) for _, pair in groups for path in pair})
    settings = {
        "languages": list(languages),
        "normaliser": normaliser,
        "dev_lines": dev_lines,
        "seed": seed,
        "aligned": aligned,
        "files": [list(file) for file in files],
    }
    if aligned and len(groups) > 1:
        a, b = languages
        raise UserError(
            f"{directory}: no files {name}.{a}-{b}.{{{a},{b}}}, and sentence pairs need both "
            "languages of one corpus; choose two that are aligned with each other"
        )
    finished = _finished(out, settings)
    if finished:
        return finished
    out.mkdir(parents=True, exist_ok=True)
    (out / "prepared.json").unlink(missing_ok=True)  # It vouches for the files, so it comes last.
    kept = {}
    for members, pair in groups:
        kept |= _keep(members, pair, languages, out, normaliser=normaliser, progress=progress)
    texts = _split(kept, out, dev_lines=dev_lines, seed=seed, aligned=aligned)
    fields = {text.language: _fields(text) for text in texts.values()}
    write_text(out / "prepared.json", json.dumps({"settings": settings, "texts": fields}) + "\n")
    return texts


def _sources(
    directory: Path, name: str, languages: tuple[str, str]
) -> list[tuple[tuple[str, str], tuple[Path, Path]]]:
    """The language pairs to read and their files: one pair, or one with English for each."""
    direct = _pair(directory, name, languages)
    if direct:
        return [(languages, direct)]
    members = [(language, PIVOT) for language in languages if language != PIVOT]
    pairs = [(pair, _pair(directory, name, pair)) for pair in members]
    found = [(pair, files) for pair, files in pairs if files]
    if len(found) < 2:
        a, b = languages
        raise UserError(
            f"{directory}: no files {name}.{a}-{b}.{{{a},{b}}} (or {b}-{a}; plain, .xz, .gz), "
            f"nor a pair with {PIVOT!r} for each; check the directory and the languages"
        )
    return found


def _pair(directory: Path, name: str, languages: tuple[str, str]) -> tuple[Path, Path] | None:
    a, b = languages
    for pair in (f"{a}-{b}", f"{b}-{a}"):
        first, second = (find(directory / f"{name}.{pair}.{language}") for language in languages)
        if first.is_file() and second.is_file():
            return first, second
    return None


@dataclass(frozen=True)
class _Kept:
    """Normalised lines in a scratch file: where each starts, and its number of tokens."""

    path: Path
    starts: array  # one more than lines
    lengths: array


def _keep(
    members: tuple[str, str],
    pair: tuple[Path, Path],
    wanted: Sequence[str],
    out: Path,
    *,
    normaliser: str,
    progress: Callable[[int], None] | None,
) -> dict[str, _Kept]:
    """Normalises one pair of files and keeps the lines of which neither side became empty."""
    normalise = normaliser_of(normaliser)
    kept = {
        language: _Kept(out / f"{language}.kept.partial", array("q", [0]), array("i"))
        for language in members
        if language in wanted
    }
    with ExitStack() as stack:
        files = {code: stack.enter_context(open(kept[code].path, "wb")) for code in kept}
        for number, lines in enumerate(_aligned(pair), 1):
            tokens = {c: normalise(line, c) for c, line in zip(members, lines, strict=True)}
            if all(any(side) for side in tokens.values()):
                for language, lines_of in kept.items():
                    line = (" ".join(tokens[language]) + "\n").encode()
                    files[language].write(line)
                    lines_of.starts.append(lines_of.starts[-1] + len(line))
                    lines_of.lengths.append(len(tokens[language]))
            if progress and number % _REPORT_EVERY == 0:
                progress(number)
    return kept


def _aligned(pair: tuple[Path, Path]) -> Iterator[tuple[str, str]]:
    first, second = pair
    for number, lines in enumerate(zip_longest(read_lines(first), read_lines(second)), 1):
        if None in lines:
            raise UserError(
                f"{first}:{number}: {(first, second)[lines.index(None)].name} ends before this "
                "line and the other side does not; aligned files have the same number of lines"
            )
        yield lines


def _split(
    kept: Mapping[str, _Kept], out: Path, *, dev_lines: int, seed: int, aligned: bool
) -> dict[str, PretrainText]:
    """Writes train and dev of every language, all of one size, and drops the scratch files."""
    parts = {code: _numbers(len(k.lengths), dev_lines, seed) for code, k in kept.items()}
    n_train, n_dev = (min(len(part[i]) for part in parts.values()) for i in (0, 1))
    if not (n_train and n_dev):
        raise UserError(
            f"{out}: fewer than two pairs of sentences are left; is this the right text?"
        )
    texts = {}
    for language, lines in kept.items():
        train, dev = parts[language][0][:n_train], parts[language][1][:n_dev]
        random.Random(f"{seed}" if aligned else f"{seed} {language}").shuffle(train)
        lengths = Counter(lines.lengths[i] for i in train)
        train_path = _write(lines, train, out / f"{language}.train.txt")
        dev_path = _write(lines, dev, out / f"{language}.dev.txt")
        histogram = tuple(sorted(lengths.items()))
        texts[language] = PretrainText(language, train_path, dev_path, n_train, n_dev, histogram)
        lines.path.unlink()
    return texts


def _numbers(n: int, dev_lines: int, seed: int) -> tuple[list[int], list[int]]:
    """Line numbers of train and dev; equal `n` give equal numbers, so both sides agree."""
    dev = set(random.Random(seed).sample(range(n), min(dev_lines, max(n // 10, n > 1))))
    return [i for i in range(n) if i not in dev], sorted(dev)


def _write(kept: _Kept, numbers: Iterable[int], path: Path) -> Path:
    partial = path.with_name(path.name + ".partial")
    with open(kept.path, "rb") as source, open(partial, "wb") as target:
        with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as lines:
            target.writelines(lines[kept.starts[i] : kept.starts[i + 1]] for i in numbers)
    os.replace(partial, path)
    return path


def _fields(text: PretrainText) -> dict:
    return {"n_train": text.n_train, "n_dev": text.n_dev, "lengths": text.lengths}


def _finished(out: Path, settings: Mapping) -> dict[str, PretrainText] | None:
    """What an earlier run with the same settings left behind, if all of it is there."""
    about = out / "prepared.json"
    if not about.is_file():
        return None
    found = json.loads(about.read_text(encoding="utf-8"))
    if found["settings"] != settings:
        return None
    texts = {
        language: PretrainText(
            language,
            out / f"{language}.train.txt",
            out / f"{language}.dev.txt",
            fields["n_train"],
            fields["n_dev"],
            tuple((length, count) for length, count in fields["lengths"]),
        )
        for language, fields in found["texts"].items()
    }
    there = all(path.is_file() for text in texts.values() for path in (text.train, text.dev))
    return texts if there else None

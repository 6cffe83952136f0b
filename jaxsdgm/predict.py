"""python -m jaxsdgm.predict --workdir=DIR [--input=docs.txt|.tsv|.jsonl|-] [--output=FILE|-]
python -m jaxsdgm.predict --workdir=DIR [--input=words.txt|.conllu|-] [--output=FILE|-]

Labels new documents with a finished (or running) classification run, as a stream: one line in, one
line out. Plain text is one document a line; .tsv and .jsonl have a column "text" (--text). The
output is TSV with the label and the probability of every class, or JSON lines where --output ends
in .jsonl.

With a tagging run words get tags: a line is a sentence whose words are parted by white space, or
the input is CoNLL-U. The output is CoNLL-U where its name says so, else a word and its tag a line.
Exit status: 0 done, 2 bad input.
"""

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from absl import app, flags

from jaxsdgm.data.documents import read_lines
from jaxsdgm.data.files import read_rows
from jaxsdgm.data.tagged import read_conllu
from jaxsdgm.errors import UserError
from jaxsdgm.experiments.tagger import Words, load_tagger
from jaxsdgm.experiments.trained import load_trained
from jaxsdgm.training.progress import quiet_orbax

_WORKDIR = flags.DEFINE_string("workdir", None, "Workdir of a classification run.", required=True)
_INPUT = flags.DEFINE_string("input", "-", "Documents: .txt, .tsv, .csv, .jsonl, or - for stdin.")
_OUTPUT = flags.DEFINE_string("output", "-", "Where labels go: .tsv, .jsonl, or - for stdout.")
_TEXT = flags.DEFINE_string("text", "text", "Column of the text in .tsv, .csv and .jsonl.")

BATCH = 256  # documents read, predicted and written at a time


@dataclass(frozen=True)
class Prediction:
    """One document's label and the probability of every class."""

    label: str
    probabilities: dict[str, float]


def predictions(
    texts: Iterable[str], predict: Callable[[list[str]], np.ndarray], label_names: list[str]
) -> Iterator[Prediction]:
    """Labels of `texts`, lazily; `predict` maps documents to probabilities `[n, k]`."""
    texts = iter(texts)
    while batch := list(itertools.islice(texts, BATCH)):
        for row in predict(batch):
            named = dict(zip(label_names, map(float, row), strict=True))
            yield Prediction(label_names[int(row.argmax())], named)


def read(path: str, column: str) -> Iterator[str]:
    """Documents of a file or of standard input, one by one."""
    if Path(path).suffix in (".tsv", ".csv", ".jsonl"):
        for place, fields in read_rows(Path(path)):
            if column not in fields:
                known = ", ".join(fields)
                raise UserError(
                    f"{place}: no column {column!r} (there: {known}); name it by --text"
                )
            yield str(fields[column])
        return
    lines = _standard_input() if path == "-" else read_lines(Path(path))
    name = "standard input" if path == "-" else path
    for number, text in enumerate(lines, 1):
        if not text.strip():
            raise UserError(f"{name}:{number}: empty document; remove the line")
        yield text


def _standard_input() -> Iterator[str]:
    for number, raw in enumerate(sys.stdin.buffer, 1):
        try:
            yield raw.decode("utf-8").rstrip("\n")
        except UnicodeDecodeError:
            raise UserError(f"standard input:{number}: not UTF-8; convert it (iconv)") from None


def header(label_names: list[str], *, jsonl: bool) -> str:
    """The first line of the output, if it has one."""
    return "" if jsonl else "\t".join(["label", *label_names]) + "\n"


def line(prediction: Prediction, *, jsonl: bool) -> str:
    """One document's line."""
    if jsonl:
        return json.dumps(vars(prediction), ensure_ascii=False) + "\n"
    values = [f"{p:.6f}" for p in prediction.probabilities.values()]
    return "\t".join([prediction.label, *values]) + "\n"


def write(stream: TextIO, found: Iterable[Prediction], names: list[str], *, jsonl: bool) -> None:
    """All predictions, as they come."""
    stream.write(header(names, jsonl=jsonl))
    for prediction in found:
        stream.write(line(prediction, jsonl=jsonl))


# -- tags ----------------------------------------------------------------------------------------


def sentences(path: str) -> Iterator[list[str]]:
    """Words of the sentences of a CoNLL-U file, or of lines."""
    if path.endswith((".conllu", ".conllu.gz", ".conllu.xz")):
        yield from map(list, read_conllu(path).words)
    else:
        yield from (text.split() for text in read(path, ""))


def tagged(
    found: Iterable[list[str]], tag: Callable[[Words], list[list[str]]], *, conllu: bool
) -> Iterator[str]:
    """The lines of every sentence, an empty one last."""
    found = iter(found)
    while batch := list(itertools.islice(found, BATCH)):
        for words, tags in zip(batch, tag(batch), strict=True):
            pairs = zip(words, tags, strict=True)
            rest = "\t_" * 6
            lines = [
                f"{i}\t{word}\t_\t{name}{rest}" if conllu else f"{word}\t{name}"
                for i, (word, name) in enumerate(pairs, 1)
            ]
            yield "\n".join(lines) + "\n\n"


def is_tagger(workdir: Path) -> bool:
    """Whether a workdir is that of a tagging run."""
    try:
        config = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
        return config["experiment"] == "tag"
    except (OSError, ValueError, KeyError, TypeError):
        return False  # what it is, or lacks, is told by what reads it next


def tag_words(workdir: Path, source: str, target: str) -> Callable[[TextIO], None]:
    """What writes the tags of an input's words."""
    tag, conllu = load_tagger(workdir), target.endswith(".conllu")
    return lambda stream: stream.writelines(tagged(sentences(source), tag, conllu=conllu))


def label_documents(workdir: Path, source: str, target: str) -> Callable[[TextIO], None]:
    """What writes the labels of an input's documents."""
    predict, names = load_trained(workdir)
    found = predictions(read(source, _TEXT.value), predict, names)
    return lambda stream: write(stream, found, names, jsonl=target.endswith(".jsonl"))


def main(arguments: list[str]) -> Any:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}; options start with --")
    quiet_orbax()
    try:
        work = tag_words if is_tagger(Path(_WORKDIR.value)) else label_documents
        write_to = work(Path(_WORKDIR.value), _INPUT.value, _OUTPUT.value)
        with ExitStack() as stack:
            stream = sys.stdout
            if _OUTPUT.value != "-":
                stream = stack.enter_context(open(_OUTPUT.value, "w", encoding="utf-8"))
            write_to(stream)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main)

"""Tables 1 to 4 of the VSL paper from finished runs, beside its figures (spec of paper 3, §7).

A cell is the mean of the runs that had no unlabelled sentences and, where there are runs with some,
the difference that these make.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxsdgm.evaluation.cells import TAGGERS, cell_of
from jaxsdgm.evaluation.commands import MAIN
from jaxsdgm.evaluation.formats import Entry, Grid, write_grids
from jaxsdgm.evaluation.report import NOTHING
from jaxsdgm.evaluation.tables import HERE, PAPER

#: languages of Table 2, in its order, and what configs call them
LANGUAGES = {
    "fr": "french",
    "de": "german",
    "id": "indonesian",
    "es": "spanish",
    "ru": "russian",
    "hr": "croatian",
}
#: what configs call a system, without its ending
ARGUMENTS = {"BiGRU": "bigru", "VSL-G": "g", "VSL-GG-Flat": "flat", "VSL-GG-Hier": "hier"}
ON_Z, WITHOUT_VR = " (tag of z)", ", no VR"
ABOUT = (
    "Figures of the paper, and below them of the runs that were read: means, with the standard "
    "deviation in brackets, and after them by how much unlabelled sentences changed the mean. The "
    "paper's treebanks are of release 1.4. [1] is a cell without a run; the command with that "
    "number makes it."
)

Run = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """Which runs are in a column, and which figure of theirs; no language: the mean of all."""

    label: str
    corpus: str
    split: str
    language: str = "en"
    ending: str = ""  # of the systems' names: WITHOUT_VR

    @property
    def metric(self) -> str:
        return "f1" if self.corpus == "conll2003" else "accuracy"


TWITTER = Column("Twitter dev", "twitter", "dev"), Column("Twitter test", "twitter", "test")
ENTITIES = (
    Column("CoNLL-2003 dev F1", "conll2003", "dev"),
    Column("CoNLL-2003 test F1", "conll2003", "test"),
)
UD = tuple(Column(code, "ud", "test", code) for code in LANGUAGES)
TABLES: dict[str, tuple[str, Sequence[str], Sequence[Column]]] = {
    "1": ("tweets and entities", [*TAGGERS.values()], (*TWITTER, *ENTITIES)),
    "2": ("Universal Dependencies, test accuracy (%)", [*TAGGERS.values()], UD),
    "3": (
        "where the tag is read off",
        ["VSL-GG-Hier", "VSL-GG-Hier" + ON_Z],
        (TWITTER[0], ENTITIES[0], Column("UD, mean", "ud", "test", "")),
    ),
    "4": (
        "without variational regularisation (no VR)",
        [*TAGGERS.values()],
        (
            TWITTER[0],
            Column("Twitter dev, no VR", "twitter", "dev", ending=WITHOUT_VR),
            ENTITIES[0],
            Column("CoNLL-2003 dev F1, no VR", "conll2003", "dev", ending=WITHOUT_VR),
        ),
    ),
}


def write_vsl_tables(out: str | Path, results: Sequence[Run]) -> Path | None:
    """Writes vsl_tables.html and .md and tables/*; None where no run tags words."""
    runs = [run for run in results if run["kind"] == "tag"]
    if not runs:
        return None
    grids = [vsl_table(number, runs) for number in TABLES]
    return write_grids(Path(out), "vsl_tables", grids, title="The VSL paper", about=ABOUT)


def vsl_table(number: str, runs: Sequence[Run]) -> Grid:
    """One of TABLES."""
    title, systems, columns = TABLES[number]
    figures = json.loads((Path(__file__).parent / "paper_vsl.json").read_text("utf-8"))
    rows = []
    for system in systems:
        theirs = figures[f"table_{number}"][system]
        paper = [Entry(text or NOTHING) for text in theirs]
        rows.append([Entry(system), Entry(PAPER), *paper])
        pairs = zip(columns, theirs, strict=True)
        ours = [_entry(system, column, runs, bool(text)) for column, text in pairs]
        rows.append([Entry(system), Entry(HERE), *ours])
    head = ["system", "figures of", *(column.label for column in columns)]
    return Grid(f"vsl_table_{number}", f"Table {number}: {title}", head, rows, 2)


def _entry(system: str, column: Column, runs: Sequence[Run], wanted: bool) -> Entry:
    """A cell, or the command that fills it where the paper has it."""
    alone, more = (_figures(runs, system, column, unlabelled) for unlabelled in (False, True))
    if not alone:
        return Entry("", _command(system, column)) if wanted else Entry(NOTHING)
    text = f"{np.mean(alone):.1f}" + (f" ({np.std(alone):.1f})" if len(alone) > 1 else "")
    return Entry(text + (f" {np.mean(more) - np.mean(alone):+.1f}" if more else ""))


def _figures(runs: Sequence[Run], system: str, column: Column, unlabelled: bool) -> list[float]:
    """In per cent, of all runs of a cell."""
    found = []
    for run in runs:
        cell = cell_of(run)
        here = (cell.system, cell.corpus) == (system + column.ending, column.corpus)
        there = cell.language == column.language or not column.language
        if here and there and (cell.unlabelled != NOTHING) == unlabelled:
            found.append(100 * run["metrics"][column.split][column.metric])
    return found


def _command(system: str, column: Column) -> str:
    """What makes the runs without unlabelled sentences."""
    argument = ARGUMENTS[system.removesuffix(ON_Z)]
    ending = "-novr" if column.ending else "" if argument == "bigru" else "-sup"
    config = f"vsl_{column.corpus}.py:"
    if column.corpus == "ud":
        config += f"{LANGUAGES.get(column.language, 'LANGUAGE')},"
    fields = " --config.model.classify=z" if system.endswith(ON_Z) else ""
    return f"{MAIN}{config}{argument}{ending} --config.trials=5 --config.data.dir=DIR{fields}"

"""Tables of finished runs as data: which run belongs in which cell, and what is printed of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxsdgm.evaluation.cells import OWN_ENCODERS, PRETRAINED, cell_of, pair_of, spread
from jaxsdgm.evaluation.commands import command_of
from jaxsdgm.evaluation.formats import Entry, Grid
from jaxsdgm.evaluation.report import FILTERS, NOTHING

MISSING = "not in this version"
PAPER = "the paper"
VECTORS = "vectors"  # where a BiLSTM starts whose embeddings come from a file
HERE = "here"

#: facts that a run must have; of several values in a tuple, one
Where = Mapping[str, Any]
#: from the results of a cell's runs and the cell's facts to its text; "": they do not say
Measure = Callable[[Sequence[Mapping[str, Any]], Where], str]


@dataclass(frozen=True)
class Key:
    """A row or a column: how it is called and which runs are in it."""

    label: tuple[str, ...]
    where: Where = field(default_factory=dict)
    measure: Measure | None = None


@dataclass(frozen=True)
class Table:
    """Rows and columns; a cell's runs fit the table, the row and the column.

    The measure is the row's, the column's or the table's. `paper` has, by the row's name, a value a
    column, or None where the paper has none. `example` are facts that an empty cell's command has
    where all this leaves them open. `apart`: runs of different sources have lines of their own.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    rows: Sequence[Key]
    columns: Sequence[Key]
    where: Where = field(default_factory=dict)
    example: Where = field(default_factory=dict)
    measure: Measure | None = None
    paper: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    apart: bool = True
    note: str = ""


@dataclass(frozen=True)
class Run:
    """Results and what tables ask of them."""

    facts: Where
    results: Mapping[str, Any]


# -- runs --------------------------------------------------------------------------------------


def run_of(results: Mapping[str, Any]) -> Run:
    """The facts of a finished run.

    kind, corpus, system, pair where there is an NXVAE, and source, which tells apart runs that must
    not be averaged. Of a classification also language, n ("all": no document is unlabelled), start
    (one of PRETRAINED, BiLSTM, vectors, fine-tuned, frozen), the kind of vectors (ft of a file
    ft.en.vec) and what a command needs.
    """
    data = results["config"]["data"]
    if results["kind"] == "pretrain":
        system = "SNXVAE" if data.get("subwords") else "NXVAE"
        system = results.get("system", "PEMB" if data.get("pairs") else system)
        about = {"kind": "pretrain", "system": system, "source": "", "pair": pair_of(results)}
        return Run({**about, "corpus": data["source"]}, results)
    cell = cell_of(results)
    frozen = cell.encoder.endswith(", frozen")
    checkpoint = cell.encoder.removesuffix(", frozen")
    start = "frozen" if frozen else "fine-tuned"
    vectors = results.get("vectors")
    if checkpoint in OWN_ENCODERS:
        checkpoint, start = "", cell.encoder
    elif vectors:
        checkpoint, start = "", VECTORS
    kind = {"vectors": vectors["name"].partition(".")[0]} if vectors else {}
    pair = {"pair": pair_of(results)} if start in PRETRAINED else {}
    size = data.get("train_size", 1000)
    further = "" if cell.unlabelled in (NOTHING, "train") else cell.unlabelled
    parts = [" ".join([cell.encoder, *pair.values()]), further and f"with {further}", cell.swept]
    facts = {
        "kind": "classify",
        "corpus": cell.corpus if size == 1000 else f"{cell.corpus}, train.{size}",
        "language": cell.language,
        "system": cell.system,
        **pair,
        "n": "all" if cell.full else cell.n,
        "start": start,
        **kind,
        "checkpoint": checkpoint,
        "unlabelled": further,
        "swept": cell.swept,
        "other": data.get("out_of_domain", {}).get("source", ""),
        "source": ", ".join(part for part in parts if part),
    }
    return Run(facts, results)


def fits(facts: Where, where: Where) -> bool:
    """Whether a run has all facts that are asked for; of those it cannot have, none is asked."""
    shared = facts.keys() & where.keys()
    return all(set(values(facts[key])) & set(values(where[key])) for key in shared)


def values(wanted: Any) -> tuple:
    """What a fact may be."""
    return wanted if isinstance(wanted, tuple) else (wanted,)


# -- cells -------------------------------------------------------------------------------------


def grid_of(table: Table, runs: Sequence[Run]) -> Grid:
    """Each row as the paper has it, then as these runs do, a line for each of their sources."""
    rows = []
    for row in table.rows:
        label = [Entry(part) for part in row.label]
        theirs = table.paper.get(", ".join(row.label))
        if theirs:
            rows.append([*label, Entry(PAPER), *(Entry(printed(value)) for value in theirs)])
        for source, group in sources(table, row, runs).items():
            if not group and not theirs:  # nothing to be compared with
                continue
            line = [
                entry(table, row, column, group, bool(theirs) and theirs[i] is None)
                for i, column in enumerate(table.columns)
            ]
            rows.append([*label, Entry(source or HERE), *line])
    head = [*table.heads, "figures of", *(" ".join(column.label) for column in table.columns)]
    return Grid(table.name, table.title, head, rows, len(table.heads) + 1, table.note)


def sources(table: Table, row: Key, runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of a row by their source; one without runs where there are none."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        here = fits(run.facts, table.where) and fits(run.facts, row.where)
        if here and any(fits(run.facts, column.where) for column in table.columns):
            found.setdefault(run.facts["source"] if table.apart else "", []).append(run)
    return found or {"": []}


def entry(table: Table, row: Key, column: Key, group: Sequence[Run], absent: bool) -> Entry:
    """A cell's text, or the command of the run that would fill it.

    `absent`: the paper has no such cell, so nothing need fill it.
    """
    where = {**table.where, **row.where, **column.where}
    chosen = [r for r in group if fits(r.facts, row.where) and fits(r.facts, column.where)]
    measure = row.measure or column.measure or table.measure
    if measure and chosen:
        return Entry(measure([run.results for run in chosen], where) or NOTHING)
    if absent or not fits(row.where, column.where):
        return Entry(NOTHING)
    line = group[0].facts if group else {}  # its encoder and unlabelled text
    wanted = {k: line[k] if line.get(k) in values(x) else values(x)[0] for k, x in where.items()}
    command = command_of({**table.example, **line, **wanted}) if measure else ""
    if command:
        return Entry("", command)
    return Entry(MISSING if table.paper else NOTHING)  # a run's system is in this version


def filled(table: Table, runs: Sequence[Run]) -> bool:
    """Whether any run is in the table."""
    return any(any(sources(table, row, runs).values()) for row in table.rows)


def printed(value: Any) -> str:
    """The paper's figure: a text, a number, or a mean and a spread."""
    if isinstance(value, list):
        return f"{value[0]:.1f} ({value[1]:.1f})"
    return NOTHING if value is None else str(value)


# -- measures ----------------------------------------------------------------------------------


def accuracy(runs: Sequence[Mapping[str, Any]], where: Where) -> str:
    """Mean and standard deviation of the test accuracies, in per cent."""
    found = [run["metrics"]["test"]["accuracy"] for run in runs]
    std = float(np.std(found)) if len(found) > 1 else None
    return spread({"mean": float(np.mean(found)), "std": std})


def parameters(runs: Sequence[Mapping[str, Any]], where: Where) -> str:
    """The number of trained parameters, or of all where a run does not tell them apart."""
    return _joined(run.get("trained_parameters", run.get("parameters")) for run in runs)


def running_time(runs: Sequence[Mapping[str, Any]], where: Where) -> str:
    """The mean time of training, and on what."""
    found = [s for run in runs if (s := run.get("training", {}).get("seconds")) is not None]
    devices = dict.fromkeys(run.get("device", "an unknown device") for run in runs)
    mean = float(np.mean(found)) if found else None
    return f"{FILTERS['duration'](mean)}, {' or '.join(devices)}" if found else ""


def documents(label: int) -> Measure:
    """The documents of a class in the cell's split."""

    def measure(runs: Sequence[Mapping[str, Any]], where: Where) -> str:
        counts = [run.get("data", {}).get("counts", {}).get(where["split"], []) for run in runs]
        return _joined(count[label] if label < len(count) else None for count in counts)

    return measure


def setting(path: str, *, zero: str = "0", unit: str = "") -> Measure:
    """The values of a field of the configs; `zero` is what 0 means."""

    def measure(runs: Sequence[Mapping[str, Any]], where: Where) -> str:
        found = []
        for run in runs:
            value: Any = run["config"]
            for part in path.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            found.append(zero if value == 0 and not isinstance(value, bool) else value)
        text = _joined(found)
        return f"{text} {unit}" if unit and text else text

    return measure


def words_kept(runs: Sequence[Mapping[str, Any]], where: Where) -> str:
    """The sizes of the vocabularies of a pretraining run's languages, or of the one they share."""
    languages, texts = where["pair"].split("-"), []
    for data in (run["config"]["data"] for run in runs):
        sizes, subwords = data.get("vocab_size", {}), data.get("subwords", 0)
        of_each = "; ".join(f"{c} {sizes[c]:,}" for c in languages if c in sizes)
        texts.append(f"{subwords:,} pieces" if subwords else of_each)
    return _joined(texts)


def discriminator(runs: Sequence[Mapping[str, Any]], where: Where) -> str:
    """The width of its hidden layer, where pretraining has one."""
    models = [run["config"]["model"] for run in runs]
    none = [model.get("adversary") == "none" for model in models]
    widths = [model.get("discriminator_hidden") for model in models]
    return _joined("none" if x else width for x, width in zip(none, widths, strict=True))


def _joined(found: Iterator[Any] | Sequence[Any]) -> str:
    """Different values side by side."""
    texts = dict.fromkeys(_text(value) for value in found)
    return " / ".join(text for text in texts if text)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and value >= 10_000:
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)

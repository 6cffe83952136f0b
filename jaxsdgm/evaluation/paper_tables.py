"""The paper's tables from finished runs, and the same layouts for other corpora."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsdgm.evaluation.cells import LANGUAGES, language_order
from jaxsdgm.evaluation.formats import write_grids
from jaxsdgm.evaluation.layouts import (
    HEADS,
    NOTES,
    SDGM,
    SETTINGS,
    SUPERVISED,
    TITLES,
    by_language,
    by_size,
    by_split,
    named,
)
from jaxsdgm.evaluation.tables import (
    Key,
    Run,
    Table,
    Where,
    accuracy,
    filled,
    fits,
    grid_of,
    parameters,
    run_of,
)

CORPORA = ("mldoc", "europarl")  # the paper's
PAIRS = ("en-de", "en-fr", "de-fr")
LABELS = ("C", "E", "G", "M")
SIZES = (32, 64, 128, "all")
FEW = (8, 16, 32, "all")
OWN, TRANSFORMERS = (
    ("NXVAE", "BiLSTM", "–"),
    ("fine-tuned", "frozen"),
)  # what an encoder starts from
ABOUT = (
    "Figures of the paper, and below them of the runs that were read: test accuracy is the mean, "
    "with the standard deviation in brackets where there are several. [1] is a cell without a run; "
    "the command with that number below the table makes it."
)


def paper_figures(table: str) -> dict[str, list[Any]]:
    """The paper's figures by row, in the order of the columns."""
    return json.loads((Path(__file__).parent / "paper.json").read_text("utf-8"))[table]


def write_tables(out: str | Path, results: Sequence[Mapping[str, Any]]) -> Path:
    """Writes paper_tables.html and .md and tables/*.tex and *.csv; returns paper_tables.html.

    Args:
      out: where they go.
      results: of finished runs, of classification and of pretraining.
    """
    runs = [run_of(one) for one in results]
    tables = paper_tables()
    for corpus in dict.fromkeys(run.facts["corpus"] for run in runs):
        if corpus not in CORPORA:
            tables += other_tables(corpus, runs)
    grids = [grid_of(table, runs) for table in tables]
    return write_grids(Path(out), "paper_tables", grids, title="The paper's tables", about=ABOUT)


# -- the paper's -------------------------------------------------------------------------------

CLASSIFY: Where = {"kind": "classify", "corpus": "mldoc"}
#: Tables 7 and 9: English with 32 labels
TUNED: Where = {**CLASSIFY, "language": "en", "pair": "en-de", "n": 32}
PRETRAIN: Where = {"kind": "pretrain", "corpus": "europarl"}
FINE_TUNED = ("SUP-h", "M1+M2+BOW")


def paper_tables() -> list[Table]:
    """Tables 2 and 4 to 13 as the paper has them."""
    nxvae = [Key(("NXVAE", pair), {"system": "NXVAE", "pair": pair}) for pair in PAIRS]
    snxvae = Key(("SNXVAE", "en-de"), {"system": "SNXVAE", "pair": "en-de"})
    supervised = Key((", ".join(SUPERVISED),), {"system": SUPERVISED, "start": "NXVAE"})
    bert = Key(("BERTW, BERTSW",), {"system": ("BERTW", "BERTSW")})
    any_run = {"system": "TF-IDF + LR", "start": "–", "pair": "en-de", "n": "all"}
    mbert = {**CLASSIFY, "language": "en", "n": 8}
    return [
        _table("2", CLASSIFY, **by_split(LANGUAGES, LABELS), example=any_run, apart=False),
        *(_accuracies("4", pair, SIZES) for pair in PAIRS),
        _settings("5", PRETRAIN, [*nxvae, snxvae]),
        _settings("6", PRETRAIN, named(("BERTW", "BERTSW"))),
        _settings("7", TUNED, [supervised, bert]),
        _table(
            "8",
            {**CLASSIFY, "pair": "en-de"},
            rows=named([*paper_figures("table_8")], start="NXVAE"),
            columns=by_size(("en", "de"), SIZES),
            measure=accuracy,
        ),
        _settings("9", TUNED, named(SDGM, start="NXVAE")),
        *(_accuracies("10", pair, SIZES[:-1]) for pair in PAIRS),
        _sizes(),
        _settings("12", mbert, named(FINE_TUNED, start="fine-tuned")),
        _table(
            "13",
            {**CLASSIFY, "start": TRANSFORMERS},
            rows=by_language(LANGUAGES, FINE_TUNED),
            columns=[Key((str(n),), {"n": n}) for n in FEW],
            measure=accuracy,
        ),
    ]


def _table(number: str, where: Where, *, part: str = "", **fields: Any) -> Table:
    name = f"table_{number}_{part}" if part else f"table_{number}"
    title = f"Table {number}{part and ', ' + part}: {TITLES[number]}"
    heads = HEADS.get(number, ("system",))
    fields = {"paper": paper_figures(name), **fields}
    return Table(name, title, heads, where=where, note=NOTES.get(number, ""), **fields)


def _accuracies(number: str, pair: str, sizes: Sequence[Any]) -> Table:
    """One language pair of Table 4 or 10."""
    names = [*paper_figures(f"table_{number}_{pair}")]
    columns = by_size(pair.split("-"), sizes)
    rows = named(names, start="NXVAE")
    where = {**CLASSIFY, "pair": pair}
    return _table(number, where, part=pair, rows=rows, columns=columns, measure=accuracy)


def _settings(number: str, where: Where, columns: Sequence[Key], **fields: Any) -> Table:
    # without rows of ours there is nothing of that kind in this version
    unknown = [Key((name,)) for name in paper_figures(f"table_{number}")]
    rows = SETTINGS.get(number, unknown)
    return _table(number, where, rows=rows, columns=columns, **fields)


def _sizes() -> Table:
    pairs = {"en": ("en-de", "en-fr"), "de": "en-de", "fr": "en-fr"}
    columns = [Key((c,), {"language": c, "pair": pair}) for c, pair in pairs.items()]
    rows = named([*paper_figures("table_11")], start="NXVAE")
    return _table("11", CLASSIFY, rows=rows, columns=columns, measure=parameters)


# -- other corpora -----------------------------------------------------------------------------


def other_tables(corpus: str, runs: Sequence[Run]) -> list[Table]:
    """The same layouts with the languages, sizes and systems of a corpus's runs.

    Those of accuracies have two languages a part, as the paper's. Only tables with a run in them.
    """
    where = {"kind": "classify", "corpus": corpus}
    own, transformer = {**where, "start": OWN}, {**where, "start": TRANSFORMERS}
    pretrain = {"kind": "pretrain", "corpus": corpus}
    labels = next((r.results.get("label_names", []) for r in runs if fits(r.facts, where)), [])
    languages = sorted(_found(runs, where, "language"), key=language_order)
    sizes = sorted(_found(runs, where, "n"), key=lambda n: (n == "all", str(n).zfill(9)))
    systems = [_systems(runs, scope) for scope in (where, own, transformer)]
    generative = [name for name in systems[1] if name in SDGM]
    with_aux = generative if any(name.startswith("AUX") for name in generative) else []
    twins = [name for name in systems[1] if name in SUPERVISED]
    pairs = [Key(("NXVAE", pair), {"pair": pair}) for pair in _found(runs, pretrain, "pair")]
    tables = [
        _other("2", where, **by_split(languages, labels), apart=False),
        _other("5", pretrain, rows=SETTINGS["5"], columns=pairs),
        _other("7", own, rows=SETTINGS["7"], columns=named(twins)),
        _other("9", own, rows=SETTINGS["9"], columns=named(generative)),
        _other(
            "11",
            where,
            rows=named(systems[0]),
            columns=[Key((c,), {"language": c}) for c in languages],
            measure=parameters,
        ),
        _other("12", transformer, rows=SETTINGS["12"], columns=named(systems[2])),
        _other(
            "13",
            transformer,
            rows=by_language(languages, systems[2]),
            columns=[Key((str(n),), {"n": n}) for n in sizes],
            measure=accuracy,
        ),
    ]
    for number, names in (("4", systems[1]), ("10", with_aux)):
        for i in range(0, len(languages), 2):
            two = languages[i : i + 2]
            columns = by_size(two, sizes)
            fields = {"rows": named(names), "columns": columns, "measure": accuracy}
            tables.append(_other(number, own, part="-".join(two), **fields))
    order = [*TITLES]
    tables.sort(key=lambda table: order.index(table.name.split("table_")[1].split("_")[0]))
    return [table for table in tables if filled(table, runs)]


def _other(number: str, where: Where, *, part: str = "", **fields: Any) -> Table:
    corpus = where["corpus"]
    name = f"{re.sub('[^a-z0-9]+', '_', corpus.lower())}_table_{number}" + (part and f"_{part}")
    title = f"{corpus}, as in Table {number}{part and ', ' + part}: {TITLES[number]}"
    return Table(name, title, HEADS.get(number, ("system",)), where=where, **fields)


def _found(runs: Sequence[Run], where: Where, fact: str) -> list[Any]:
    return [*dict.fromkeys(run.facts[fact] for run in runs if fits(run.facts, where))]


def _systems(runs: Sequence[Run], where: Where) -> list[str]:
    """In the paper's order, others last."""
    order = {name: i for i, name in enumerate(("NXVAE-h", "NXVAE-z1", "SUP-h", *SDGM))}
    return sorted(_found(runs, where, "system"), key=lambda name: order.get(name, len(order)))

"""The paper's tables from finished runs, and the same layouts for other corpora."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsdgm.evaluation.cells import BERTS, LANGUAGES, OWN_ENCODERS, SSVAES, language_order
from jaxsdgm.evaluation.formats import write_grids
from jaxsdgm.evaluation.layouts import (
    HEADS,
    NOTES,
    SDGM,
    SETTINGS,
    TITLES,
    TWINS,
    by_language,
    by_size,
    by_split,
    named,
)
from jaxsdgm.evaluation.report import NOTHING
from jaxsdgm.evaluation.tables import (
    VECTORS,
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
TRANSFORMERS = ("fine-tuned", "frozen")  # where encoders start that are not of this library
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
    supervised = Key((", ".join(TWINS),), {"system": TWINS, "start": "NXVAE"})
    bert = Key((", ".join(BERTS),), {"system": BERTS, "start": BERTS})
    any_run = {"system": "TF-IDF + LR", "start": NOTHING, "pair": "en-de", "n": "all"}
    mbert = {**CLASSIFY, "language": "en", "n": 8}
    return [
        _table("2", CLASSIFY, **by_split(LANGUAGES, LABELS), example=any_run, apart=False),
        *(_accuracies("4", pair, SIZES) for pair in PAIRS),
        _settings("5", PRETRAIN, [*nxvae, snxvae]),
        _settings("6", PRETRAIN, named(BERTS), example={"pair": "en-de"}),
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
    return _table(number, where, rows=SETTINGS[number], columns=columns, **fields)


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
    own, transformer = (
        {**where, "start": (*OWN_ENCODERS, VECTORS)},
        {**where, "start": TRANSFORMERS},
    )
    pretrain = {"kind": "pretrain", "corpus": corpus}
    labels = next((r.results.get("label_names", []) for r in runs if fits(r.facts, where)), [])
    languages = sorted(_found(runs, where, "language"), key=language_order)
    sizes = sorted(_found(runs, where, "n"), key=lambda n: float("inf") if n == "all" else n)
    systems, heads = _systems(runs, own), _systems(runs, transformer)
    systems = [name for name in systems if name not in SSVAES]  # they have tables of their own
    generative = [name for name in systems if name in SDGM]
    with_aux = generative if any(name.startswith("AUX") for name in generative) else []

    def pretrained(*names: str) -> list[Key]:
        pairs = {name: _found(runs, {**pretrain, "system": name}, "pair") for name in names}
        return [Key((x, p), {"system": x, "pair": p}) for x, found in pairs.items() for p in found]

    settings = {
        "5": (pretrain, pretrained("NXVAE", "SNXVAE", "PEMB")),
        "6": (pretrain, pretrained(*BERTS)),
        "7": (own, named([name for name in systems if name in (*TWINS, *BERTS)])),
        "9": (own, named(generative)),
        "12": (transformer, named([name for name in heads if name in (*TWINS, "SUP-h", *SDGM)])),
    }
    by_number = {
        "2": [_other("2", where, **by_split(languages, labels), apart=False)],
        "4": _halves("4", own, systems, languages, sizes),
        "10": _halves("10", own, with_aux, languages, sizes),
        "11": [
            _other(
                "11",
                where,
                rows=named(_systems(runs, where)),
                columns=[Key((c,), {"language": c}) for c in languages],
                measure=parameters,
            )
        ],
        "13": [
            _other(
                "13",
                transformer,
                rows=by_language(languages, heads),
                columns=[Key((str(n),), {"n": n}) for n in sizes],
                measure=accuracy,
            )
        ],
        **{
            number: [_other(number, of, rows=SETTINGS[number], columns=columns)]
            for number, (of, columns) in settings.items()
        },
    }
    ordered = [table for number in TITLES for table in by_number.get(number, [])]
    return [table for table in ordered if filled(table, runs)]


def _halves(
    number: str,
    where: Where,
    names: Sequence[str],
    languages: Sequence[str],
    sizes: Sequence[Any],
) -> list[Table]:
    """Accuracies, two languages a table."""
    twos = [languages[i : i + 2] for i in range(0, len(languages), 2)]
    fields = {"rows": named(names), "measure": accuracy}
    return [
        _other(number, where, part="-".join(two), columns=by_size(two, sizes), **fields)
        for two in twos
    ]


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

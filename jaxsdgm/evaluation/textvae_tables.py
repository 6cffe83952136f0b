"""Tables of the text VAE paper from finished runs, beside its figures (spec of paper 4, §7 and §8).

A cell is the mean of a system's runs on a corpus and, of several, their standard deviation.
"""

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from jaxsdgm.evaluation.commands import MAIN
from jaxsdgm.evaluation.figures import MARKERS, PALETTE, STYLE
from jaxsdgm.evaluation.formats import Entry, Grid, write_grids
from jaxsdgm.evaluation.report import NOTHING, flatten, save_figures
from jaxsdgm.evaluation.tables import HERE, PAPER

#: what configs call a system; of Ours(4) the 4, its target rate, follows: ours,4
ARGUMENTS = {
    "LSTM-LM": "lm",
    "AE": "ae",
    "VAE": "vae",
    "VAE+anneal": "anneal",
    "VAE+cyclic": "cyclic",
    "VAE+cyclic(SGD)": "cyclic-sgd",
    "VAE+aggressive": "aggressive",
    "VAE+pretrain": "pretrain",
    "VAE+pretrain+anneal": "pretrain-anneal",
    "VAE+FB": "fb",
    "VAE+FBP": "fbp",
    "IWAE(k=10)": "iwae",
    "IWAE(k=10)+pretrain": "iwae-pretrain",
    "Ours": "ours",
}
QUOTED = "VAE+cyclic(reported)"  # the paper's only: what another paper says of VAE+cyclic
METRICS = {
    "nll": "NLL",
    "ppl": "PPL",
    "reconstruction": "Recon",
    "kl": "KL",
    "mutual_information": "MI",
    "active_units": "AU",
    "negative_elbo": "-ELBO",
    "elbo_ppl": "ELBO PPL",
}
LABELS = METRICS | {
    "bleu": "BLEU",
    "smoothness": "smoothness (r)",
    "noisy_reconstruction": "{}-swap Recon",
    "clustering": "{} clusters (%)",
    "linear_probe": "{} labels (%)",
}
DIGITS = {"active_units": 0, "smoothness": 3, "clustering": 1, "linear_probe": 1}  # others: 2
SHARES = ("clustering", "linear_probe")  # 0..1 in the runs' results, per cent in tables

_SHORT = ("ppl", "reconstruction", "kl", "active_units", "negative_elbo")
_SWAPS = tuple(f"noisy_reconstruction.{n}" for n in (1, 2, 3, 4))
_LABELS = tuple(f"linear_probe.{n}" for n in (100, 500, 1000, 2000, 10000))
#: title, corpus and columns, by the name that the paper's figures have
TABLES: dict[str, tuple[str, str, Sequence[str]]] = {
    "1": ("PTB, remedies for collapse", "ptb", _SHORT),
    "2": ("PTB, an encoder pretrained in an autoencoder", "ptb", _SHORT),
    "3_ptb": ("PTB, language modelling", "ptb", _SHORT),
    "3_yahoo": ("Yahoo, language modelling", "yahoo", _SHORT),
    "4": ("SNLI, BLEU of reconstructions", "snli", ("bleu",)),
    "5": ("SNLI, correlation of distances of latents and of sentences", "snli", ("smoothness",)),
    "6": ("SNLI, reconstruction from sentences with words swapped", "snli", _SWAPS),
    "8": ("short Yelp, accuracy; clusters take no labels", "yelp", ("clustering.2", *_LABELS)),
    "10_ptb": ("PTB, all systems", "ptb", [*METRICS]),
    "10_snli": ("SNLI, all systems", "snli", [*METRICS]),
    "11": ("Yahoo, all systems", "yahoo", [*METRICS]),
}
ABOUT = (
    "Figures of the paper, and below them of the runs that were read: means over test sentences, "
    "with the standard deviation over several runs in brackets. The paper's samples of SNLI, Yelp "
    "and Yahoo are not public; on these, figures compare in kind, not digit for digit. [1] is a "
    "cell without a run; the command with that number makes it."
)

Run = Mapping[str, Any]


def write_textvae_tables(out: str | Path, results: Sequence[Run]) -> Path | None:
    """Writes textvae_tables.html and .md, tables/* and figures/rate_distortion_CORPUS.svg.

    Returns:
      The path of textvae_tables.html; None where no run is of a language model.
    """
    runs = [run for run in results if run["kind"] == "language_model"]
    if not runs:
        return None
    grids = [textvae_table(name, runs) for name in TABLES] + other_tables(runs)
    drawn = {
        f"rate_distortion_{_plain(corpus)}": rate_distortion(group)
        for corpus, group in _by(runs, "corpus").items()
    }
    files = ", ".join(f"figures/{name}.svg" for name in save_figures(Path(out), drawn))
    about = ABOUT + (f" Rate against distortion: {files}." if files else "")
    return write_grids(Path(out), "textvae_tables", grids, title="The text VAE paper", about=about)


def textvae_table(name: str, runs: Sequence[Run]) -> Grid:
    """One of TABLES."""
    title, corpus, keys = TABLES[name]
    rows = []
    for system, figures in _paper()[f"table_{name}"].items():
        pairs = zip(figures, keys, strict=True)
        theirs = [_printed([] if x is None else [x], key) for x, key in pairs]
        rows.append([Entry(system), Entry(PAPER), *map(Entry, theirs)])
        if system != QUOTED:
            same = [run for run in runs if (run["corpus"], run["system"]) == (corpus, system)]
            ours = [_printed(_values(same, key), key) for key in keys]
            command = _command(corpus, system, probes=keys[0] not in METRICS)
            cells = [
                Entry("", command) if our == NOTHING != their else Entry(our)
                for our, their in zip(ours, theirs, strict=True)
            ]
            rows.append([Entry(system), Entry(HERE), *cells])
    title = f"Table {name.partition('_')[0]}: {title}"
    head = ["system", "figures of", *map(_label, keys)]
    return Grid(f"textvae_table_{name}", title, head, rows, 2)


def other_tables(runs: Sequence[Run]) -> list[Grid]:
    """By corpus, all runs of which the paper has no likelihoods: a row a system."""
    paper = _paper()
    tables = {name: corpus for name, (_, corpus, keys) in TABLES.items() if keys[0] in METRICS}
    known = {(corpus, x) for name, corpus in tables.items() for x in paper[f"table_{name}"]}
    others = [run for run in runs if (run["corpus"], run["system"]) not in known]
    grids = []
    for corpus, group in _by(others, "corpus").items():
        probes = {key for run in group for key in flatten(run["probes"])}
        keys = [*METRICS, *sorted(probes, key=lambda key: (_name(key), len(key), key))]
        rows = [
            [Entry(system), *(Entry(_printed(_values(same, key), key)) for key in keys)]
            for system, same in _by(group, "system").items()
        ]
        title = f"{corpus}: runs of which the paper has no likelihoods"
        head = ["system", *map(_label, keys)]
        grids.append(Grid(f"textvae_{_plain(corpus)}", title, head, rows, 1))
    return grids


def rate_distortion(runs: Sequence[Run]) -> bytes | None:
    """SVG of KL (rate) against reconstruction (distortion), the means of each system's runs.

    On the dotted line -ELBO is that of the plain VAE. The AE is left out: nothing holds its KL
    down, and it would press all others together.

    Args:
      runs: of one corpus.

    Returns:
      None where no run but those of AEs has a KL.
    """
    points = {
        system: (_mean(group, "kl"), _mean(group, "reconstruction"))
        for system, group in _by(runs, "system").items()
        if system != "AE" and _values(group, "kl")
    }
    if not points:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.add_subplot(xlabel="KL (rate)", ylabel="Recon (distortion)")
        for i, (system, point) in enumerate(points.items()):
            # shifted at each turn of the palette, so that no two look alike
            marker = MARKERS[(i + i // len(PALETTE)) % len(MARKERS)]
            axes.scatter(*point, c=PALETTE[i % len(PALETTE)], marker=marker, label=system)
        if "VAE" in points:
            label = f"-ELBO = {sum(points['VAE']):.2f}"
            axes.axline(points["VAE"], slope=-1, color="#888888", linestyle=":", label=label)
        axes.grid()
        axes.set_axisbelow(True)
        figure.legend(loc="outside right upper")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()


def _paper() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "paper_textvae.json").read_text("utf-8"))


def _by(runs: Sequence[Run], field: str) -> dict[str, list[Run]]:
    """Runs by corpus or system; systems in the order of ARGUMENTS and of their targets."""
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run["corpus"], _order(run["system"]))):
        groups.setdefault(run[field], []).append(run)
    return groups


def _order(system: str) -> tuple[int, float, str]:
    name, _, target = _parts(system)
    names = [*ARGUMENTS, name]
    return names.index(name), float(target or 0), system


def _parts(system: str) -> tuple[str, str, str]:
    """Ours(4): Ours, a comma and 4; of a system without a target, its name and empty texts."""
    return re.sub(r"\(([\d.]+)\)$", r",\1", system).partition(",")


def _command(corpus: str, system: str, *, probes: bool) -> str:
    name, comma, target = _parts(system)
    fields = " --config.probes=True" if probes else ""
    argument = ARGUMENTS[name] + comma + target
    return f"{MAIN}textvae_{corpus}.py:{argument} --config.data.dir=DIR{fields}"


def _values(runs: Sequence[Run], key: str) -> list[float]:
    """A figure of all runs that have it, in the unit of the tables."""
    found = [{**run["metrics"]["test"], **flatten(run["probes"])}.get(key) for run in runs]
    scale = 100 if _name(key) in SHARES else 1
    return [scale * value for value in found if value is not None]


def _mean(runs: Sequence[Run], key: str) -> float:
    return float(np.mean(_values(runs, key)))


def _printed(values: Sequence[float], key: str) -> str:
    digits = DIGITS.get(_name(key), 2)
    if len(values) < 2:
        return f"{values[0]:.{digits}f}" if values else NOTHING
    digits = max(digits, 1)  # a mean number of units is not whole
    return f"{np.mean(values):.{digits}f} ({np.std(values):.{digits}f})"


def _label(key: str) -> str:
    return LABELS.get(_name(key), key).format(key.partition(".")[2])


def _name(key: str) -> str:
    """linear_probe.500 is a linear_probe."""
    return key.partition(".")[0]


def _plain(corpus: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in corpus.lower())

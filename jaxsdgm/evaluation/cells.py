"""Finished runs read and gathered: those that differ in nothing but their seeds share a cell."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.report import INVENTED, NOTHING, flatten

LANGUAGES = ("en", "de", "fr", "ru", "zh")  # in the paper's order; others follow
SYSTEMS = {
    "nxvae_h": "NXVAE-h",
    "nxvae_z1": "NXVAE-z1",
    "sup_h": "SUP-h",
    "tfidf_lr": "TF-IDF + LR",
    "features_lr": "features + LR",
    "nb_em": "naive Bayes + EM",
    "ssvae-sup": "Supervised",
    "ssvae": "SSVAE",
    "ssvae-kl": "SSVAE-{KL}",
    "ssvae-z": "SSVAE-{z}",
    "ssvae-kl-z": "SSVAE-{KL,z}",
}
TAGGERS = {
    "bigru": "BiGRU",
    "vsl-g": "VSL-G",
    "vsl-gg-flat": "VSL-GG-Flat",
    "vsl-gg-hier": "VSL-GG-Hier",
}
SSVAES = tuple(name for system, name in SYSTEMS.items() if system.startswith("ssvae"))
GENERATIVE = {"m1m2": "M1+M2", "aux": "AUX"}
DECODERS = {"bow": "+BOW", "gru": "+GRU", "none": ""}
BERTS = ("BERTW", "BERTSW")
SUPERVISED = ("NXVAE-h", "NXVAE-z1", "SUP-h", *BERTS, "Supervised", "TF-IDF + LR", "features + LR")
PRETRAINED = ("NXVAE", "SNXVAE", *BERTS)
OWN_ENCODERS = (
    "BiLSTM",
    "text VAE",
    *PRETRAINED,
    NOTHING,
)  # all others are checkpoints of transformers
#: kinds of results with accuracies; a zero-shot run's language is a pair
CLASSIFIED = ("classify", "zero_shot", "tag")
_OWN_BERT = re.compile("(bertw|bertsw)-([a-z]+-[a-z]+)")
FOREIGN = "not results of this library"
#: fields of a config that may differ between the runs of one cell
FREE = frozenset(
    "name seed trials pretrained parallel tensorboard data.subset_seed data.dir "
    "training.checkpoint_seconds".split()
)


@dataclass(frozen=True)
class Cell:
    """What runs must share to be averaged."""

    corpus: str
    language: str
    system: str
    encoder: str
    n: int  # labelled documents, or sentences
    full: bool  # n is the whole training file
    unlabelled: str
    swept: str = ""  # the values of a sweep that the run was part of


@dataclass(frozen=True)
class Row:
    """A cell and the test accuracies (0..1) of its runs; std is the population's, None of one."""

    cell: Cell
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def std(self) -> float | None:
        return float(np.std(self.accuracies)) if len(self.accuracies) > 1 else None


def read_runs(
    folders: Sequence[str | Path], *, others: bool = False
) -> tuple[list[dict[str, Any]], list[str]]:
    """The results of all classification runs at or below the folders.

    Args:
      folders: of workdirs.
      others: with those of pretraining runs and of language models.

    Returns:
      The results, in the order of their paths, and what was passed over and why.

    Raises:
      UserError: a folder is missing, or there is no finished run.
    """
    runs, passed = [], []
    for folder in _workdirs(folders):
        path = folder / "results.json"
        if not path.exists():
            passed.append(f"{folder} (not finished)")
            continue
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
            kind = results.get("kind")
            if kind in CLASSIFIED or (others and kind in ("pretrain", "language_model")):
                _check(results)
                runs.append(results)
            elif kind not in ("trials", "stages"):  # whose runs are found in their sub-folders
                passed.append(f"{folder} ({kind or FOREIGN})")
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            passed.append(f"{folder} ({FOREIGN})")
    if not runs:
        there = f" ({'; '.join(passed)})" if passed else ""
        named = ", ".join(map(str, folders))
        raise UserError(f"{named}: no finished classification run there{there}; train one first")
    return runs, passed


def _workdirs(folders: Sequence[str | Path]) -> list[Path]:
    """Folders with a config.json or results.json, each once, in the order of their paths."""
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such directory; name the workdir of a run")
        for name in ("config.json", "results.json"):
            for path in folder.rglob(name):
                found.setdefault(path.parent.resolve(), path.parent)
    return sorted(found.values())


def _check(results: Mapping[str, Any]) -> None:
    """A KeyError or another where something is missing that tables need."""
    if results["kind"] == "language_model":
        _ = results["system"], results["corpus"], results["probes"], results["metrics"]["test"]
        return
    pair_of(results)
    results["config"]["data"]["source"]
    if results["kind"] in CLASSIFIED:
        cell_of(results)


def cell_of(results: Mapping[str, Any]) -> Cell:
    """Where a run belongs."""
    config, subset = results["config"], results["subset"]
    results["metrics"]["test"]["accuracy"]
    data, system = config["data"], system_name(results)
    corpus = data["source"]
    if corpus == "files":
        corpus = f"files {Path(data['train']).name}"
    swept = ", ".join(f"{k} {v[0]:g}" for k, v in config.get("sweep", {}).items() if v)
    if results["kind"] == "tag":
        vectors = (results.get("vectors") or {"name": "random vectors"})["name"]
        unlabelled = str(subset["unlabelled"]) if subset["unlabelled"] else NOTHING
        whole = subset["n"], subset["rule"] == "all"
        return Cell(corpus, results["language"], system, vectors, *whole, unlabelled, swept)
    further = data.get("unlabelled") or "train"
    return Cell(
        corpus=corpus,
        language=results["language"],
        system=system,
        encoder=encoder_name(results),
        n=subset["n"],
        full=subset["rule"] == "all",
        unlabelled=NOTHING if system in SUPERVISED else Path(further).name,
        swept=swept,
    )


def system_name(results: Mapping[str, Any]) -> str:
    """As the paper calls it."""
    name: str = results["system"]
    config = results["config"]
    if name in TAGGERS:
        kind = " (tag of z)" if config["model"]["classify"] == "z" else ""
        return TAGGERS[name] + (kind if config["model"]["variational"] else ", no VR")
    if name in GENERATIVE:
        return GENERATIVE[name] + DECODERS[config["model"]["decoder"]]
    bert = own_bert(results)
    known = bert[0] if bert and name == "sup_h" else SYSTEMS.get(name, name)
    return known + ("+ST" if config.get("self_training", {}).get("max_steps") else "")


def own_bert(results: Mapping[str, Any]) -> tuple[str, str] | None:
    """BERTW or BERTSW and its languages (en-de), where that is fine-tuned; its folder says so."""
    encoder = results.get("encoder", {"name": "", "trainable": False})
    found = _OWN_BERT.fullmatch(Path(encoder["name"]).name) if encoder["trainable"] else None
    return (found[1].upper(), found[2]) if found else None


def encoder_name(results: Mapping[str, Any]) -> str:
    """The checkpoint's name, NXVAE, or BiLSTM and the word vectors that it started from, if any."""
    if results["system"] in ("tfidf_lr", "nb_em"):
        return NOTHING
    config = results["config"]
    known = "NXVAE" if config.get("pretrained") else "BiLSTM"
    encoder = results.get("encoder")
    if encoder is None:  # a baseline, which trains none
        checkpoint = config.get("encoder", {}).get("checkpoint")
        encoder = {"name": checkpoint or known, "trainable": not checkpoint}
    frozen = "" if encoder["trainable"] else ", frozen"
    vectors, bert = results.get("vectors"), own_bert(results)
    if bert:
        return bert[0]
    return Path(encoder["name"]).name + (f", {vectors['name']}" if vectors else frozen)


def pair_of(results: Mapping[str, Any]) -> str:
    """The languages of a run's vocabularies, so those of its NXVAE, in the paper's order: en-de."""
    bert = own_bert(results)
    return bert[1] if bert else "-".join(sorted(results["languages"], key=language_order))


def spread(value: Mapping[str, Any] | None) -> str:
    """`75.2 (1.6)`, in per cent."""
    if value is None:
        return NOTHING
    std = value["std"]
    return f"{100 * value['mean']:.1f}" + ("" if std is None else f" ({100 * std:.1f})")


def rows_of(runs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Runs of one cell gathered, cells in the order in which a reader looks for them."""
    groups: dict[Cell, list[float]] = {}
    for run in runs:
        groups.setdefault(cell_of(run), []).append(run["metrics"]["test"]["accuracy"])
    return sorted((Row(c, tuple(x)) for c, x in groups.items()), key=_order)


def _order(row: Row) -> tuple:
    cell = row.cell
    return cell.corpus, *language_order(cell.language), cell.n, cell.full, *astuple(cell)


def language_order(code: str) -> tuple[int, str]:
    """Where a language stands in a table: the paper's first."""
    return (LANGUAGES.index(code) if code in LANGUAGES else len(LANGUAGES)), code


def warnings_of(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why a mean may not be what it seems: invented text, unequal settings, a run counted twice."""
    groups: dict[Cell, list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault(cell_of(run), []).append(run)
    told = [INVENTED] if any(cell.corpus == "generated" for cell in groups) else []
    for cell, group in groups.items():
        name = f"{cell.corpus}, {cell.language}, {cell.system}, {cell.n} labels"
        settings = [flatten(run["config"]) for run in group]
        keys = [key for key in settings[0] if key not in FREE]
        unequal = [key for key in keys if any(s.get(key) != settings[0][key] for s in settings)]
        if unequal:
            told.append(f"{name}: the runs differ in {', '.join(unequal)}, yet are averaged.")
        draws = {(run["seed"], run["subset"]["seed"]) for run in group}
        if len(draws) < len(group):
            told.append(f"{name}: {len(group)} runs, but only {len(draws)} different seeds.")
    return told

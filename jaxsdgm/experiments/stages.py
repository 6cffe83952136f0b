"""Several jobs one after the other in one workdir, and the comparison of what they found."""

import json
from pathlib import Path
from typing import Any

from jaxsdgm.data import debian
from jaxsdgm.data.documents import write_text
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.cells import CLASSIFIED
from jaxsdgm.evaluation.report import comparison_rows, write_comparison
from jaxsdgm.experiments import classify, language_model, masked_lm, pretrain, setup, tag
from jaxsdgm.experiments.setup import Config
from jaxsdgm.training.progress import log

EXPERIMENTS = {
    "pretrain": pretrain.run,
    "masked_lm": masked_lm.run,
    "classify": classify.run,
    "tag": tag.run,
    "language_model": language_model.run,
}
STAGE = "stage:"


def run(config: Config, workdir: Path) -> dict[str, Any]:
    """Runs `config[name]` for every name in `config.order`, each in `workdir/name`.

    A stage's `pretrained`, `tuned` or `priors` = "stage:NAME" is the workdir of an earlier one.
    Finished stages are not run again.
    """
    setup.start_workdir(config, workdir)
    corpus = provide_corpus(config, workdir)
    runs = {}
    for name in config.order:
        log.info("stage %s", name)
        stage = prepare(config[name], corpus, workdir)
        runs[name] = EXPERIMENTS[stage.experiment](stage, workdir / name)
    compared = [result for result in runs.values() if result["kind"] in CLASSIFIED]
    warnings = [corpus["note"]] if corpus["note"] else []
    links = {result["name"]: f"{name}/report.html" for name, result in runs.items()}
    page = write_comparison(workdir, compared, title=config.name, warnings=warnings, links=links)
    results = {"kind": "stages", "name": config.name, "warnings": warnings}
    results["comparison"] = comparison_rows(compared)
    results["stages"] = {name: summary(result) for name, result in runs.items()}
    setup.write_results(workdir, results)
    announce(results, page)
    return results


def prepare(stage: Config, corpus: dict[str, Any], workdir: Path) -> Config:
    """A stage's config with the corpus and the stage before it filled in."""
    stage = stage.copy_and_resolve_references()
    with stage.unlocked():
        stage.data.source, stage.data.dir = corpus["source"], corpus["dir"]
        for field in ("pretrained", "tuned", "priors"):
            if stage.get(field, "").startswith(STAGE):
                stage[field] = str(workdir / stage[field].removeprefix(STAGE))
    return stage


def provide_corpus(config: Config, workdir: Path) -> dict[str, Any]:
    """Debian's descriptions, fetched by apt; where that cannot be, the generated corpus.

    What was decided is kept in corpus.json, so that a resumed run uses the same text.
    """
    path = workdir / "corpus.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    corpus = {"source": config.corpus.source, "dir": config.corpus.dir, "note": ""}
    if corpus["source"] == "debian" and not corpus["dir"]:
        try:
            corpus["dir"] = str(workdir / "corpus")
            if not (workdir / "corpus" / "stats.json").exists():
                log.info("fetching Debian's package descriptions with apt-get (a minute or two)")
                debian.build_corpus(workdir / "corpus", **dict(config.corpus.build))
        except UserError as error:
            corpus["source"], corpus["dir"] = "generated", ""
            corpus["note"] = (
                f"THE TEXT OF THIS RUN IS INVENTED: Debian's descriptions could not be had "
                f"({error}), so the generated corpus of two made-up languages stood in. The "
                "figures say that the program works, nothing about real text."
            )
    if corpus["note"]:
        log.warning("%s", corpus["note"])
    write_text(path, json.dumps(corpus, indent=1) + "\n")
    return corpus


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a stage that the whole run's results.json repeats."""
    kept = {k: result[k] for k in ("kind", "name", "training", "chosen") if k in result}
    if result["kind"] in CLASSIFIED:
        metrics = result["metrics"]
        kept["accuracy"] = {split: metrics[split]["accuracy"] for split in ("dev", "test")}
    return kept


def announce(results: dict[str, Any], page: Path) -> None:
    """The comparison on the terminal."""
    log.info("%-40s %8s %8s", "accuracy", "dev", "test")
    for stage in results["stages"].values():
        if stage["kind"] in CLASSIFIED:
            dev, test = stage["accuracy"]["dev"], stage["accuracy"]["test"]
            log.info("%-40s %8.1f %8.1f", stage["name"], 100 * dev, 100 * test)
    log.info("report: %s", page)

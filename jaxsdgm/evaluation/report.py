"""HTML files that show a run or compare runs: no scripts, no network, images inside."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from jaxsdgm.evaluation import figures as draw
from jaxsdgm.training.progress import read_metrics

NOTHING = "–"
INVENTED = (
    "The documents of this run were invented by a generator (data source: generated). "
    "The numbers show that the program works; they say nothing about real text."
)


def write_report(
    workdir: str | Path,
    results: Mapping[str, Any],
    *,
    figures: Mapping[str, bytes | None] | None = None,
    tables: str = "",
) -> Path:
    """Writes workdir/report.html and the figures in workdir/figures/.

    The curves are drawn from workdir/metrics.jsonl and the confusion matrix from the results.

    Args:
        workdir: of the run.
        results: what results.json holds; every key but name is optional.
        figures: SVG or PNG bytes by name: "tsne", and any other, shown at the end; None is left
            out. The names "training_curves" and "confusion" replace the ones drawn here.
        tables: the page of its word tables, relative to workdir; "": there is none.

    Returns:
        The path of report.html.
    """
    workdir = Path(workdir)
    split = next((s for s in ("test", "dev") if _classified(results, s)), None)
    shown = {**_own_figures(workdir, results, split), **(figures or {})}
    images = save_figures(workdir, shown)
    page = render(
        "report.html.j2",
        results=results,
        warnings=_warnings([results]),
        images=images,
        tables=tables,
        split=split,
        splits=[s for s in ("train", "dev", "test") if s in results.get("metrics", {})],
        config=flatten(results.get("config", {})),
        probes=flatten(results.get("probes", {})),
    )
    return _write(workdir / "report.html", page)


def comparison_rows(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs of one name gathered into one row, in the order the names first come.

    Returns:
        name, runs, n (labelled documents, or None), seconds (mean) and, for each of dev_accuracy,
        test_accuracy, test_macro_f1, test_ece and test_nll, {"mean", "std"}, or None where no run
        has it. std is the population standard deviation over the runs, None for a single run.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["name"], []).append(run)
    return [_row(name, group) for name, group in groups.items()]


def write_comparison(
    workdir: str | Path,
    runs: Sequence[Mapping[str, Any]],
    *,
    title: str = "Comparison",
    warnings: Iterable[str] = (),
    links: Mapping[str, str] | None = None,
) -> Path:
    """Writes workdir/comparison.html: accuracies side by side, as a table and as bars.

    Args:
        workdir: where the page goes.
        runs: the results of each run; those of one name (other seeds) are averaged. A baseline
            is a run too: {"name": "naive Bayes", "metrics": {"test": {"accuracy": 0.68}}}.
        title: the page's heading.
        warnings: what must be said above those that the runs carry themselves.
        links: by name of a run, the path of its own report relative to workdir.

    Returns:
        The path of comparison.html.
    """
    workdir = Path(workdir)
    rows = comparison_rows(runs)
    bars = [{"name": row["name"], **row["test_accuracy"]} for row in rows if row["test_accuracy"]]
    images = save_figures(workdir, {"comparison": draw.comparison_bars(bars) if bars else None})
    page = render(
        "comparison.html.j2",
        title=title,
        rows=rows,
        runs=runs,
        links=links or {},
        images=images,
        warnings=[*dict.fromkeys([*warnings, *_warnings(runs)])],
    )
    return _write(workdir / "comparison.html", page)


def _classified(results: Mapping[str, Any], split: str) -> bool:
    return "confusion" in results.get("metrics", {}).get(split, {})


def _own_figures(
    workdir: Path, results: Mapping[str, Any], split: str | None
) -> dict[str, bytes | None]:
    best_step = results.get("training", {}).get("best_step")
    curves = draw.training_curves(read_metrics(workdir / "metrics.jsonl"), best_step=best_step)
    if split is None:
        return {"training_curves": curves}
    report = results["metrics"][split]
    names = [row["label"] for row in report["per_class"]]
    return {
        "training_curves": curves,
        "confusion": draw.confusion_matrix(report["confusion"], names),
    }


def _row(name: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    seconds = [s for run in runs if (s := run.get("training", {}).get("seconds")) is not None]
    row: dict[str, Any] = {
        "name": name,
        "runs": len(runs),
        "n": runs[0].get("subset", {}).get("n"),
        "seconds": float(np.mean(seconds)) if seconds else None,
    }
    for split, metric in (
        ("dev", "accuracy"),
        *(("test", m) for m in ("accuracy", "macro_f1", "ece", "nll")),
    ):
        values = [
            v
            for run in runs
            if (v := run.get("metrics", {}).get(split, {}).get(metric)) is not None
        ]
        row[f"{split}_{metric}"] = _spread(values) if values else None
    return row


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values)) if len(values) > 1 else None,
    }


def _warnings(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """All warnings of the runs, each once, an invented corpus first."""
    told: list[str] = []
    for run in runs:
        data = run.get("data", {})
        invented = run.get("config", {}).get("data", {}).get("source") == "generated"
        told += [INVENTED] if invented else []
        # With several runs a warning about one must say which.
        own = run.get("warnings", [])
        told += [
            *data.get("warnings", []),
            *(own if len(runs) == 1 else (f"{run['name']}: {w}" for w in own)),
        ]
    return sorted(dict.fromkeys(told), key=lambda warning: warning != INVENTED)


def save_figures(workdir: Path, figures: Mapping[str, bytes | None]) -> dict[str, str]:
    """Writes each figure to workdir/figures/ and returns the data URIs by name."""
    (workdir / "figures").mkdir(parents=True, exist_ok=True)
    uris = {}
    for name, image in figures.items():
        if image is not None:
            ending, kind = ("png", "png") if image.startswith(b"\x89PNG") else ("svg", "svg+xml")
            (workdir / "figures" / f"{name}.{ending}").write_bytes(image)
            uris[name] = f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"
    return uris


def _write(path: Path, page: str) -> Path:
    path.write_text(page, "utf-8")
    return path


def flatten(tree: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """{"model": {"size": 3}} becomes {"model.size": 3}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        inner = isinstance(value, Mapping)
        flat |= flatten(value, prefix=f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def _number(value: Any) -> str:
    """A number with the digits that mean something: 38,471,428; 441.3; 1.25; 0.034; 2.1e-05."""
    if value is None or isinstance(value, jinja2.Undefined):
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size and size < 0.001:
        return f"{value:.1e}"
    return f"{value:,.{0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3}f}"


def _percent(value: Any) -> str:
    return f"{100 * value:.1f}%" if isinstance(value, int | float) else NOTHING


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


FILTERS = {"number": _number, "percent": _percent, "duration": _duration}


def render(template: str, **values: Any) -> str:
    """A page of the templates beside this file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # every key of the results is optional
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template(template).render(values)

"""The report's figures, drawn from plain arrays, each returned as the bytes of an SVG or PNG."""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from sklearn.manifold import TSNE

# Okabe and Ito's colours, told apart under every common colour blindness. Without their yellow,
# which is too faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
HATCHES = ("", "////", "....", "xxxx")
STYLE: Any = {  # matplotlib's rcParams
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "jaxsdgm",  # the same figure is the same bytes
}
TSNE_POINTS = (10, 2000)  # fewer are not drawn, more are sampled down
SMALL_KL = 0.1  # nats; the KL axis is linear below and logarithmic above

# One panel for each kind of number in metrics.jsonl, told by the last part of its key.
PANELS: dict[str, Callable[[str], bool]] = {
    "Loss": lambda term: term == "loss",
    "Accuracy": lambda term: term in ("accuracy", "macro_f1"),
    "Label cross-entropy (nats)": lambda term: term in ("nll", "classification"),
    "Reconstruction (nats a document)": lambda term: term == "reconstruction",
    "KL (nats a document)": lambda term: term == "kl" or term.startswith("kl_"),
}


def training_curves(
    rows: Sequence[Mapping[str, Any]], *, best_step: int | None = None
) -> bytes | None:
    """SVG of every loss, accuracy, reconstruction and KL over the steps; None if there are none.

    Args:
        rows: objects of metrics.jsonl, {"step": 100, "train/loss": 1.5, "dev/accuracy": 0.5, ...}.
        best_step: the step whose parameters were kept, marked by a line.
    """
    panels = {title: keys for title, holds in PANELS.items() if (keys := _keys(rows, holds))}
    if not panels:
        return None
    columns = min(3, len(panels))
    with rc_context(STYLE):
        figure = Figure(
            figsize=(3.5 * columns, 2.7 * -(-len(panels) // columns)), layout="constrained"
        )
        for number, (title, keys) in enumerate(panels.items()):
            axes = figure.add_subplot(-(-len(panels) // columns), columns, number + 1, title=title)
            _curves(axes, rows, keys)
            if title.startswith("KL"):
                axes.set_yscale("symlog", linthresh=SMALL_KL)
                axes.set_ylim(bottom=0)
            if best_step is not None:
                axes.axvline(best_step, color="#888888", linewidth=0.8, linestyle=":")
        return _bytes(figure, "svg")


def confusion_matrix(confusion: ArrayLike, label_names: Sequence[str]) -> bytes:
    """SVG of a confusion matrix: counts as text, shares of the gold class (the row) as colour.

    Args:
        confusion: [k, k] counts, rows are gold classes.
        label_names: k names.
    """
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 1.9 + 0.7 * len(counts)
    ticks = range(len(counts))
    names = [textwrap.shorten(name, 18, placeholder="…") for name in label_names]
    with rc_context(STYLE):
        figure = Figure(figsize=(size, size * 0.86), layout="constrained")
        axes = figure.add_subplot(xlabel="predicted", ylabel="gold")
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(ticks, names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for (row, column), share in np.ndenumerate(shares):
            ink = "white" if share > 0.5 else "#222222"
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=ink)
        return _bytes(figure, "svg")


def tsne_scatter(
    points: ArrayLike, labels: ArrayLike, label_names: Sequence[str], *, seed: int = 0
) -> bytes | None:
    """PNG of a t-SNE of latent means, coloured by class.

    Args:
        points: [n, d]; of more than 2000 rows as many are drawn at random.
        labels: [n] class numbers.
        label_names: their names.
        seed: of the sample and of the t-SNE.

    Returns:
        None where there is nothing to see: fewer than 10 rows, all rows equal, or a value that is
        not finite.
    """
    points, labels = np.asarray(points, np.float32), np.asarray(labels)  # [n, d], [n]
    fewest, most = TSNE_POINTS
    if len(points) > most:
        chosen = np.random.default_rng(seed).choice(len(points), most, replace=False)
        points, labels = points[chosen], labels[chosen]
    if len(points) < fewest or not np.isfinite(points).all() or not np.ptp(points, axis=0).any():
        return None
    perplexity = min(30.0, (len(points) - 1) / 3)
    init = "pca" if points.shape[1] > 1 else "random"
    embedded = TSNE(perplexity=perplexity, init=init, random_state=seed).fit_transform(points)
    with rc_context(STYLE):
        figure = Figure(figsize=(5.4, 4.6), layout="constrained")
        axes = figure.add_subplot(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        for label, name in enumerate(label_names):
            _cloud(axes, embedded[labels == label], number=label, name=name)
        figure.legend(loc="outside right upper", markerscale=1.6, handletextpad=0.1)
        return _bytes(figure, "png")


def comparison_bars(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """SVG of accuracies side by side, from the top down in the order given.

    Args:
        rows: {"name", "mean", "std"} in 0..1; a std of 0 or None (one run) has no whisker.
    """
    places = range(len(rows))
    means = np.array([100 * row["mean"] for row in rows])
    spreads = np.array([100 * (row.get("std") or 0.0) for row in rows])
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 0.7 + 0.42 * len(rows)), layout="constrained")
        axes = figure.add_subplot(xlabel="test accuracy (%)", xlim=(0, 100))
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        colours = [PALETTE[i % len(PALETTE)] for i in places]
        axes.barh(places, means, height=0.62, color=colours)
        for place, mean, spread in zip(places, means, spreads, strict=True):
            _whisker(axes, place, mean, spread)
        axes.set_yticks(
            places, [textwrap.shorten(row["name"], 40, placeholder="…") for row in rows]
        )
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        return _bytes(figure, "svg")


def accuracy_boxes(
    panels: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]],
    lines: Mapping[str, Mapping[str, float]],
) -> bytes:
    """SVG of the paper's Figure 1: boxes of test accuracies over the runs, the mean as a dot.

    Args:
        panels: accuracies in 0..1 by panel, system and number of labels.
        lines: by panel and system, the mean with all labels; dashed.
    """
    named = [*panels.values(), *lines.values()]
    systems = [*dict.fromkeys(name for by_name in named for name in by_name)]
    columns = min(2, len(panels))
    depth = -(-len(panels) // columns)
    with rc_context(STYLE):
        figure = Figure(
            figsize=(max(5.6, 4.6 * columns), 3.1 * depth + 0.25 * len(systems)),
            layout="constrained",
        )
        for number, (title, by_name) in enumerate(panels.items()):
            axes = figure.add_subplot(depth, columns, number + 1, title=title)
            _boxes(axes, by_name, lines.get(title, {}), systems)
        handles = [Patch(**_fill(systems, name), label=name) for name in systems]
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        return _bytes(figure, "svg")


def _boxes(
    axes: Axes,
    by_name: Mapping[str, Mapping[int, Sequence[float]]],
    lines: Mapping[str, float],
    systems: Sequence[str],
) -> None:
    sizes = sorted({n for values in by_name.values() for n in values})
    width = 0.8 / len(by_name)
    for number, (name, values) in enumerate(by_name.items()):
        colour = _colour(systems, name)
        places = [sizes.index(n) + width * (number - (len(by_name) - 1) / 2) for n in values]
        percents = [100 * np.asarray(x) for x in values.values()]
        drawn = axes.boxplot(
            percents,
            positions=places,
            widths=0.85 * width,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": colour},
            flierprops={"markersize": 3},
        )
        for box in drawn["boxes"]:
            box.set(**_fill(systems, name))
        axes.plot(places, [x.mean() for x in percents], "o", color=colour, markersize=4)
    for name, mean in lines.items():
        axes.axhline(100 * mean, color=_colour(systems, name), linestyle="--", linewidth=1)
    axes.set_xticks(range(len(sizes)), [str(n) for n in sizes])
    axes.set_xlim(-0.6, len(sizes) - 0.4)
    axes.set_xlabel("labelled documents")
    axes.set_ylabel("test accuracy (%)")
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _colour(systems: Sequence[str], name: str) -> str:
    return PALETTE[systems.index(name) % len(PALETTE)]


def _fill(systems: Sequence[str], name: str) -> dict[str, Any]:
    """Of a system's boxes; hatched at each turn of the palette, so that no two look alike."""
    colour, turn = _colour(systems, name), systems.index(name) // len(PALETTE)
    return {"facecolor": colour + "33", "edgecolor": colour, "hatch": HATCHES[turn % len(HATCHES)]}


def _keys(rows: Sequence[Mapping[str, Any]], holds: Callable[[str], bool]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if value is not None)
    return [key for key in keys if "/" in key and holds(key.rsplit("/", 1)[1])]


def _curves(axes: Axes, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> None:
    for number, key in enumerate(keys):
        drawn = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        steps, values = zip(*drawn, strict=True)
        axes.plot(
            steps,
            values,
            label=key,
            color=PALETTE[number % len(PALETTE)],
            linestyle="-" if number < len(PALETTE) else "--",
            linewidth=1.3,
            marker="o" if len(drawn) == 1 else None,  # a line through one point shows nothing
            markersize=3,
        )
    axes.grid(axis="y")
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.set_xlabel("step")
    axes.legend(loc="best")


def _cloud(axes: Axes, points: np.ndarray, *, number: int, name: str) -> None:
    colour = PALETTE[number % len(PALETTE)]
    # Shifted at each turn of the palette, so that no two of 49 classes share colour and shape.
    marker = MARKERS[(number + number // len(PALETTE)) % len(MARKERS)]
    size = 30 if len(points) < 100 else 12
    axes.scatter(*points.T, s=size, c=colour, marker=marker, alpha=0.7, linewidths=0, label=name)


def _whisker(axes: Axes, place: float, mean: float, spread: float) -> None:
    if spread:
        axes.errorbar(mean, place, xerr=spread, color="#222222", capsize=3, linewidth=1)
    text = f"{mean:.1f}" + (f" ± {spread:.1f}" if spread else "")
    axes.text(
        102, place, text, va="center", color="#222222"
    )  # right of the axes, clear of every bar


def _bytes(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # Without a date the same figure is the same bytes.
    figure.savefig(buffer, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()

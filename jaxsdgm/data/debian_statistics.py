"""What the Debian corpus holds: class counts, lengths and vocabulary, as numbers and as tables."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxsdgm.data.debian_documents import CLASSES, Document
from jaxsdgm.data.debian_text import digits_to_zero, tokens

Statistics = dict[str, Any]


def class_counts(documents: Iterable[Document]) -> dict[str, int]:
    """Documents of each label, those without any included."""
    counts = Counter(document.label for document in documents)
    return {label: counts[label] for label in CLASSES}


def describe(documents: Sequence[Document]) -> Statistics:
    """Class counts and lengths (in tokens and characters) of the documents of one file."""
    lengths = np.array([len(tokens(document.text)) for document in documents] or [0])
    characters = np.array([len(document.text) for document in documents] or [0])
    quantiles = np.quantile(lengths, [0.05, 0.25, 0.5, 0.75, 0.95])
    return {
        "documents": len(documents),
        "per_class": class_counts(documents),
        "tokens_mean": round(float(lengths.mean()), 1),
        "tokens_q05_q25_q50_q75_q95": [round(float(q), 1) for q in quantiles],
        "tokens_max": int(lengths.max()),
        "characters_mean": round(float(characters.mean()), 1),
    }


def vocabulary(texts: Iterable[str]) -> dict[str, int]:
    """Tokens and types, digits as 0, and the types seen at least twice and five times."""
    counts = Counter(tokens(digits_to_zero("\n".join(texts))))
    return {
        "tokens": counts.total(),
        "types": len(counts),
        "types_min2": sum(n >= 2 for n in counts.values()),
        "types_min5": sum(n >= 5 for n in counts.values()),
    }


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A markdown table whose columns, but the first, are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _file_rows(languages: Statistics) -> Iterable[list[Any]]:
    for name, info in languages.items():
        for part, row in info["files"].items():
            quantiles = [f"{q:g}" for q in row["tokens_q05_q25_q50_q75_q95"]]
            counts = [*row["per_class"].values(), row["documents"], row["tokens_mean"]]
            yield [f"{name} {part}", *counts, *quantiles, row["tokens_max"]]


def _pool_rows(languages: Statistics) -> Iterable[list[Any]]:
    for name, info in languages.items():
        counts = [info["pool"], *info["pool_per_class"].values(), info["rest_documents"]]
        sizes = info["vocabulary_train.1000"].values()
        yield [name, *counts, *sizes, info["vocabulary_all"]["types"]]


def _pretraining_rows(pretraining: Statistics) -> Iterable[list[Any]]:
    for name, info in pretraining.items():
        if "pairs" in info:
            for side in name.split("-"):
                yield [f"debian.{name}.{side}", info["pairs"], *info[side].values()]
        else:
            yield [f"debian.{name}", *info.values()]


def markdown(statistics: Statistics) -> str:
    """The statistics as three tables."""
    labels = list(statistics["classes"])
    lengths = ["tokens mean", "q05", "q25", "q50", "q75", "q95", "max"]
    kinds = ["tokens", "types", "types >=2", "types >=5"]
    files = _table(["file", *labels, "total", *lengths], _file_rows(statistics["languages"]))
    pools = _table(
        ["language", "pool", *labels, "left over", *kinds, "types (pool)"],
        _pool_rows(statistics["languages"]),
    )
    texts = _table(["file", "lines", *kinds], _pretraining_rows(statistics["pretraining"]))
    blocks = [
        "# Debian package descriptions: statistics",
        "Rows as in the paper's Table 2. Tokens: lower-cased word runs; "
        "each Han character counts as one.",
        files,
        "Pools before balancing, documents left over, vocabulary of train.1000 "
        "(lower case, digits to 0) and types of the pool:",
        pools,
        "Pretraining text:",
        texts,
    ]
    return "\n\n".join(blocks) + "\n"

"""How good a tagger is: accuracy of tokens, F1 of tags and of entities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOBES
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

Tags = Sequence[Sequence[str]]  # of sentences


def tagging_report(predicted: Tags, gold: Tags, tag_names: Sequence[str]) -> dict[str, Any]:
    """Every number of the report about one split, ready for JSON.

    Returns:
      accuracy, over tokens; macro_f1, the mean over the tags that the split has; per_class, a list
      of {label, precision, recall, f1, support}; confusion, [k][k] counts with gold tags as rows.

    Raises:
      ValueError: a sentence has more or fewer predictions than tags.
    """
    numbers = {name: i for i, name in enumerate(tag_names)}
    pairs = [
        (numbers[g], numbers[p])
        for gold_of_one, found in zip(gold, predicted, strict=True)
        for g, p in zip(gold_of_one, found, strict=True)
    ]
    truth, guess = np.array(pairs).T
    classes = np.arange(len(tag_names))
    scores = precision_recall_fscore_support(
        truth,
        guess,
        labels=classes,
        zero_division=0.0,  # pyright: ignore[reportArgumentType]
    )
    per_class = [
        {"label": name, "precision": p, "recall": r, "f1": f, "support": int(n)}
        for name, (p, r, f, n) in zip(tag_names, np.array(scores).T.tolist(), strict=True)
    ]
    there = [row["f1"] for row in per_class if row["support"]]
    return {
        "accuracy": float((truth == guess).mean()),
        "macro_f1": float(np.mean(there)),
        "per_class": per_class,
        "confusion": confusion_matrix(truth, guess, labels=classes).tolist(),
    }


def entity_scores(predicted: Tags, gold: Tags) -> dict[str, float]:
    """Micro-averaged precision, recall and F1 of BIOES spans, by seqeval.

    Strict: a span counts where its ends and type are right, and an ill-formed run of tags is none.
    """
    tags = [list(tags) for tags in gold], [list(tags) for tags in predicted]
    how = {"average": "micro", "mode": "strict", "scheme": IOBES, "zero_division": 0}
    scores: dict[str, Any] = {"precision": precision_score, "recall": recall_score, "f1": f1_score}
    return {name: float(score(*tags, **how)) for name, score in scores.items()}

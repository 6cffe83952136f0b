"""How good a tagger is: accuracy of tokens, F1 of tags and of entities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOBES

from jaxsdgm.evaluation.classification import class_scores

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
    found = class_scores(truth, guess, tag_names)
    there = [row["f1"] for row in found["per_class"] if row["support"]]
    accuracy = float((truth == guess).mean())
    return {"accuracy": accuracy, "macro_f1": float(np.mean(there)), **found}


def entity_scores(predicted: Tags, gold: Tags) -> dict[str, float]:
    """Micro-averaged precision, recall and F1 of BIOES spans, by seqeval.

    Strict: a span counts where its ends and type are right, and an ill-formed run of tags is none.
    """
    tags = [list(tags) for tags in gold], [list(tags) for tags in predicted]
    how = {"average": "micro", "mode": "strict", "scheme": IOBES, "zero_division": 0}
    scores: dict[str, Any] = {"precision": precision_score, "recall": recall_score, "f1": f1_score}
    return {name: float(score(*tags, **how)) for name, score in scores.items()}

"""An invented language of short sentences, and configs small enough for tests."""

import numpy as np

from configs import textvae_files

SUBJECTS, VERBS, OBJECTS = ("a man", "the dog", "two girls"), ("sees", "eats"), ("it", "a cake")


def sentences(n, seed):
    """(label, words): the label is the verb's."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        verb = rng.integers(2)
        parts = [rng.choice(SUBJECTS), VERBS[verb], rng.choice(OBJECTS)]
        found.append((str(verb), " ".join([*parts, *["very"] * rng.integers(0, 3), "."])))
    return found


def corpus(folder, *, train=60, labelled=False):
    """The three files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, n, seed in (("train", train, 1), ("valid", 20, 2), ("test", 24, 3)):
        rows = sentences(n, seed)
        lines = [f"{label}\t{text}\n" if labelled else f"{text}\n" for label, text in rows]
        (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def config(folder, recipe, **fields):
    config = textvae_files.get_config(recipe)
    config.data.dir = str(folder)
    config.data.min_count = 1
    config.model.embedding = config.model.hidden = 8
    config.model.latent = min(config.model.latent, 4)
    config.model.recurrence = "scan"
    config.model.importance_samples = min(config.model.importance_samples, 3)
    config.evaluation.samples, config.evaluation.chunk = 20, 10
    config.training.max_epochs = 2
    config.training.checkpoint_seconds = 0.0
    config.update_from_flattened_dict(fields)
    return config

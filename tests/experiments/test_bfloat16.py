"""Runs with products in bfloat16: they compile, learn something, and keep float32 parameters.

XLA's compiler for the CPU has no code for some forms of these products, which shows at run time.
"""

import json

import jax
import numpy as np

from jaxsdgm.experiments import language_model, stages, tag
from jaxsdgm.training.checkpoints import load_pretrained
from tests.experiments import tiny_quickstart, tiny_sentences, tiny_tags


def check(folder, term):
    """A term is lower in the second half of the steps than in the first; weights are float32."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = np.array([row[f"train/{term}"] for row in rows])
    first, second = np.array_split(found, 2)
    assert second.mean() < first.mean()
    params = load_pretrained(folder)[0]
    kinds = {x.dtype for x in jax.tree.leaves(params) if np.issubdtype(x.dtype, np.floating)}
    assert kinds == {np.dtype("float32")}


def test_pretraining_and_m1m2(tmp_path):
    config = tiny_quickstart.get_config()
    config.order = ("pretrain", "m1m2")
    for stage in config.order:
        config[stage].dtype = "bfloat16"
        config[stage].training.max_steps, config[stage].training.eval_every = 20, 10
    stages.run(config, tmp_path)
    check(tmp_path / "m1m2", "unlabelled/reconstruction")


def test_text_vae(tmp_path):
    folder = tiny_sentences.corpus(tmp_path / "corpus")
    fields = {"dtype": "bfloat16", "training.max_steps": 20}
    config = tiny_sentences.config(folder, "vae", **fields)
    language_model.run(config, tmp_path / "run")
    check(tmp_path / "run", "sentences/reconstruction")


def test_tagger(tmp_path):
    folder = tiny_tags.corpus(tmp_path / "corpus")
    fields = {"dtype": "bfloat16", "training.max_steps": 60, "training.eval_every": 10}
    tag.run(tiny_tags.config(folder, **fields), tmp_path / "run")
    check(tmp_path / "run", "labelled/cross_entropy")

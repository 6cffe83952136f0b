"""SSVAE, a simplification of it or the supervised classifier on AG News (spec of paper 2).

    python -m jaxsdgm.main --config=configs/ssvae_agnews.py:ssvae-kl-z,0.03 --config.trials=5 \
        [--config.data.dir=DIR] [--config.vectors=wiki.en.vec]

The argument is the system (ssvae, ssvae-kl, ssvae-z, ssvae-kl-z, ssvae-sup) and the share of the
labels (0.01, 0.03, 0.1, 0.3 or 1 of 4000). Five trials are the five rotations of the labelled pool,
side by side; --config.sweep.generation_weight=1,0.1,0.01,0.001 is the paper's grid of alpha. DIR
has train.csv and test.csv of the release; without it the set comes through TFDS. Without vectors
the embeddings start at random. Not yet run on the set itself here.
"""

from ml_collections import ConfigDict

from configs import common

POOL, UNLABELLED = 5000, 10_000


def get_config(argument: str = "ssvae,1") -> ConfigDict:
    return make_config("agnews", argument, max_length=63)


def make_config(source: str, argument: str, *, max_length: int, pool: int = POOL) -> ConfigDict:
    """The paper's sizes, schedule and stopping on one of its sets; lengths without the start."""
    system, share = argument.split(",")
    config = common.classification()
    config.name = f"ssvae_{source}_{system}_{share}"
    config.data.source = source
    config.data.normaliser = "whitespace"
    config.data.vocab_size = ConfigDict({"en": 10_000})
    config.data.vocabulary = "labelled"
    config.data.max_length = max_length
    config.data.pool, config.data.pool_unlabelled = pool, UNLABELLED
    config.data.subset = "rotation"
    config.data.n_labels = round(float(share) * pool * 4 / 5)
    config.data.batch_size = config.data.unlabelled_size = 32
    config.model.system = system
    config.model.embedding, config.model.hidden, config.model.layers = 300, 100, 1
    config.model.dropout = 0.5
    config.model.latent = 32
    config.learning_rate, config.adam_b2 = 4e-3, 0.99
    config.rate_division.after = 4
    config.training.patience = 8
    config.training.max_steps = 200_000
    return config

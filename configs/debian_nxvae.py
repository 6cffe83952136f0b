"""NXVAE on Debian's translated package descriptions, at a size for two cores.

    python -m jaxsdgm.data.debian --out data/debian
    python -m jaxsdgm.main --config=configs/debian_nxvae.py:de-en --config.data.dir=data/debian

The argument is the language pair (de-en, fr-en). Four minutes on a core. More is not better: after
5000 steps (15 minutes, with a cosine) dev reconstruction was 54 nats a sentence instead of 61, but
the classifiers that started from it were worse.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(pair: str = "de-en") -> ConfigDict:
    config = common.pretraining()
    config.name = f"debian_nxvae_{pair}"
    config.learning_rate = 2e-3
    config.data.source = "debian"
    config.data.languages = tuple(pair.split("-"))
    config.data.normaliser = "words"
    config.data.vocab_size = ConfigDict(dict.fromkeys(config.data.languages, 16_000))
    config.data.batch_size = 64
    config.data.max_length = 24
    config.data.dev_lines = 2_000
    config.data.documents_per_step = 32
    config.model.embedding = config.model.latent = 96
    config.model.hidden = 64
    config.model.layers = 1
    config.model.pooling = "mean+words"
    config.model.adversary = "none"
    config.training.max_steps = 1_200
    config.training.eval_every = 200
    config.training.patience = 0
    return config

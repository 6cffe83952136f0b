"""BERT on Debian's translated package descriptions, by masked words, at a size for two cores.

    python -m jaxsdgm.data.debian --out data/debian
    python -m jaxsdgm.main --config=configs/debian_bert.py:de-en,words --config.data.dir=data/debian

The argument is the language pair (de-en, fr-en) and words or subwords.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(argument: str = "de-en,words") -> ConfigDict:
    pair, pieces = argument.split(",")
    config = common.masked_lm()
    config.name = f"debian_bert_{pair}_{pieces}"
    config.learning_rate = 2e-3
    config.rate_warmup = 200
    config.data.source = "debian"
    config.data.languages = tuple(pair.split("-"))
    config.data.normaliser = "words"
    config.data.vocab_size = ConfigDict(dict.fromkeys(config.data.languages, 16_000))
    config.data.subwords = 8_000 if pieces == "subwords" else 0
    config.data.max_length = 64
    config.data.dev_lines = 2_000
    config.model.hidden = 96
    config.model.layers = 2
    config.model.heads = 4
    config.model.feed_forward = 384
    config.model.positions = 128
    config.training.max_steps = 2_000
    config.training.eval_every = 200
    return config

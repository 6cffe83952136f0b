"""BERT at the paper's sizes on Europarl v7, by masked words (Table 6, spec §11.1).

    python -m jaxsdgm.main --config=configs/europarl_bert.py:en-de,words --config.data.dir=DIR

DIR is that of europarl_nxvae.py. The argument is the language pair and words (BERTW, 45.0 M
parameters) or subwords (BERTSW, 19.1 M). The encoder is WORKDIR/bertw-en-de or bertsw-en-de
afterwards. The paper's runs took five and three days on one GTX 1080 Ti; not yet run here.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(argument: str = "en-de,words") -> ConfigDict:
    pair, pieces = argument.split(",")
    config = common.masked_lm()
    config.name = f"europarl_bert_{pair}_{pieces}"
    config.data.languages = tuple(pair.split("-"))
    if pieces == "subwords":
        config.data.subwords = 10_000
        config.model.layers = 11
        config.model.feed_forward = 1800
    return config

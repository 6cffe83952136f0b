"""BERT at the paper's size on Europarl v7, by masked words (Table 6, spec §11.1): BERTW.

    python -m jaxsdgm.main --config=configs/europarl_bert.py:en-de,words --config.data.dir=DIR

DIR is that of europarl_nxvae.py. The argument is the language pair and the pieces: words. The
encoder, 45.0 M parameters, is WORKDIR/bertw-en-de afterwards. The paper's run took five days on one
GTX 1080 Ti; not yet run here.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(argument: str = "en-de,words") -> ConfigDict:
    pair, pieces = argument.split(",")
    config = common.masked_lm()
    config.name = f"europarl_bert_{pair}_{pieces}"
    config.data.languages = tuple(pair.split("-"))
    config.data.pieces = pieces
    return config

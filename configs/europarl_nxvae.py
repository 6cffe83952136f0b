"""NXVAE at the paper's size on Europarl v7 (spec §4, §12): 41.8 M parameters for en-de.

    python -m jaxsdgm.main --config=configs/europarl_nxvae.py:en-de --config.data.dir=DIR

DIR holds europarl-v7.de-en.{de,en} and europarl-v7.fr-en.{fr,en}. The argument is the language pair
(en-de, en-fr, de-fr). The paper's run took about a day on one GTX 1080 Ti; not yet run here.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(pair: str = "en-de") -> ConfigDict:
    config = common.pretraining()
    config.name = f"europarl_nxvae_{pair}"
    config.data.languages = tuple(pair.split("-"))
    return config

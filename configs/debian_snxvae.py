"""SNXVAE on Debian's translated package descriptions, at a size for two cores.

    python -m jaxsdgm.main --config=configs/debian_snxvae.py:de-en --config.data.dir=data/debian

As debian_nxvae.py, with 8000 subwords that both languages share in the place of words, of which a
sentence has more. Give the workdir to debian_classify.py as --config.pretrained.
"""

from ml_collections import ConfigDict

from configs import debian_nxvae


def get_config(pair: str = "de-en") -> ConfigDict:
    config = debian_nxvae.get_config(pair)
    config.name = f"debian_snxvae_{pair}"
    config.data.subwords = 8_000
    config.data.max_length = 32
    return config

"""PEMB's word embeddings from Europarl v7's sentence pairs (spec §2.2, §5), at NXVAE's sizes.

    python -m jaxsdgm.main --config=configs/europarl_pemb.py:en-de --config.data.dir=DIR \
        --workdir=RUN
    python -m jaxsdgm.export --workdir=RUN --language=en --out=pemb.en.vec

One latent variable explains a sentence and its translation (after Wei and Deng, IJCAI 2017), so the
lines stay aligned: of en-de and en-fr, not of de-fr, which Europarl v7 has not. The paper took its
PEMB from outside code whose settings it does not tell; these are NXVAE's. Not yet run here.
"""

from ml_collections import ConfigDict

from configs import europarl_nxvae


def get_config(pair: str = "en-de") -> ConfigDict:
    config = europarl_nxvae.get_config(pair)
    config.name = f"europarl_pemb_{pair}"
    config.data.pairs = True
    config.model.adversary = "none"
    return config

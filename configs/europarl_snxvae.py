"""SNXVAE at the paper's size on Europarl v7 (spec §2.1, §4, §12): 17.8 M parameters.

    python -m jaxsdgm.main --config=configs/europarl_snxvae.py:en-de --config.data.dir=DIR

As europarl_nxvae.py, with 10 000 subwords (SentencePiece BPE) of both languages' text in the place
of words: one table of embeddings and one decoder for both. A step still has a batch of each
language, so that the discriminator knows which is which (the paper's code mixed them and told it
nothing). The pieces are counted in memory: a few GB for Europarl. Give the workdir to
mldoc_nxvae.py as --config.pretrained: nxvae_z1 is then the paper's SNXVAE-z1. Not yet run here.
"""

from ml_collections import ConfigDict

from configs import europarl_nxvae


def get_config(pair: str = "en-de") -> ConfigDict:
    config = europarl_nxvae.get_config(pair)
    config.name = f"europarl_snxvae_{pair}"
    config.data.subwords = 10_000
    return config
